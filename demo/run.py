"""The demo: a real model answers real fault reports over a real broker and over gRPC, then all stops."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.render import render
from lineside.engine.bundle import MANIFEST
from lineside.errors import LinesideError
from lineside.transport.grpc import client

DEMO = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"
START_TIMEOUT_S = 180  # on two busy cores, with every weight still on the disk
ANSWER_TIMEOUT_S = 90

console = Console()


def say(text: str) -> None:
    """One step of the demo."""
    console.print(f"[bold]==>[/bold] {text}", highlight=False)


def bundle_of(model: str) -> tuple[Path, float]:
    """The model's bundle, built at the first time; seconds that it took."""
    cache = Path(os.environ.get("LINESIDE_CACHE") or Path.home() / ".cache" / "lineside")
    bundle = cache / "bundles" / f"{model}-int8"
    if (bundle / MANIFEST).exists():
        return bundle, 0.0
    say(f"building the bundle of {model} (once)")
    begun_s = time.monotonic()
    subprocess.run(
        [BIN / "lineside-build", "build", model, "--output", bundle], check=True, stdout=sys.stderr
    )
    return bundle, time.monotonic() - begun_s


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`lineside serve` for as long as the block runs; an orderly stop at its end."""
    with log.open("wb") as stream:
        process = subprocess.Popen([BIN / "lineside", "serve", "--config", config], stderr=stream)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until the daemon says that it is ready; its log is shown if it ends instead."""
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            break
        try:
            status = client.status(address)
        except LinesideError:
            status = None
        if status and status.state == "ready" and status.broker_connected:
            return
        time.sleep(0.05)
    console.print(log.read_text(), markup=False)
    raise SystemExit("demo: the daemon did not become ready; its log is above")


def over_mqtt(fault: Path, port: int) -> tuple[bytes, float]:
    """Publish a fault with mosquitto_pub, wait for its diagnosis with mosquitto_sub; payload and seconds."""
    device = json.loads(fault.read_text("utf-8"))["dev"]["id"]
    to_broker = ["-h", "127.0.0.1", "-p", str(port)]
    # Into a pipe it would write in blocks, and its SUBACK would not be seen: stdbuf makes it lines.
    command = ["stdbuf", "-oL", "mosquitto_sub", *to_broker, "-t", f"lineside/v1/diagnosis/{device}"]
    options = ["-C", "1", "-W", str(ANSWER_TIMEOUT_S), "-d", "-F", "=> %p"]
    listener = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
    assert listener.stdout is not None
    lines = iter(listener.stdout.readline, b"")
    # Only once the broker has confirmed the subscription can no answer be missed.
    next(line for line in lines if b"SUBACK" in line)
    begun_s = time.monotonic()
    subprocess.run(
        ["mosquitto_pub", *to_broker, "-q", "1", "-t", f"lineside/v1/fault/{device}", "-f", fault], check=True
    )
    payload = next((line[3:] for line in lines if line.startswith(b"=> ")), None)
    listener.wait()
    if payload is None:
        raise SystemExit(f"demo: no diagnosis within {ANSWER_TIMEOUT_S} s")
    return payload, time.monotonic() - begun_s


def over_grpc(fault: Path, address: str) -> tuple[bytes, float]:
    """Ask for a diagnosis over gRPC; document and seconds."""
    begun_s = time.monotonic()
    answer = client.diagnose(address, fault.read_bytes(), ANSWER_TIMEOUT_S)
    return answer, time.monotonic() - begun_s


def show(title: str, ask: Callable[[], tuple[bytes, float]]) -> tuple[dict[str, object], float]:
    """Ask, print the answer for a person; the answer and its seconds."""
    say(title)
    payload, seconds = ask()
    diagnosis = msgspec.json.decode(payload, type=Diagnosis)
    console.print(render(diagnosis), soft_wrap=not console.is_terminal)
    console.print(f"answered in {seconds:.2f} s\n", style="dim")
    return json.loads(payload), seconds


def run(model: str, work: Path) -> dict[str, object]:
    """Everything in order; the object that --json prints."""
    bundle, build_s = bundle_of(model)
    mqtt_port, grpc_port = free_port(), free_port()
    address = f"127.0.0.1:{grpc_port}"
    config, log = work / "lineside.toml", work / "daemon.log"
    config.write_text(
        f'state_dir = "{work / "state"}"\n[bundle]\npath = "{bundle}"\n'
        '[diagnosis]\nmode = "model"\n'
        f"[grpc]\nport = {grpc_port}\n[mqtt]\nport = {mqtt_port}\n"
    )
    say("importing the demo plant's manuals")
    manuals = sorted((DEMO / "knowledge").glob("*.yaml"))
    subprocess.run(
        [BIN / "lineside", "kb", "--config", config, "import", "--approve-by", "demo", *manuals],
        check=True,
        stdout=sys.stderr,
    )
    say("starting the daemon and its broker")
    begun_s = time.monotonic()
    with daemon(config, log) as process:
        wait_ready(process, address, log)
        ready_s = time.monotonic() - begun_s
        faults = DEMO / "faults"
        english, english_s = show(
            "a conveyor drive reports a fault over MQTT (mosquitto_pub)",
            lambda: over_mqtt(faults / "overtemperature.en.json", mqtt_port),
        )
        chinese, chinese_s = show(
            "the same drive, for a technician who reads Chinese",
            lambda: over_mqtt(faults / "overtemperature.zh.json", mqtt_port),
        )
        grpc, grpc_s = show(
            "the same report over gRPC",
            lambda: over_grpc(faults / "overtemperature.en.json", address),
        )
    say("stopped")
    timings = {
        "build_s": build_s,
        "ready_s": ready_s,
        "diagnosis_s": english_s,
        "diagnosis_zh_s": chinese_s,
        "grpc_s": grpc_s,
    }
    rounded = {name: round(seconds, 3) for name, seconds in timings.items()}
    return {"diagnosis": english, "diagnosis_zh": chinese, "grpc": grpc, "timings": rounded}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a recipe's name (lineside-build recipes)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    # An orderly way out, so that daemon and broker stop too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The managed broker may run as another user, who has to reach its directory.
    with tempfile.TemporaryDirectory(prefix="lineside-demo-") as work:
        Path(work).chmod(0o755)
        try:
            result = run(arguments.model, Path(work))
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"demo: {Path(error.cmd[0]).name} failed; it says above why") from None
        except KeyboardInterrupt:
            raise SystemExit("demo: interrupted; everything is stopped") from None
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
