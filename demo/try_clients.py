"""Real clients of other makers against a real daemon: a good report and a bad one through each of them."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from run import BIN, DEMO, daemon, free_port, wait_ready

ANSWER_S = 30
GOOD = json.dumps({"dev": {"vendor": "Northmoor Drives", "unit": "drive"}, "alarm": {"code": "F012"}})
BAD = json.dumps({"alarm": {"code": "F012", "sev": 5000}})
DEVICE = "L1/CD-07"


@dataclass(frozen=True)
class Bench:
    """Where the daemon is, and where the clients of npm are."""

    mqtt_port: int
    grpc_port: int
    modules: Path
    work: Path

    @property
    def broker(self) -> list[str]:
        """For mosquitto's clients."""
        return ["-h", "127.0.0.1", "-p", str(self.mqtt_port), "-q", "1"]

    @property
    def address(self) -> str:
        """For gRPC clients."""
        return f"127.0.0.1:{self.grpc_port}"

    def node(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script with the clients of npm."""
        environment = {**os.environ, "NODE_PATH": str(self.modules)}
        return ran(["node", DEMO / "clients" / script, *arguments], environment)


def ran(command: list[object], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""
    text = list(map(str, command))
    return subprocess.run(
        text, capture_output=True, encoding="utf-8", timeout=ANSWER_S, env=environment, check=False
    )


def expect(what: str, found: bool, shown: object) -> None:
    """Stop where something else came."""
    if not found:
        raise SystemExit(f"try-clients: {what}: unexpected: {shown}")


def answered(what: str, good: str, bad: str) -> None:
    """A diagnosis for the good report, and the field's name for the bad one."""
    diagnosis, error = json.loads(good), json.loads(bad)
    expect(what, diagnosis["status"] == "ok" and diagnosis["alarm"]["code"] == "F012", good)
    expect(what, (error["status"], error["field"]) == ("error", "alarm.sev"), bad)


@contextmanager
def listening(bench: Bench, topic: str, count: int = 1) -> Iterator[Callable[[], list[str]]]:
    """mosquitto_sub, subscribed; call what it gives for the payloads."""
    options = ["-t", topic, "-C", str(count), "-W", str(ANSWER_S), "-d", "-F", "=> %p"]
    command = ["stdbuf", "-oL", "mosquitto_sub", *bench.broker, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        next(line for line in lines if "SUBACK" in line)
        yield lambda: [line[3:].rstrip("\n") for line in lines if line.startswith("=> ")]


def mosquitto_pub_sub(bench: Bench) -> str:
    """mosquitto_pub and mosquitto_sub."""
    answers = []
    for report in (GOOD, BAD):
        with listening(bench, f"lineside/v1/diagnosis/{DEVICE}") as heard:
            ran(["mosquitto_pub", *bench.broker, "-t", f"lineside/v1/fault/{DEVICE}", "-m", report])
            answers += heard()
    answered("mosquitto_pub", *answers)
    return "a diagnosis; a bad severity is answered with its field"


def mosquitto_rr(bench: Bench) -> str:
    """mosquitto_rr with MQTT 5's response topic and correlation data."""
    command = ["mosquitto_rr", *bench.broker, "-V", "5", "-W", str(ANSWER_S), "-F", "%D %p"]
    command += ["-t", f"lineside/v1/fault/{DEVICE}", "-e", "lineside/reply/rr"]
    command += ["-D", "publish", "correlation-data", "c-77"]
    good, bad = (ran([*command, "-m", report]).stdout.strip() for report in (GOOD, BAD))
    expect("mosquitto_rr", good.startswith("c-77 ") and bad.startswith("c-77 "), good)
    answered("mosquitto_rr", good[5:], bad[5:])
    return "the answer at the response topic, with its correlation"


def mqttjs(bench: Bench) -> str:
    """MQTT.js."""
    good, bad = (bench.node("mqttjs.cjs", str(bench.mqtt_port), DEVICE, report) for report in (GOOD, BAD))
    expect("MQTT.js", good.returncode == bad.returncode == 0, good.stderr + bad.stderr)
    answered("MQTT.js", good.stdout, bad.stdout)
    return "the answer at the response topic, with its correlation"


def buf_curl(bench: Bench) -> str:
    """buf curl, by reflection."""
    url = f"http://{bench.address}/lineside.v1.DiagnosisService/Diagnose"
    command = [bench.modules / ".bin" / "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
    requests = []
    for report in (GOOD, BAD):
        whole = json.dumps({**json.loads(report), "dev": {"id": DEVICE, "unit": "drive"}})
        requests.append(json.dumps({"reportJson": base64.b64encode(whole.encode()).decode()}))
    good, bad = (ran([*command, "-d", request, url]) for request in requests)
    expect("buf curl", good.returncode == 0, good.stderr)
    answer = json.loads(good.stdout)
    expect("buf curl", answer["status"] == "DIAGNOSIS_STATUS_OK", answer)
    refused = json.loads(bad.stderr)
    expect(
        "buf curl", refused["code"] == "invalid_argument" and "alarm.sev" in refused["message"], bad.stderr
    )
    return "a diagnosis; a bad severity is INVALID_ARGUMENT with its field"


def grpc_health_check(bench: Bench) -> str:
    """grpc-health-check."""
    for service in ("", "lineside.v1.DiagnosisService", "inference.GRPCInferenceService"):
        done = bench.node("health.cjs", bench.address, service)
        expect("grpc-health-check", done.stdout.strip() == "SERVING", done.stdout + done.stderr)
    unknown = bench.node("health.cjs", bench.address, "no.such.Service")
    expect("grpc-health-check", unknown.stderr.startswith("NOT_FOUND"), unknown.stderr)
    return "SERVING; a service that is not there is NOT_FOUND"


@contextmanager
def node_red(bench: Bench) -> Iterator[None]:
    """Node-RED without its editor, with the demo's flow, connected."""
    home = bench.work / "node-red"
    home.mkdir()
    flow = (DEMO / "node-red-flow.json").read_text("utf-8")
    (home / "flow.json").write_text(flow.replace('"port": "1883"', f'"port": "{bench.mqtt_port}"'), "utf-8")
    settings = {
        "flowFile": "flow.json",
        "httpAdminRoot": False,
        "httpNodeRoot": False,
        "uiHost": "127.0.0.1",
        "uiPort": free_port(),
        "telemetry": {"enabled": False},
    }
    (home / "settings.js").write_text(f"module.exports = {json.dumps(settings)};", "utf-8")
    command = [bench.modules / ".bin" / "node-red", "--userDir", home]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            log: list[str] = []
            for line in process.stdout:
                log.append(line)
                if "Connected to broker" in line:
                    break
            expect("node-red", process.poll() is None, "".join(log))
            yield
        finally:
            process.terminate()


def node_red_flow(bench: Bench) -> str:
    """Node-RED with demo/node-red-flow.json."""
    reports = ({"code": "F012", "language": "zh"}, {"code": "F" * 65})
    messages = []
    with node_red(bench):
        for report in reports:
            with listening(bench, f"messages/{DEVICE}") as heard:
                topic = f"machines/{DEVICE}/fault"
                ran(["mosquitto_pub", *bench.broker, "-t", topic, "-m", json.dumps(report)])
                messages += [json.loads(payload) for payload in heard()]
    good, bad = messages
    expect("node-red", "F012" in good["title"] and "电机过热" in good["body"], good)
    expect("node-red", "invalid" in bad["title"] and "length <= 64" in bad["body"], bad)
    return f"a fault became the message {good['title']!r}"


def readme_client(bench: Bench) -> str:
    """The Python client of README.md."""
    block = re.search(r"```python\n(.*?)```", (DEMO.parent / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    script = bench.work / "client.py"
    script.write_text(block[1], "utf-8")
    good = ran([sys.executable, script, bench.address, DEVICE, "F012"])
    expect("the README's client", good.returncode == 0 and "Motor overtemperature" in good.stdout, good)
    bad = ran([sys.executable, script, bench.address, DEVICE, "F" * 65])
    expect("the README's client", bad.returncode == 1 and "alarm.code" in bad.stderr, bad)
    return "a diagnosis; a bad code is told with its field"


CLIENTS = (
    mosquitto_pub_sub,
    mosquitto_rr,
    mqttjs,
    node_red_flow,
    buf_curl,
    grpc_health_check,
    readme_client,
)


def main() -> None:
    """Start a daemon by rules, run every client, stop."""
    modules = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="lineside-clients-") as directory:
        work = Path(directory)
        work.chmod(0o755)
        bench = Bench(free_port(), free_port(), modules, work)
        config, log = work / "lineside.toml", work / "daemon.log"
        config.write_text(
            f'state_dir = "{work / "state"}"\n[diagnosis]\nmode = "rules"\n[grpc]\nport = {bench.grpc_port}\n'
            # Not grouped: the clients report for one line, within seconds.
            f'[mqtt]\nport = {bench.mqtt_port}\ngroup_ms = 0\nforms = ["brief", "text", "alarm"]\n'
        )
        manuals = sorted((DEMO / "knowledge").glob("*.yaml"))
        imported = [BIN / "lineside", "kb", "--config", config, "import", "--approve-by", "demo", *manuals]
        subprocess.run(imported, check=True, stdout=subprocess.DEVNULL)
        with daemon(config, log) as process:
            wait_ready(process, bench.address, log)
            for client in CLIENTS:
                print(f"{client.__doc__} {client(bench)}.", flush=True)


if __name__ == "__main__":
    main()
