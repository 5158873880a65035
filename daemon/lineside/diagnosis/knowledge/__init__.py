"""The plant's manuals as entries that can be looked up. Knows nothing of reports' answers or of models."""
