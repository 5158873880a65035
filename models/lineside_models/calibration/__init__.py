"""Quantisation with real calibration: prompts, records, scales. Knows no TensorRT and no terminal."""
