"""From an admitted request to its tokens. Knows nothing of wire formats and of fault diagnosis."""
