from __future__ import annotations

import pytest

from lineside.config import GrpcConfig
from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis
from lineside.errors import Reason, RejectedError
from lineside.serving.request import EndEvent, FinishReason, Priority, Timings, Usage
from lineside.transport.grpc.calls import peer_address, trailing_metadata
from lineside.transport.grpc.requests import read_options
from lineside.transport.grpc.responses import MAX_SUMMARY_CHARACTERS, end_message, reason_name, summary
from lineside.transport.grpc.server import is_loopback, server_options
from lineside.v1 import common_pb2, diagnosis_pb2, generation_pb2


def test_the_wire_has_each_reason_and_no_other():
    wire = set(common_pb2.Reason.keys()) - {"REASON_UNSPECIFIED"}
    assert wire == {f"REASON_{reason.name}" for reason in Reason}


def test_the_wire_has_each_finish_reason_and_no_other():
    wire = set(generation_pb2.FinishReason.keys()) - {"FINISH_REASON_UNSPECIFIED"}
    assert wire == {f"FINISH_REASON_{finish.name}" for finish in FinishReason}


def test_the_wire_has_each_priority_in_order():
    for priority in Priority:
        number = common_pb2.Priority.Value(f"PRIORITY_{priority.name}")
        assert read_options(common_pb2.RequestOptions(priority=number)).priority is priority
    assert len(common_pb2.Priority.keys()) == len(Priority) + 1


def test_the_wire_has_each_status_of_a_diagnosis():
    names = {f"DIAGNOSIS_STATUS_{name}" for name in ("UNSPECIFIED", "OK", "ABSTAIN", "ERROR")}
    assert set(diagnosis_pb2.DiagnosisStatus.keys()) == names


@pytest.mark.parametrize(
    ("reason", "name"),
    [(None, "REASON_UNSPECIFIED"), ("", "REASON_UNSPECIFIED"), ("low_conf", "REASON_LOW_CONF")],
)
def test_a_reason_has_its_name(reason: str | None, name: str):
    assert reason_name(reason) == name


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[fe80::1%25eth0]:4711", "fe80::1%eth0"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_peer_has_an_address(peer: str, address: str):
    assert peer_address(peer) == address


def test_trailing_metadata_is_ascii_whatever_the_field():
    error = RejectedError(Reason.INVALID, "no", field="größe")
    assert dict(trailing_metadata(error))["lineside-field"] == "gr\\xf6\\xdfe"


def test_trailing_metadata_says_only_what_applies():
    assert trailing_metadata(RejectedError(Reason.OVERLOAD, "no")) == (("lineside-reason", "overload"),)


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("plant.local", False)],
)
def test_loopback_is_recognised(host: str, answer: bool):
    assert is_loopback(host) is answer


def test_the_server_shares_its_port_with_nobody_and_bounds_a_connection():
    options = dict(server_options(GrpcConfig(max_message_bytes=2048, max_in_flight=3)))
    assert options["grpc.so_reuseport"] == 0
    assert options["grpc.max_receive_message_length"] == 2048
    assert options["grpc.max_concurrent_streams"] == 67


def plain(**changed: object) -> Diagnosis:
    values: dict[str, object] = {
        "id": "",
        "diagnosis_id": "d",
        "dev": DeviceRef(id="a"),
        "alarm": AlarmRef(),
        "received_at": "",
        "status": "abstain",
        "mode": "rules",
        "severity": "low",
        "lang": "en",
    }
    return Diagnosis(**(values | changed))  # type: ignore[arg-type]


def test_a_summary_is_one_line_of_bounded_length():
    line = summary(plain(meaning="oil\n" * 200))
    assert "\n" not in line
    assert len(line) == MAX_SUMMARY_CHARACTERS
    assert line.endswith("…")


def test_a_summary_without_meaning_is_the_message():
    assert summary(plain(message="nothing known")) == "a: nothing known"


def test_an_end_carries_reason_and_counts():
    event = EndEvent(FinishReason.ABORTED, Usage(1, 2, 3), Timings(4, 5, 6), Reason.POWER, "hot")
    end = end_message(event, "m").end
    assert (end.reason, end.message, end.model) == (common_pb2.REASON_POWER, "hot", "m")
    assert end.usage.forced_tokens == 3
