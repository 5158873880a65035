"""Disks that are full or read-only, a damaged journal, clocks that jump: caused under a real daemon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import grpc
import pytest
from tests.faults.conftest import broker_of, report, until
from tests.support.daemon import Daemon, lineside

from lineside.transport.grpc import client
from lineside.v1 import common_pb2, diagnosis_pb2, diagnosis_pb2_grpc

TOPIC = "lineside/v1/diagnosis/L1/CD-07"


def fill(place: Path) -> None:
    """Leave no byte."""
    for name, size in (("most", 1 << 16), ("rest", 512)):
        with contextlib.suppress(OSError), (place / name).open("wb", buffering=0) as stream:
            while stream.write(bytes(size)):
                pass


def free(place: Path) -> None:
    """Give it back."""
    for name in ("most", "rest"):
        (place / name).unlink()


def ask(daemon: Daemon, name: str, key: str = "") -> dict[str, object]:
    """By gRPC."""
    said = json.dumps(report(name, "F007")).encode()
    options = common_pb2.RequestOptions(idempotency_key=key)
    with client.open_channel(daemon.address) as channel:
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
        request = diagnosis_pb2.DiagnoseRequest(report_json=said, options=options)
        return json.loads(stub.Diagnose(request, timeout=10).diagnosis_json)


def starts(daemon: Daemon) -> str:
    """What a start says that fails."""
    done = lineside("serve", "--config", daemon.config, timeout=20)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_on_a_full_disk_reports_wait_with_the_broker_and_grpc_answers_without_promises(disk, plant):
    daemon = plant(disk / "plant")
    daemon.start()
    assert daemon.ask(report("before"))["status"] == "ok"
    fill(disk)
    with daemon.subscribe(TOPIC) as answers:
        daemon.publish(report("waits", "F001"))
        until(lambda: daemon.status().state == "degraded")
        assert "the journal cannot write" in daemon.status().detail
        assert ask(daemon, "asked")["status"] == "ok"
        with pytest.raises(grpc.RpcError) as refused:
            ask(daemon, "promised", key="k1")
        assert dict(refused.value.trailing_metadata())["lineside-reason"] == "storage"
        free(disk)
        assert json.loads(answers.wait()[0])["id"] == "waits"
    until(lambda: daemon.status().state == "ready")
    assert ask(daemon, "promised", key="k1")["status"] == "ok"


def test_a_start_and_a_new_broker_need_no_room_on_the_disk(disk, plant):
    daemon = plant(disk / "plant")
    daemon.start()
    daemon.kill()
    fill(disk)
    daemon.start()
    assert ask(daemon, "asked")["status"] == "ok"
    os.kill(broker_of(daemon), signal.SIGKILL)
    until(lambda: not daemon.status().broker_connected)
    until(lambda: daemon.status().broker_connected)
    assert daemon.process.poll() is None
    assert daemon.stop() == 0


def test_a_first_start_on_a_full_disk_says_what_is_missing(disk, plant):
    daemon = plant(disk / "plant")
    fill(disk)
    said = starts(daemon)
    assert "what to do: free space" in said


def test_a_disk_that_turns_read_only_stops_no_answer_by_grpc_and_no_orderly_end(disk, plant):
    daemon = plant(disk / "plant")
    daemon.start()
    # What the kernel does by itself once a disk fails.
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
    daemon.publish(report("waits"))
    until(lambda: daemon.status().state == "degraded")
    assert "the journal cannot write" in daemon.status().detail
    assert ask(daemon, "asked")["status"] == "ok"
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()
    assert "Read-only file system\n  what to do: make it writable" in starts(daemon)


def test_a_damaged_journal_is_refused_by_name_and_moved_away_it_is_no_longer_in_the_way(plant):
    daemon = plant()
    daemon.start()
    for number in range(4):
        daemon.ask(report(f"r{number}"))
    daemon.stop()
    journal = daemon.directory / "state/journal.db"
    content = bytearray(journal.read_bytes())
    page = int.from_bytes(content[16:18], "big")
    for at in range(page, len(content), page):
        content[at : at + 64] = bytes(byte ^ 0xFF for byte in content[at : at + 64])
    journal.write_bytes(content)
    said = starts(daemon)
    assert f"{journal}" in said
    assert "what to do: move the file away" in said
    checked = lineside("doctor", "--config", daemon.config).stdout.decode()
    assert "PROBLEM  journal.file" in checked
    journal.rename(journal.with_suffix(".kept"))
    daemon.start()
    assert daemon.ask(report("after"))["status"] == "ok"


# Every clock of the calendar in the process goes through this; deadlines do not.
JUMPS = """\
import os, time
real, switch = time.time, os.path.join(os.environ.get("LINESIDE_TEST_SWITCHES", ""), "jump")
def jumped():
    try:
        with open(switch) as file:
            return real() + float(file.read())
    except OSError:
        return real()
time.time = jumped
import lineside.telemetry.clock
lineside.telemetry.clock.synchronised = lambda: {synchronised}
"""
DAY_S = 86_400
YEAR_S = 365 * DAY_S


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_clock_that_jumps_loses_no_answer_and_lets_no_report_expire(plant, hooked, synchronised):
    """It boots in the past, as without a battery. Each report is an alarm of its own, known by its id.

    Whether or not the kernel holds the clock to be right all the while.
    """
    switches = hooked(JUMPS.format(synchronised=synchronised))

    def jump(seconds):
        """In one go: the clock is read meanwhile, by every thread."""
        (switches / "next").write_text(str(seconds))
        (switches / "next").replace(switches / "jump")

    jump(-20 * YEAR_S)
    daemon = plant(mqtt={"occurrence_s": 0})
    daemon.start()
    first = daemon.ask(report("one"))
    for jump_s in (0, DAY_S, -DAY_S, 5 * YEAR_S, -5 * YEAR_S):
        jump(jump_s)
        answer = daemon.ask(
            report(f"after {jump_s}", "F007"), "-D", "publish", "message-expiry-interval", "60"
        )
        assert answer["status"] == "ok"
        again = daemon.ask(report("one"))
        assert again["diagnosis_id"] == first["diagnosis_id"], "it is known by a clock that does not jump"
    daemon.stop()
    daemon.start()
    again = daemon.ask(report("one"))
    assert again["diagnosis_id"] == first["diagnosis_id"], (
        "nothing was pruned by a clock that cannot be right"
    )
