"""The decoder's weights and its graph for each target. Knows nothing of checkpoints' formats or bundles."""
