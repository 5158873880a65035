import io
import json
import socket
from datetime import datetime

import pytest

from lineside.ports import AuditRecord
from lineside.telemetry.audit import Audit, JournaldWriter, datagram, make_audit, writer

RECORD = AuditRecord(who="mqtt:L1/M1", what="fault", outcome="ok", took_ms=7, id="r1", payload="x" * 5000)


def test_without_systemd_a_record_is_a_line_of_json():
    stream = io.StringIO()
    Audit(writer({}, stream=stream)).record(RECORD)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)["audit"]
    assert datetime.fromisoformat(found.pop("when")).tzinfo is not None
    assert found == {"who": "mqtt:L1/M1", "what": "fault", "outcome": "ok", "took_ms": 7, "id": "r1"}


def test_a_payload_is_there_only_where_it_is_asked_for_and_is_bounded():
    found = []
    Audit(found.append).record(RECORD)
    Audit(found.append, payloads=True).record(RECORD)
    assert "payload" not in found[0]
    assert len(found[1]["payload"]) == 4096


def test_nothing_is_recorded_where_it_is_off(capsys):
    make_audit("off").record(RECORD)
    assert capsys.readouterr().err == ""
    make_audit("payload").record(RECORD)
    assert "xxxx" in capsys.readouterr().err


@pytest.fixture
def journald(tmp_path):
    """What listens where journald does; the machine's own journald reads the same datagrams."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        yield path, listener


def test_under_systemd_a_record_has_fields_of_journald(journald):
    path, listener = journald
    Audit(writer({"JOURNAL_STREAM": "8:1"}, path)).record(RECORD)
    lines = listener.recv(65_536).decode().splitlines()
    assert lines[:3] == ["PRIORITY=6", "SYSLOG_IDENTIFIER=lineside-audit", "MESSAGE=mqtt:L1/M1 fault ok"]
    assert {"LINESIDE_WHO=mqtt:L1/M1", "LINESIDE_TOOK_MS=7", "LINESIDE_OUTCOME=ok"} <= set(lines)


def test_nobody_writes_a_field_of_his_own():
    raw = datagram({"who": "mqtt:a\nPRIORITY=0", "what": "fault"})
    assert b"LINESIDE_WHO\n" + (17).to_bytes(8, "little") + b"mqtt:a\nPRIORITY=0\n" in raw


def test_what_journald_does_not_take_is_counted(journald, tmp_path):
    path, listener = journald
    write = JournaldWriter(tmp_path / "nobody")
    write({"who": "a"})
    write({"who": "b"})
    write._path = str(path)
    write({"who": "c"})
    assert b"LINESIDE_LOST=2\n" in listener.recv(65_536)
    write({"who": "d"})
    assert b"LOST" not in listener.recv(65_536)
