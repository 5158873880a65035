"""Our own graph, as onnxruntime-genai wants it: the same nodes and weights behind other inputs.

Its own builder needs torch and quantises again. So here its runtime, with its search and its bindings, is
what is compared: the products and the attention are the same kernels over the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lineside.engine.bundle import ONNX_MODEL, WEIGHTS, Bundle
from lineside.engine.ort_session import cpu_model
from lineside_models.fetch import cache_directory

_OWN_INPUTS = ("seqlens_k", "total_len", "rows")


def exported(bundle: Bundle, threads: int) -> Path:
    """The directory, written anew each time: it is a few hundred kilobytes beside a link to the weights."""
    folder = cache_directory() / "peers" / f"genai-{bundle.manifest.name}-{bundle.manifest.precision}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = onnx.load(bundle.file(cpu_model(bundle)), load_external_data=False)
    _rewire(model.graph, bundle.manifest.geometry.vocab_size)
    onnx.save(model, folder / ONNX_MODEL)
    _link(bundle.file(WEIGHTS), folder / WEIGHTS)
    (folder / "genai_config.json").write_text(json.dumps(_settings(bundle, threads)), "utf-8")
    return folder


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        target.symlink_to(source.resolve())


def _rewire(graph: onnx.GraphProto, vocab_size: int) -> None:
    """Lengths from an attention mask, the last row alone, logits [batch, 1, vocabulary]."""
    kept = [entry for entry in graph.input if entry.name not in _OWN_INPUTS]
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ("batch", "total"))
    del graph.input[:]
    graph.input.extend([*kept, mask])
    for name, values in (("genai.one", np.array([1], np.int64)), ("genai.zero", np.array([0], np.int64))):
        graph.initializer.append(numpy_helper.from_array(values, name))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "genai.axis"))
    made = [
        helper.make_node("ReduceSum", ["attention_mask", "genai.one"], ["genai.sums"], keepdims=0),
        helper.make_node("Sub", ["genai.sums", "genai.one"], ["genai.last"]),
        helper.make_node("Cast", ["genai.last"], ["seqlens_k"], to=TensorProto.INT32),
        helper.make_node("Shape", ["attention_mask"], ["genai.mask_shape"]),
        helper.make_node("Gather", ["genai.mask_shape", "genai.axis"], ["genai.total"], axis=0),
        helper.make_node("Cast", ["genai.total"], ["total_len"], to=TensorProto.INT32),
        helper.make_node("Shape", ["input_ids"], ["genai.ids_shape"], start=1, end=2),
        helper.make_node("Sub", ["genai.ids_shape", "genai.one"], ["rows"]),
    ]
    nodes = list(graph.node)
    for node in nodes:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "genai.rows"
    made_last = helper.make_node("Unsqueeze", ["genai.rows", "genai.zero"], ["logits"])
    del graph.node[:]
    graph.node.extend([*made, *nodes, made_last])
    outputs = [entry for entry in graph.output if entry.name != "logits"]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 1, vocab_size))
    del graph.output[:]
    graph.output.extend([logits, *outputs])


def _settings(bundle: Bundle, threads: int) -> dict[str, object]:
    manifest, geometry = bundle.manifest, bundle.manifest.geometry
    past, present = "past_key_values.%d.", "present.%d."
    decoder = {
        "session_options": {"provider_options": [], "intra_op_num_threads": threads},
        "filename": ONNX_MODEL,
        "head_size": geometry.head_dim,
        "hidden_size": geometry.hidden,
        "num_attention_heads": geometry.heads,
        "num_key_value_heads": geometry.kv_heads,
        "num_hidden_layers": geometry.layers,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": f"{past}key",
            "past_value_names": f"{past}value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"{present}key",
            "present_value_names": f"{present}value",
        },
    }
    eos = manifest.tokens.eos[0]
    model = {"type": "llama", "decoder": decoder, "vocab_size": geometry.vocab_size}
    model |= {"bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos}
    model |= {"context_length": manifest.max_seq_len}
    search = {"past_present_share_buffer": True, "max_length": manifest.max_seq_len, "do_sample": False}
    return {"model": model, "search": search}
