"""Engines: token ids in, logits out. Know no text, no requests and no clocks of their own."""

import os

# ONNX Runtime's wheels send telemetry unless this is set before the import. A factory is offline.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
