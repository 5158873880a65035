"""Engines: token ids in, logits out. Know no text, no requests and no clocks of their own."""
