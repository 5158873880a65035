"""Measures the TensorRT engine on the GPU of this machine and merges what it measured into a JSON file.

    python tests/gpu/measure.py BUNDLE SECTION... --json FILE --commit HASH [--reference R.npz]

Sections: build (compiles the plans), logits and speed (need --reference, from torch_reference.py), text
(greedy answers, to be read), daemon (guided diagnoses through gRPC, with power and energy read by NVML). The
power limit is never touched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tests.gpu.results import Section, merge, short_name, show

from lineside.engine.base import Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.site import Site, find_site
from lineside.engine.tensorrt import TensorRtEngine
from lineside.serving.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
BATCHES = (1, 2, 4, 8)
SLOTS = 8
RUNS = 200
ANSWER_TOKENS = 60
QUESTIONS = (
    "Name three likely causes of overheating in an electric motor.",
    "电机过热的三个常见原因是什么?",
)


def main() -> None:
    """Run the sections in the order given; a section that fails leaves the others' results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("sections", nargs="+", choices=tuple(SECTIONS))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--level", type=int, default=-1, help="the builder's optimisation level")
    options = parser.parse_args()
    for name in options.sections:
        begun = time.monotonic()
        metrics, samples = SECTIONS[name](options)
        keep(options, name, metrics, samples)
        show(name, time.monotonic() - begun, metrics)


def keep(options: argparse.Namespace, section: str, metrics: dict, samples: dict) -> None:
    """Into the file."""
    key = f"{model_of(options)}.{options.precision}.{section}"
    command = f"tests/gpu/measure.py BUNDLE {section} --precision {options.precision}"
    merge(options.json, Section(key, options.commit, machine(options), command, metrics, samples))


def model_of(options: argparse.Namespace) -> str:
    """Short name in metrics."""
    return short_name(open_bundle(options.bundle).manifest.name)


def machine(options: argparse.Namespace) -> str:
    """GPU and TensorRT."""
    site = find_site(open_bundle(options.bundle))
    return f"{site.gpu.name}, TensorRT {site.trt.version}"


def build(options: argparse.Namespace) -> tuple[dict, dict]:
    """Compile with the product's own command."""
    command = [sys.executable, "-m", "lineside_models", "compile", str(options.bundle)]
    command += ["--precision", options.precision, "--max-batch", str(SLOTS)]
    # A precision that costs more than a product should accept is timed, too.
    command += ["--perplexity-limit", "2"]
    command += ["--opt-level", str(options.level)] if options.level >= 0 else []
    begun = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - begun
    name = model_of(options)
    plans = {plan.file: plan.size for plan in open_bundle(options.bundle).manifest.plan}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    key = f"{name}_build_s" if options.precision == "fp16" else f"{name}_{options.precision}_build_s"
    samples = {"plan_bytes": plans, "optimisation_level": options.level}
    return {key: seconds, f"{name}_{options.precision}_build_peak_mb": peak}, samples


@contextlib.contextmanager
def engine_of(options: argparse.Namespace, graphs: bool = True) -> Iterator[TensorRtEngine]:
    """An engine on the bundle; without CUDA graphs if asked."""
    bundle = open_bundle(options.bundle)
    site = find_site(bundle)

    class NoGraphs(site.open_device):  # type: ignore[misc, name-defined]
        def captured(self, work: Callable[[], None], shared: object = None) -> Callable[[], None]:
            return work

    chosen = site if graphs else Site(site.gpu, site.trt, NoGraphs)
    engine = TensorRtEngine(bundle, slots=SLOTS, max_chunk_tokens=128, site=chosen)
    try:
        yield engine
    finally:
        engine.close()


def logits(options: argparse.Namespace) -> tuple[dict, dict]:
    """Relative error of every logits row against the reference fed the same tokens, ragged, by batch."""
    reference = np.load(options.reference)
    worst: dict[str, float] = {}
    agreed: list[bool] = []
    with engine_of(options) as engine:
        for batch in BATCHES:
            errors = []
            for step, rows in enumerate(_forced(engine, reference, batch)):
                for index, row in enumerate(rows):
                    wanted = reference[f"logits{index}"][step]
                    errors.append(float(np.linalg.norm(row - wanted) / np.linalg.norm(wanted)))
                    agreed.append(int(row.argmax()) == int(wanted.argmax()))
            worst[str(batch)] = max(errors)
    prefix = "" if options.precision == "fp16" else f"{model_of(options)}_{options.precision}_"
    metrics = {
        f"{prefix}logits_relative_error_max": max(worst.values()),
        f"{prefix}same_arg_max_fraction": sum(agreed) / len(agreed),
    }
    return metrics, {"relative_error_max_by_batch": worst}


def _forced(engine: TensorRtEngine, reference: dict, batch: int) -> Iterator[list[np.ndarray]]:
    """Logits after the prompts, which go in as chunks, then after each reference token."""
    lengths = []
    first = []
    for slot in range(batch):
        prompt = reference[f"prompt{slot}"].tolist()
        ((row,),) = engine.forward([Extension(slot, 0, prompt, (len(prompt) - 1,))])
        first.append(np.array(row))
        lengths.append(len(prompt))
    yield first
    for step in range(len(reference["tokens0"]) - 1):
        tokens = [int(reference[f"tokens{slot}"][step]) for slot in range(batch)]
        extensions = [Extension(s, lengths[s] + step, (tokens[s],), (0,)) for s in range(batch)]
        yield [np.array(rows[0]) for rows in engine.forward(extensions)]


def speed(options: argparse.Namespace) -> tuple[dict, dict]:
    """Steps and prefill through `forward`, tokens read back; beside eager and the copy bandwidth."""
    times = json.loads(str(np.load(options.reference)["times"]))
    name = f"{model_of(options)}_{options.precision}"
    metrics: dict[str, float] = {}
    samples: dict[str, object] = {"eager": times}
    for graphs in (True, False):
        with engine_of(options, graphs) as engine:
            engine.warm_up()
            suffix = "" if graphs else "_without_graphs"
            for batch in BATCHES:
                found = _timed(lambda b=batch, e=engine: _decode(e, b))
                samples[f"step_ms_b{batch}{suffix}"] = found
                metrics[f"{name}_step_ms_b{batch}{suffix}"] = statistics.median(found)
            if graphs:
                metrics[f"{name}_step_device_ms"] = _device_ms(engine)
                for tokens in (128, 512):
                    found = _timed(lambda n=tokens, e=engine: _prefill(e, n), 30)
                    metrics[f"{name}_prefill_ms_{tokens}"] = statistics.median(found)
                metrics |= _memory(engine, options)
    step = metrics[f"{name}_step_ms_b1"]
    geometry = engine.bundle.manifest
    weights = 2 * geometry.parameters
    floor_ms = weights / times["copy_bandwidth_gb_per_s"] / 1e6
    metrics[f"{name}_speedup_over_eager_b1"] = times["eager_decode_ms_b1"] / step
    metrics[f"{name}_step_over_bandwidth_b1"] = step / floor_ms
    for batch in (1, 8):
        if f"compiled_decode_ms_b{batch}" in times:
            ratio = times[f"compiled_decode_ms_b{batch}"] / metrics[f"{name}_step_ms_b{batch}"]
            metrics[f"{name}_speedup_over_torch_compile_b{batch}"] = ratio
    metrics[f"{name}_throughput_b8_over_b1"] = 8 * step / metrics[f"{name}_step_ms_b8"]
    metrics[f"{name}_prefill_512_over_eager"] = (
        metrics[f"{name}_prefill_ms_512"] / times["eager_prefill_ms_512"]
    )
    metrics[f"{name}_graphs_gain_b1"] = metrics[f"{name}_step_ms_b1_without_graphs"] / step
    return metrics, samples


def text(options: argparse.Namespace) -> tuple[dict, dict]:
    """Greedy answers to a question in each language; whether they make sense is for people to say."""
    bundle = open_bundle(options.bundle)
    tokenizer = Tokenizer(bundle)
    stops = bundle.manifest.tokens.eos
    answers = {}
    with engine_of(options) as engine:
        for question in QUESTIONS:
            tokens = tokenizer.encode(tokenizer.chat([("user", question)]))
            chunk = engine.capabilities.max_chunk_tokens
            for start in range(0, len(tokens), chunk):
                piece = tokens[start : start + chunk]
                ((row,),) = engine.forward([Extension(0, start, piece, (len(piece) - 1,))])
            written: list[int] = []
            while len(written) < ANSWER_TOKENS and row.best()[0] not in stops:
                written.append(row.best()[0])
                place = len(tokens) + len(written) - 1
                ((row,),) = engine.forward([Extension(0, place, written[-1:], (0,))])
            answers[question] = tokenizer.stream().push(written)
            print(f"{question}\n    {answers[question]}")
    return {}, {"answers": answers}


def _memory(engine: TensorRtEngine, options: argparse.Namespace) -> dict[str, float]:
    weights = 2 * engine.bundle.manifest.parameters * (1 if options.precision == "fp16" else 0.5)
    needed = weights + engine.capabilities.cache_bytes
    prefix = "" if options.precision == "fp16" else f"{options.precision}_"
    return {
        f"{prefix}device_memory_over_weights_and_cache": engine.device_bytes / needed,
        f"{model_of(options)}_{prefix}device_memory_mb": engine.device_bytes / 1e6,
    }


def _decode(engine: TensorRtEngine, batch: int) -> None:
    for rows in engine.forward([Extension(slot, 128, (7,), (0,)) for slot in range(batch)]):
        rows[0].best()


def _device_ms(engine: TensorRtEngine) -> float:
    """What a step of one takes on the device: its captured launches end to end, by CUDA's own events."""
    from pycuda import driver

    device, launch = engine._device, next(iter(engine._steps[0]._launches.values()))
    with device.active():
        begun, ended = driver.Event(), driver.Event()
        begun.record(device.stream)
        for _ in range(RUNS):
            launch()
        ended.record(device.stream)
        ended.synchronize()
        return begun.time_till(ended) / RUNS


def _prefill(engine: TensorRtEngine, tokens: int) -> None:
    for start in range(0, tokens, 128):
        rows = (127,) if start + 128 == tokens else ()
        engine.forward([Extension(0, start, (7,) * 128, rows)])


def _timed(work: Callable[[], None], runs: int = RUNS) -> list[float]:
    """Milliseconds of each run, after ten."""
    found = []
    for index in range(runs + 10):
        begun = time.perf_counter()
        work()
        if index >= 10:
            found.append(round((time.perf_counter() - begun) * 1e3, 4))
    return found


def daemon(options: argparse.Namespace) -> tuple[dict, dict]:
    """Guided diagnoses a second with 1 and 8 in flight, and joules each, through a daemon's gRPC port."""
    import grpc

    from lineside.v1 import admin_pb2, admin_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc

    reports = [
        json.dumps(json.loads(line)["report"]).encode() for line in (ROOT / "demo/reports.jsonl").open()
    ]
    metrics: dict[str, float | str] = {}
    name = model_of(options)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(tempfile.TemporaryDirectory())
        port, metrics[f"{name}_daemon_ready_s"] = stack.enter_context(
            running_daemon(options.bundle, Path(state))
        )
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
            engine = admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest()).engine
            metrics["daemon_engine"] = f"{engine.name} on {engine.device}"
            modes: list[str] = []

            def ask(index: int) -> None:
                request = diagnosis_pb2.DiagnoseRequest(report_json=reports[index % len(reports)])
                answer = stub.Diagnose(request, timeout=60)
                modes.append(json.loads(answer.diagnosis_json).get("mode", ""))

            for index in range(len(reports)):
                ask(index)
            for in_flight, count in ((1, 60), (8, 240)):
                modes.clear()
                with metered() as energy, ThreadPoolExecutor(in_flight) as pool:
                    begun = time.perf_counter()
                    list(pool.map(ask, range(count)))
                    seconds = time.perf_counter() - begun
                metrics[f"{name}_diagnoses_per_s_{in_flight}"] = count / seconds
                metrics[f"{name}_by_model_fraction_{in_flight}"] = modes.count("model") / count
                metrics[f"{name}_watts_{in_flight}"] = energy["joules"] / energy["seconds"]
                metrics[f"{name}_joules_per_diagnosis_{in_flight}"] = energy["joules"] / count
    return metrics, {}


@contextlib.contextmanager
def running_daemon(bundle: Path, state: Path) -> Iterator[tuple[int, float]]:
    """`lineside serve` with the demo's manuals and no broker; its port, and the seconds until it is ready."""
    log = (state / "log").open("w+")
    config = state / "lineside.toml"
    config.write_text(
        f'state_dir = "{state}"\n[bundle]\npath = "{bundle.absolute()}"\n[engine]\nslots = {SLOTS}\n'
        'name = "tensorrt"\n[grpc]\nport = 50671\n[mqtt]\nbroker = "off"\n[diagnosis]\nmode = "model"\n'
    )
    lineside = [sys.executable, "-c", "import sys; from lineside.cli import main; sys.exit(main())"]
    manuals = sorted(str(path) for path in (ROOT / "demo/knowledge").glob("*.yaml"))
    approve = ["--approve-by", "measurement"]
    subprocess.run([*lineside, "kb", "import", "--config", str(config), *approve, *manuals], check=True)
    begun = time.perf_counter()
    process = subprocess.Popen([*lineside, "serve", "--config", str(config)], stderr=log)
    try:
        for _ in range(240):
            log.seek(0)
            if "ready" in log.read() and process.poll() is None and _listens(50671):
                break
            time.sleep(0.25)
        yield 50671, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(30)
        log.seek(0)
        print(log.read()[-1500:])


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def metered() -> Iterator[dict[str, float]]:
    """Joules of the GPU while the block runs: NVML's power, sampled; nothing is set."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    found = {"joules": 0.0, "seconds": 0.0}
    done = threading.Event()

    def sample() -> None:
        last = time.perf_counter()
        while not done.wait(0.05):
            now = time.perf_counter()
            found["joules"] += pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3 * (now - last)
            found["seconds"] += now - last
            last = now

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


SECTIONS: dict[str, Callable[[argparse.Namespace], tuple[dict, dict]]] = {
    "build": build,
    "logits": logits,
    "speed": speed,
    "text": text,
    "daemon": daemon,
}

if __name__ == "__main__":
    main()
