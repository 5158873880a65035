"""Generated from proto/lineside/open_inference by scripts/generate-protos. Not edited."""
