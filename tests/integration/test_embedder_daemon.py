"""The daemon with a bundle that carries an embedder: an English report, a Chinese manual."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.support.bundles import altered_bundle, recipe_bundle
from tests.support.daemon import Daemon, lineside

from lineside.diagnosis.knowledge import fusion
from lineside.engine.bundle import EMBEDDER_MODEL

MANUAL = """entries:
- {source: robot, unit: arm, code: "11", zh: {title: 关节电流过大, actions: [检查负载是否超过额定值]}}
- {source: robot, unit: arm, code: "12", zh: {title: 急停按钮被按下, actions: [确认安全后松开急停按钮]}}
- {source: robot, unit: arm, code: "13", zh: {title: 编码器电池电压低, actions: [更换编码器电池]}}
"""
REPORT = {"dev": {"id": "L3/R1"}, "alarm": {"text": "Encoder battery voltage is low"}}


# A reading that changes no order and is sure of all: whether it took part is the question here.
READS = """
[reading."smollm2-135m-instruct-int8"]
threshold = 0.5
ranking = 0.0
bias = 9.0
share = 0.0
gain = 0.0
lead = 0.0
kept = 0.0
"""


@pytest.fixture
def start(tmp_path):
    """start(**sections): a daemon without a broker, that knows the manual."""
    started = []

    def run(**sections) -> Daemon:
        bundle = recipe_bundle("smollm2-135m-instruct", embedder="multilingual-e5-small")
        daemon = Daemon(tmp_path / "d", bundle, mqtt={"broker": "off"}, **sections)
        started.append(daemon)
        manual = tmp_path / "robot.yaml"
        manual.write_text(MANUAL, "utf-8")
        done = lineside("kb", "--config", daemon.config, "import", "--approve-by", "tests", manual)
        assert done.returncode == 0, done.stderr.decode()
        daemon.start()
        return daemon

    yield run
    for daemon in started:
        daemon.end()


def diagnose(daemon: Daemon) -> dict:
    command = ("diagnose", "-", "--json", "--config", daemon.config)
    done = lineside(*command, stdin=json.dumps(REPORT).encode())
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", ["auto", "rules"])
def test_an_english_report_finds_the_chinese_entry(start, mode) -> None:
    daemon = start(diagnosis={"mode": mode})
    end_s = time.monotonic() + 30
    # Vectors are made after the start, while reports are already served.
    while (found := diagnose(daemon))["status"] != "ok" and time.monotonic() < end_s:
        time.sleep(0.2)
    assert (found["status"], found["mode"]) == ("ok", "rules")
    assert found["evidence"][0]["src"] == "robot#13"
    assert list((daemon.directory / "state").glob("knowledge.db.multilingual-e5-small-*.npy"))
    assert "embedder ready" in daemon.log.read_text()
    facts = daemon.status()
    assert (facts.knowledge_texts_embedded, facts.knowledge_texts) == (3, 3)
    search = ("kb", "search", REPORT["alarm"]["text"], "--config", daemon.config)
    assert b"robot:arm:13" in lineside(*search).stdout.splitlines()[1], (
        "the command searches as the daemon does"
    )


@pytest.mark.parametrize("rereading", ["auto", "off"])
def test_a_model_that_the_calibration_knows_reads_what_is_in_another_language(start, tmp_path, rereading):
    shipped = Path(fusion.__file__).with_name("calibration.toml").read_text("utf-8")
    (tmp_path / "calibration.toml").write_text(shipped.partition("[reading.")[0] + READS, "utf-8")
    settings = {"mode": "auto", "calibration": str(tmp_path / "calibration.toml"), "rereading": rereading}
    daemon = start(diagnosis=settings)
    end_s = time.monotonic() + 30
    while (found := diagnose(daemon))["status"] != "ok" and time.monotonic() < end_s:
        time.sleep(0.2)
    assert (found["status"], found["mode"], found["evidence"][0]["src"]) == ("ok", "rules", "robot#13")
    if rereading == "off":
        assert (found["model"], "reread_ms" in found["timings"]) == ("", False)
        return
    assert (found["model"], found["conf"]) == ("smollm2-135m-instruct-int8", 1.0)
    assert 0 < found["timings"]["reread_ms"] <= found["timings"]["retrieve_ms"]


def test_an_embedder_that_cannot_be_loaded_leaves_the_words(tmp_path) -> None:
    source = recipe_bundle("smollm2-135m-instruct", embedder="multilingual-e5-small")
    bundle = altered_bundle(source, tmp_path / "bundle", {EMBEDDER_MODEL: b"not a model"})
    daemon = Daemon(tmp_path / "d", bundle.path, mqtt={"broker": "off"}, diagnosis={"mode": "rules"})
    daemon.import_demo()
    try:
        daemon.start("degraded")
        assert "manuals are searched by words alone, because " in daemon.status().detail
        assert "build it again: lineside-build" in daemon.status().detail
        report = {"dev": {"id": "L1/CD-07", "vendor": "Northmoor Drives"}, "alarm": {"code": "F012"}}
        command = ("diagnose", "-", "--json", "--config", daemon.config)
        assert json.loads(lineside(*command, stdin=json.dumps(report).encode()).stdout)["causes"]
    finally:
        daemon.end()


def test_vectors_can_be_left_out(start) -> None:
    daemon = start(diagnosis={"mode": "rules"}, knowledge={"vectors": "off"})
    assert diagnose(daemon)["status"] == "abstain"
    assert not list((daemon.directory / "state").glob("*.npy"))
    assert "embedder ready" not in daemon.log.read_text()
