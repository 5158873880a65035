"""The plant's devices, their tags and alarm bits: what most controllers cannot say of themselves."""
