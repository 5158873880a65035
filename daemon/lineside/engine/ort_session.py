"""A session of ONNX Runtime over a bundle's graph, with the settings that it is served with."""

from __future__ import annotations

import os
import platform

import onnxruntime as ort

from lineside.engine.bundle import ONNX_CUDA_MODEL, ONNX_MODEL, ONNX_VNNI_MODEL, Bundle, BundleError
from lineside.engine.processor import has_vnni

CUDA_PROVIDER = "CUDAExecutionProvider"


def has_cuda() -> bool:
    """Whether this ONNX Runtime was built with CUDA; it may still fail to load."""
    return CUDA_PROVIDER in ort.get_available_providers()


def cpu_model(bundle: Bundle) -> str:
    """The bundle's graph for this processor."""
    return ONNX_VNNI_MODEL if ONNX_VNNI_MODEL in bundle.manifest.files and has_vnni() else ONNX_MODEL


def open_session(bundle: Bundle, threads: int, provider: str) -> ort.InferenceSession:
    """The graph for a provider, "cpu" or "cuda". Raises BundleError where it cannot be loaded."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its threads would go on spinning while pacing lets the engine rest.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Attention by tiles takes sequences of different lengths one after another. Without tiles all their heads
    # are one work for the threads: SmolLM2's steps of eight are 1 to 8 % shorter, chunks no longer. That was
    # not measured on ARM, where a row times a matrix goes another way. Read where a session is made.
    if platform.machine() == "x86_64":
        os.environ["ORT_GQA_DISABLE_FLASH_ATTENTION"] = "1"
    model, providers = cpu_model(bundle), ["CPUExecutionProvider"]
    if provider == "cuda":
        model, providers = ONNX_CUDA_MODEL, [CUDA_PROVIDER, *providers]
    try:
        session = ort.InferenceSession(str(bundle.file(model)), options, providers=providers)
    except Exception as error:  # of its own classes, which have no common base
        hint = f"build it again: lineside-build build {bundle.manifest.name} --output {bundle.path}"
        raise BundleError("load model", f"ONNX Runtime refuses {model}: {error}", hint) from error
    # Where CUDA cannot be loaded, ONNX Runtime goes on without it, and says so only in its log.
    if session.get_providers()[0] != providers[0]:
        hint = "install the CUDA and cuDNN that this onnxruntime-gpu was built for"
        raise BundleError("load model", "ONNX Runtime could not load its CUDA provider", hint)
    return session
