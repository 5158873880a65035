"""Checkpoints: files of trained weights. Knows nothing of quantisation for the target, graphs or bundles."""

from __future__ import annotations

from pathlib import Path

from lineside_models.checkpoint.base import Architecture, Checkpoint, tensor_shapes
from lineside_models.checkpoint.gguf import open_gguf
from lineside_models.checkpoint.huggingface import open_huggingface
from lineside_models.errors import CheckpointError

__all__ = ["Architecture", "Checkpoint", "open_checkpoint", "tensor_shapes"]


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a GGUF file or a Hugging Face directory. Raises CheckpointError."""
    if path.is_dir():
        return open_huggingface(path)
    if path.is_file():
        return open_gguf(path)
    hint = "give a .gguf file, a directory with config.json and safetensors, or a recipe's name"
    raise CheckpointError("open checkpoint", f"there is no file or directory {path}", hint)
