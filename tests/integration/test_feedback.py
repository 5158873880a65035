"""Verdicts as technicians give them: mosquitto's clients, gRPC, the command line; no model is loaded."""

import json

import grpc
import pytest
from tests.support.daemon import Daemon, lineside

from lineside.errors import LinesideError
from lineside.transport.grpc import client
from lineside.v1 import diagnosis_pb2, diagnosis_pb2_grpc, generation_pb2, generation_pb2_grpc

REPORT = {"dev": {"id": "L1/CD-07", "vendor": "Northmoor Drives"}, "alarm": {"code": "F012"}}
BY = {"badge": "4711", "role": "fitter"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """In rules mode: there is no bundle anywhere."""
    directory = tmp_path_factory.mktemp("rules")
    # Each report is diagnosed, also of an alarm that stands: these tests look for what has been learnt.
    mqtt = {"occurrence_s": 0}
    daemon = Daemon(directory, directory / "no-bundle", diagnosis={"mode": "rules"}, mqtt=mqtt)
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()


def give(daemon, said, *options, device="L1/CD-07"):
    """Over MQTT; the receipt."""
    with daemon.subscribe(f"lineside/v1/receipt/{device}") as receipts:
        payload = said if isinstance(said, bytes) else json.dumps(said).encode()
        daemon.publish(payload, *options, topic=f"lineside/v1/feedback/{device}")
        return json.loads(receipts.wait()[0])


def command(daemon, *arguments):
    done = lineside("feedback", *arguments, "--config", daemon.config)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_rules_as_a_mode_of_their_own_need_no_bundle(daemon):
    diagnosis = daemon.ask(REPORT)
    assert (diagnosis["status"], diagnosis["mode"], diagnosis["message"]) == ("ok", "rules", "")
    assert diagnosis["causes"]
    status = daemon.status()
    assert (status.state, status.engine) == ("ready", None)
    with grpc.insecure_channel(daemon.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Generate(generation_pb2.GenerateRequest(prompt="x"), timeout=20))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "as configured" in caught.value.details()


def test_over_mqtt(daemon):
    diagnosis = daemon.ask({**REPORT, "id": "m1"})
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "wrong", "by": BY, "cause": "Belt seized."}
    receipt = give(daemon, {**said, "id": "v1"})
    assert (receipt["status"], receipt["id"], receipt["dev"]) == ("ok", "v1", {"id": "L1/CD-07"})
    assert give(daemon, {**said, "id": "v2"})["feedback_id"] == receipt["feedback_id"]
    code, shown, _ = command(daemon, "list")
    assert code == 0
    assert shown.count(receipt["feedback_id"]) == 1
    assert "Belt seized." in shown
    assert "4711 (fitter)" in shown


@pytest.mark.parametrize(
    ("said", "reason", "field"),
    [
        (b"{", "invalid", ""),
        (
            {"diagnosis_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "verdict": "right", "by": BY},
            "not_found",
            "diagnosis_id",
        ),
        ({"verdict": "right", "by": BY}, "invalid", "diagnosis_id"),
        ({"diagnosis_id": "x", "verdict": "right", "by": {"role": "fitter"}}, "invalid", "by"),
        ({"diagnosis_id": "x", "verdict": "right", "by": BY, "cause": "x" * 501}, "invalid", "cause"),
        (b'{"cause": "' + b"x" * 9000 + b'"}', "too_long", ""),
    ],
)
def test_what_cannot_be_taken_is_answered_over_mqtt_with_the_field(daemon, said, reason, field):
    receipt = give(daemon, said)
    assert (receipt["status"], receipt["reason"], receipt["field"]) == ("error", reason, field)
    assert receipt["message"]


def test_a_verdict_for_another_devices_topic_is_refused(daemon):
    diagnosis = daemon.ask({**REPORT, "id": "m2"})
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "right", "by": BY}
    receipt = give(daemon, said, device="L9/X")
    assert (receipt["reason"], receipt["field"]) == ("invalid", "diagnosis_id")


def test_the_receipt_goes_to_the_response_topic(daemon):
    diagnosis = daemon.ask({**REPORT, "id": "m3"})
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "right", "by": BY}
    with daemon.subscribe("lineside/reply/hmi", 1, "-V", "5", "-F", "=> %D %p") as receipts:
        options = ("-V", "5", "-D", "publish", "response-topic", "lineside/reply/hmi")
        correlation = ("-D", "publish", "correlation-data", "c-1")
        daemon.publish(said, *options, *correlation, topic="lineside/v1/feedback/L1/CD-07")
        (line,) = receipts.wait()
    assert b"c-1" in line
    assert b'"status":"ok"' in line


def test_over_grpc(daemon):
    diagnosis = json.loads(client.diagnose(daemon.address, json.dumps(REPORT).encode(), 30))
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "right", "by": BY}
    receipt = json.loads(client.give_feedback(daemon.address, json.dumps(said).encode(), 30))
    assert receipt["status"] == "ok"
    with pytest.raises(LinesideError, match="diagnosis_id"):
        client.give_feedback(daemon.address, json.dumps({**said, "diagnosis_id": "x"}).encode(), 30)
    with grpc.insecure_channel(daemon.address) as channel:
        stub = diagnosis_pb2_grpc.FeedbackServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GiveFeedback(diagnosis_pb2.GiveFeedbackRequest(), timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("lineside-field", "feedback_json") in [tuple(pair) for pair in caught.value.trailing_metadata()]


@pytest.mark.parametrize("remote", [False, True])
def test_on_the_command_line(daemon, remote):
    diagnosis = daemon.ask({**REPORT, "id": f"cli-{remote}"})["diagnosis_id"]
    where = ("--address", daemon.address) if remote else ()
    said = (diagnosis, "right", "--by", "Wang", "--role", "fitter", *where)
    code, shown, _ = command(daemon, "add", *said)
    assert (code, "stored as" in shown) == (0, True)
    code, _, error = command(daemon, "add", "nobody", *said[1:])
    assert (code, "diagnosis_id" in error) == (1, True)


def test_a_rejected_verdict_stays_exportable(daemon, tmp_path):
    diagnosis = daemon.ask({**REPORT, "id": "r1"})
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "wrong", "by": BY, "cause": "Moon phase."}
    receipt = give(daemon, said)
    decide = (
        "reject",
        receipt["feedback_id"],
        "--by",
        "Li",
        "--role",
        "maintenance lead",
        "--why",
        "no proof",
    )
    assert command(daemon, *decide)[0] == 0
    code, _, error = command(daemon, *decide)
    assert (code, "no longer pending" in error) == (1, True)
    assert command(daemon, "export", tmp_path / "labelled.jsonl")[0] == 0
    lines = map(json.loads, (tmp_path / "labelled.jsonl").read_text("utf-8").splitlines())
    (line,) = [line for line in lines if line["id"] == receipt["feedback_id"]]
    assert line["report"]["alarm"]["code"] == "F012"
    assert (line["state"], line["expect"]) == ("rejected", {"not": ["conveyor-drive:drive:F012"]})
    assert "Moon phase" not in json.dumps(daemon.ask({**REPORT, "id": "r2"}))


def test_an_approved_verdict_is_quoted_first_and_others_are_not_retrieved(daemon):
    asked = {"dev": {"id": "L1/CD-09", "vendor": "Northmoor Drives"}, "alarm": {"code": "F016"}}
    before = daemon.ask({**asked, "id": "a1"})
    said = {"diagnosis_id": before["diagnosis_id"], "verdict": "wrong", "by": BY}
    learnt = {**said, "cause": "A strap was wound round the tail shaft.", "action": "Cut the strap off."}
    receipt = give(daemon, learnt, device="L1/CD-09")
    give(daemon, {**said, "cause": "Gremlins."}, device="L1/CD-09")
    assert "strap" not in json.dumps(daemon.ask({**asked, "id": "a2"}))
    code, shown, error = command(
        daemon, "approve", receipt["feedback_id"], "--by", "Li", "--role", "shift lead"
    )
    assert (code, "plant:drive:F016@Northmoor Drives CD-40" in shown) == (0, True), shown + error
    after = daemon.ask({**asked, "id": "a3"})
    first, second = after["evidence"][:2]
    assert (first["ref"], first["kind"], first["src"]) == ("K1", "confirmed", "plant#F016")
    assert first["quote"].startswith("Confirmed here on 20")
    assert second["src"] == "conveyor-drive#F016"
    assert after["causes"][0] == {"text": learnt["cause"], "mode": "", "refs": ["K1"]}
    assert [cause["text"] for cause in after["causes"][1:]] == [cause["text"] for cause in before["causes"]]
    assert after["checks"][0]["text"] == learnt["action"]
    assert after["kb"] != before["kb"]
    assert "Gremlins" not in json.dumps(after)
    other = daemon.ask({"dev": {"id": "L1/X", "vendor": "Otherworks"}, "alarm": {"code": "F016"}, "id": "a4"})
    assert "strap" not in json.dumps(other)
    _, exported, _ = command(daemon, "export")
    (line,) = [x for x in map(json.loads, exported.splitlines()) if x["id"] == receipt["feedback_id"]]
    assert (line["state"], line["expect"]) == (
        "approved",
        {"entry": "plant:drive:F016@Northmoor Drives CD-40"},
    )
    assert command(daemon, "approve", receipt["feedback_id"], "--by", "Li", "--role", "shift lead")[0] == 1


def test_what_may_not_be_suggested_is_not_learnt(daemon):
    diagnosis = daemon.ask({**REPORT, "id": "b1"})
    said = {"diagnosis_id": diagnosis["diagnosis_id"], "verdict": "wrong", "by": BY}
    receipt = give(daemon, {**said, "action": "Bypass the guard switch."})
    code, _, error = command(daemon, "approve", receipt["feedback_id"], "--by", "Li", "--role", "lead")
    assert (code, "may not be suggested" in error) == (1, True)
    assert "Bypass" not in json.dumps(daemon.ask({**REPORT, "id": "b2"}))
