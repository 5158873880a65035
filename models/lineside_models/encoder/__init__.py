"""The bundle's optional embedder: an encoder that turns a sentence into a vector. Knows no decoder."""
