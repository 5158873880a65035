"""Clients that need nothing but Debian and pip; scripts/try-clients runs those of npm, too."""

import json
import re
import subprocess
import sys

import pytest
from tests.support.daemon import DEMO, ROOT

DEVICE = "L1/CD-07"


@pytest.fixture
def daemon(gateway_daemon):
    return gateway_daemon


@pytest.fixture(scope="module")
def readme_client(tmp_path_factory):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    script = tmp_path_factory.mktemp("readme") / "client.py"
    script.write_text(block[1], "utf-8")
    assert len(block[1].splitlines()) <= 25
    return script


def run(*command):
    return subprocess.run(
        list(map(str, command)), capture_output=True, encoding="utf-8", timeout=30, check=False
    )


def test_the_client_of_the_readme_gets_a_diagnosis(daemon, readme_client):
    done = run(sys.executable, readme_client, daemon.address, DEVICE, "F012")
    assert done.returncode == 0, done.stderr
    assert "Motor overtemperature" in done.stdout


@pytest.mark.parametrize(
    ("device", "code", "words"),
    [(DEVICE, "F" * 65, "INVALID_ARGUMENT: "), ("x" * 129, "F012", "$.dev.id"), (DEVICE, "", "alarm.code")],
)
def test_the_client_of_the_readme_tells_what_was_wrong(daemon, readme_client, device, code, words):
    done = run(sys.executable, readme_client, daemon.address, device, code)
    assert done.returncode == 1
    assert words in done.stderr


def test_the_client_of_the_readme_tells_that_nobody_is_there(readme_client):
    done = run(sys.executable, readme_client, "127.0.0.1:1", DEVICE, "F012")
    assert done.returncode == 1
    assert done.stderr.startswith("UNAVAILABLE")


@pytest.mark.parametrize(
    ("report", "status", "field"),
    [
        ({"alarm": {"code": "F012"}, "dev": {"unit": "drive"}}, "ok", ""),
        ({"alarm": {"code": "F012", "sev": 0}}, "error", "alarm.sev"),
    ],
)
def test_mosquitto_rr_gets_its_answer_with_its_correlation(daemon, report, status, field):
    where = ("-p", daemon.mqtt_port, "-q", 1, "-V", 5, "-W", 20, "-t", f"lineside/v1/fault/{DEVICE}")
    asked = ("-e", "lineside/reply/rr", "-D", "publish", "correlation-data", "c-77", "-F", "%D %p")
    done = run("mosquitto_rr", *where, *asked, "-m", json.dumps(report))
    correlation, _, payload = done.stdout.partition(" ")
    answer = json.loads(payload)
    assert (correlation, answer["status"], answer["field"]) == ("c-77", status, field)


def test_the_flow_for_node_red_is_whole():
    nodes = json.loads((DEMO / "node-red-flow.json").read_text("utf-8"))
    ids = {node["id"] for node in nodes}
    assert len(ids) == len(nodes)
    for node in nodes:
        assert {target for output in node.get("wires", []) for target in output} <= ids
        assert {node.get("broker", "broker"), node.get("z", "lineside")} - {"127.0.0.1"} <= ids
