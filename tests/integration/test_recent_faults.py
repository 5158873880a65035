"""Recent faults of the same device, as a real daemon remembers them over a restart; no model is loaded."""

import pytest
from tests.support.daemon import Daemon, lineside

MANUAL = """entries:
- {source: cell, unit: base, code: "7", en: {title: Conveyor belt stands still, actions: [Look at the belt]}}
- {source: cell, unit: arm, code: "7", en: {title: Gripper lost its part, actions: [Look at the gripper]}}
- {source: cell, unit: base, code: "20", en: {title: Belt motor hot, causes: [The belt is tight]}}
"""


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path / "d", tmp_path / "no-bundle", diagnosis={"mode": "rules"})
    manual = tmp_path / "cell.yaml"
    manual.write_text(MANUAL, "utf-8")
    done = lineside("kb", "--config", daemon.config, "import", "--approve-by", "tests", manual)
    assert done.returncode == 0, done.stderr.decode()
    daemon.start()
    yield daemon
    daemon.end()


def fault(code, device="R1", **fields):
    return {"dev": {"id": device}, "alarm": {"code": code}, **fields}


def history(diagnosis):
    return [one for one in diagnosis["evidence"] if one["src"] == "history"]


def cited(diagnosis):
    return [one["quote"] for one in diagnosis["evidence"] if one["kind"] == "manual"]


def test_they_are_evidence_and_order_what_collides_and_outlive_a_restart(daemon):
    before = daemon.ask(fault("7", id="before"))
    assert (before["status"], before["reason"], history(before)) == ("abstain", "conflict", [])
    first = cited(before)[0]
    assert daemon.ask(fault("20"))["causes"]
    assert daemon.stop() == 0
    daemon.start()
    after = daemon.ask(fault("7", id="after"))
    (said,) = history(after)
    assert (said["kind"], said["ref"]) == ("log", "H1")
    assert said["quote"].startswith("The same device reported before, in this order: cell#20 ")
    # The conflict stays one; what is likelier comes first.
    assert (after["status"], after["reason"]) == ("abstain", "conflict")
    assert cited(after)[0].startswith("Conveyor belt stands still")
    assert not first.startswith("Conveyor belt stands still")
    assert history(daemon.ask(fault("7", device="R2"))) == []
    chinese = daemon.ask(fault("20", id="again", locale="zh"))
    assert history(chinese)[0]["quote"].startswith("同一设备此前依次报告过：cell#20（本次报告前 ")
