"""Generated from proto/lineside/v1 by scripts/generate-protos. Not edited."""
