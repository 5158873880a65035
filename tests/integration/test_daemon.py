"""The daemon as its users meet it: mosquitto's clients, gRPC, the command line, signals."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.daemon import DEMO, Daemon, lineside
from tests.support.ports import free_port

from lineside.transport.grpc import client
from lineside.v1 import common_pb2, generation_pb2, generation_pb2_grpc

OVERTEMPERATURE = json.loads((DEMO / "faults" / "overtemperature.en.json").read_text("utf-8"))
CODE_ONLY = {"dev": {"id": "L1/CD-07", "vendor": "Northmoor Drives"}, "alarm": {"code": "F012"}}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, smollm2_bundle):
    telemetry = {"metrics": f"127.0.0.1:{free_port()}"}
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), smollm2_bundle, telemetry=telemetry)
    daemon.metrics = f"http://{telemetry['metrics']}/metrics"
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()


@pytest.fixture
def spare(tmp_path, smollm2_bundle):
    """A daemon of the test's own, not started."""
    daemon = Daemon(tmp_path / "spare", smollm2_bundle)
    daemon.import_demo()
    yield daemon
    daemon.end()


@pytest.fixture
def exact(tmp_path, tiny_fp32_bundle):
    """One in fp32: where activations are quantised by call, a batch's texts may part from a lonely run's."""
    daemon = Daemon(tmp_path / "exact", tiny_fp32_bundle)
    daemon.start()
    yield daemon
    daemon.end()


def generate(daemon, **fields):
    channel = grpc.insecure_channel(daemon.address)
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    return channel, stub.Generate(generation_pb2.GenerateRequest(**fields), timeout=60)


def test_a_fault_over_mqtt_comes_back_as_a_cited_diagnosis(daemon):
    diagnosis = daemon.ask(OVERTEMPERATURE)
    assert diagnosis["status"] == "ok"
    assert diagnosis["mode"] == "model"
    assert diagnosis["causes"]
    refs = {evidence["ref"] for evidence in diagnosis["evidence"]}
    assert {ref for cause in diagnosis["causes"] for ref in cause["refs"]} <= refs
    assert {ref for check in diagnosis["checks"] for ref in check["refs"]} <= refs
    assert any(evidence["src"] == "conveyor-drive#F012" for evidence in diagnosis["evidence"])
    assert diagnosis["kb"]
    assert diagnosis["advisory"] is True


def test_a_scrape_tells_of_a_diagnosis(daemon):
    before, _ = scrape(daemon)
    # Of another machine: a repeat, or the same alarm once more, would be given the stored answer.
    daemon.ask({**OVERTEMPERATURE, "id": "scraped", "dev": {**OVERTEMPERATURE["dev"], "id": "L9/CD-90"}})
    after, seconds = scrape(daemon)
    gained = {name: value - before.get(name, 0) for name, value in after.items()}
    assert gained["lineside_diagnoses_total{mode=model,outcome=ok}"] == 1
    assert gained["lineside_request_success_total{finished_reason=stop}"] == 1
    assert gained["lineside_generation_tokens_total"] > gained["lineside_forced_tokens_total"] > 0
    assert gained["lineside_step_seconds_count{kind=chunk}"] >= 1
    assert gained["lineside_events_total{event=mqtt_reports}"] == 1
    assert after["lineside_state{lineside_state=ready}"] == 1
    assert after["lineside_mqtt_connected"] == 1
    assert after["process_resident_memory_bytes"] > 1e8
    assert not any("CD-" in name for name in after), "no device is a label"
    assert seconds < 1


def scrape(daemon):
    """Values by series, and how long they took."""
    time.sleep(0.3)  # the page is kept for a quarter of a second
    begun_s = time.monotonic()
    with urllib.request.urlopen(daemon.metrics, timeout=5) as response:
        page = response.read().decode()
    values = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values, time.monotonic() - begun_s


def test_the_same_over_grpc_and_the_command_line(daemon):
    report = json.dumps(CODE_ONLY).encode()
    over_grpc = json.loads(client.diagnose(daemon.address, report, 60))
    done = lineside("diagnose", "-", "--json", "--config", daemon.config, stdin=report)
    over_cli = json.loads(done.stdout)
    assert over_grpc["meaning"] == over_cli["meaning"]
    assert over_grpc["status"] == "ok"


def test_the_command_line_prints_for_people(daemon):
    fault = DEMO / "faults" / "overtemperature.en.json"
    done = lineside("diagnose", fault, "--address", daemon.address)
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "Motor overtemperature" in text
    assert "\x1b[" not in text, "no colour where there is no terminal"


def test_a_language_the_bundle_does_not_declare_gets_the_manuals_words(daemon):
    """SmolLM2 declares English alone."""
    report = json.loads((DEMO / "faults" / "overtemperature.zh.json").read_text("utf-8"))
    diagnosis = daemon.ask(report)
    assert diagnosis["lang"] == "zh"
    manual = (DEMO / "knowledge" / "conveyor-drive.yaml").read_text("utf-8")
    assert diagnosis["causes"]
    assert all(cause["text"] in manual for cause in diagnosis["causes"])


def test_what_no_manual_knows_is_abstained_from(daemon):
    report = json.loads((DEMO / "faults" / "unknown.en.json").read_text("utf-8"))
    diagnosis = daemon.ask(report)
    assert (diagnosis["status"], diagnosis["reason"]) == ("abstain", "no_kb_hit")
    assert diagnosis["causes"] == []


def test_response_topic_and_correlation(daemon):
    with daemon.subscribe("lineside/reply/plc7", 1, "-V", "5", "-F", "=> %D %p") as answers:
        daemon.publish(
            CODE_ONLY,
            *("-V", "5", "-D", "publish", "response-topic", "lineside/reply/plc7"),
            *("-D", "publish", "correlation-data", "c-77"),
        )
        (line,) = answers.wait()
    assert b"c-77" in line
    assert b"F012" in line


def test_a_client_of_3_1_1_names_its_topic_in_the_report(daemon):
    report = {**CODE_ONLY, "reply_to": "lineside/reply/old", "request_id": "r1"}
    with daemon.subscribe("lineside/reply/old", 1, "-V", "311") as answers:
        daemon.publish(report, "-V", "311")
        assert json.loads(answers.wait()[0])["id"] == "r1"


def test_mosquitto_rr(daemon):
    command = ["mosquitto_rr", "-h", "127.0.0.1", "-p", str(daemon.mqtt_port), "-q", "1", "-V", "5"]
    command += ["-t", "lineside/v1/fault/L1/CD-07", "-e", "lineside/reply/rr", "-W", "60"]
    done = subprocess.run(
        [*command, "-m", json.dumps(CODE_ONLY)], capture_output=True, timeout=70, check=True
    )
    assert json.loads(done.stdout)["status"] == "ok"


@pytest.mark.parametrize(
    ("payload", "reason", "field"),
    [
        (b"{", "invalid", ""),
        (b'{"dev": {"id": "L9/bad"}, "alarm": {}}', "invalid", "alarm"),
        (b'{"dev": {"id": "L9/bad"}, "alarm": {"code": [5]}}', "invalid", "alarm.code"),
        (b'{"alarm": {"code": "1"}, "dev": {"id": "L9/other"}}', "invalid", "dev.id"),
        (b'{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "invalid", ""),
        (b'{"dev": {"id": "L9/bad"}, "alarm": {"code": "' + b"x" * 70_000 + b'"}}', "too_long", ""),
    ],
)
def test_a_report_that_cannot_be_used_is_answered_with_the_field(daemon, payload, reason, field):
    with daemon.subscribe("lineside/v1/diagnosis/L9/bad") as answers:
        daemon.publish(payload, device="L9/bad")
        diagnosis = json.loads(answers.wait()[0])
    assert (diagnosis["status"], diagnosis["reason"], diagnosis["field"]) == ("error", reason, field)


def test_the_same_report_again_gets_the_same_answer_without_the_model(daemon):
    report = {**CODE_ONLY, "id": "repeat-1"}
    first = daemon.ask(report)
    before = daemon.status().counters.get("diagnoses_ok", 0)
    assert daemon.ask(report) == first
    assert daemon.status().counters.get("diagnoses_ok", 0) == before


def test_generation_is_guided_and_bounded(daemon):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    schema |= {"additionalProperties": False}
    channel, events = generate(daemon, prompt="Pick a number.", json_schema=json.dumps(schema))
    *tokens, end = list(events)
    channel.close()
    assert json.loads("".join(event.token.text for event in tokens))["n"] in (1, 2)
    assert end.end.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert end.end.usage.forced_tokens > 0


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (10007, 10009, 10037)]},
        {"type": "string", "pattern": "^(a?){500}a{500}$"},
        {"type": "object", "properties": {f"p{n}": {} for n in range(1100)}},
        {"type": "string", "pattern": "(" * 15_000},
    ],
)
def test_a_hostile_schema_is_refused_by_name_and_harms_nobody(daemon, schema):
    channel, events = generate(daemon, prompt="x", json_schema=json.dumps(schema))
    with pytest.raises(grpc.RpcError) as caught:
        list(events)
    channel.close()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["lineside-reason"] == "invalid"
    assert "json_schema" in caught.value.details()
    assert daemon.process.poll() is None
    assert daemon.status().engine.running == 0


def test_concurrent_generations_equal_lonely_ones(exact):
    prompts = [f"Machine {n} stopped because" for n in range(4)]

    def text(prompt):
        channel, events = generate(exact, prompt=prompt, sampling=generation_pb2.Sampling(max_tokens=12))
        written = "".join(event.token.text for event in events)
        channel.close()
        return written

    alone = [text(prompt) for prompt in prompts]
    together = [""] * len(prompts)

    def ask(index):
        together[index] = text(prompts[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert len(set(alone)) > 1, "what was asked matters"


def test_cancelling_frees_the_slot(daemon):
    channel, events = generate(daemon, prompt="Count:", sampling=generation_pb2.Sampling(max_tokens=900))
    next(events)
    events.cancel()
    channel.close()
    end_s = time.monotonic() + 5
    while daemon.status().engine.running and time.monotonic() < end_s:
        time.sleep(0.02)
    assert daemon.status().engine.running == 0


def test_a_deadline_that_cannot_be_met_is_answered_by_the_rules(daemon):
    device = {**OVERTEMPERATURE["dev"], "id": "L1/CD-08"}  # whose alarm has no answer yet
    diagnosis = daemon.ask({**OVERTEMPERATURE, "dev": device, "id": "soon", "deadline_ms": 60})
    assert (diagnosis["status"], diagnosis["mode"]) == ("ok", "rules")
    assert diagnosis["causes"]
    assert diagnosis["message"]


def test_an_idempotency_key_replays_the_generation(daemon):
    options = common_pb2.RequestOptions(idempotency_key="same")
    sampling = generation_pb2.Sampling(max_tokens=10, temperature=1.5)

    def text():
        channel, events = generate(daemon, prompt="Say:", options=options, sampling=sampling)
        written = "".join(event.token.text for event in events)
        channel.close()
        return written

    assert text() == text()
    channel, events = generate(daemon, prompt="Other:", options=options, sampling=sampling)
    with pytest.raises(grpc.RpcError) as caught:
        list(events)
    channel.close()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_every_socket_is_on_loopback(daemon):
    pids = [daemon.process.pid]
    for children in Path(f"/proc/{daemon.process.pid}/task").glob("*/children"):
        pids += [int(child) for child in children.read_text().split()]
    assert len(pids) >= 2, "the daemon and its broker"
    addresses = {address for pid in pids for address in socket_addresses(pid)}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses


def socket_addresses(pid):
    """Local and remote addresses of a process's internet sockets."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                yield decode_address(fields[1])
                if int(fields[2].rpartition(":")[2], 16):
                    yield decode_address(fields[2])


def decode_address(field):
    digits = field.partition(":")[0]
    raw = b"".join(bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def test_status_is_retained_and_tells_an_orderly_stop(spare):
    spare.start()
    topic = "lineside/v1/status/lineside"
    with spare.subscribe(topic, 2) as status:
        assert spare.stop() == 0
        online, stopped = (json.loads(message)["status"] for message in status.wait())
    assert (online, stopped) == ("online", "stopped")


def test_an_orderly_stop_lets_the_running_answer_end_and_publishes_it(spare):
    spare.start()
    with spare.subscribe("lineside/v1/diagnosis/#") as answers:
        spare.publish(OVERTEMPERATURE)
        while not spare.status().counters.get("reports_accepted"):
            time.sleep(0.01)
        assert spare.stop() == 0
        assert [json.loads(answer)["status"] for answer in answers.wait()] == ["ok"]


def test_after_a_kill_the_next_start_takes_up_what_was_left(spare):
    """Reports of which some are running, some waiting, when the daemon is killed; all are answered after."""
    spare.start()
    for number in range(6):
        spare.publish({**OVERTEMPERATURE, "id": f"k{number}"})
    spare.kill()
    spare.start()
    answered = spare.status().counters
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        status = spare.status()
        if not status.journal_pending and not status.journal_unpublished:
            break
        time.sleep(0.1)
    assert (status.journal_pending, status.journal_unpublished) == (0, 0), answered
    first = spare.ask({**OVERTEMPERATURE, "id": "k0"})
    assert first["status"] == "ok"


def test_a_report_published_while_the_daemon_is_down_waits_in_an_external_broker(tmp_path, smollm2_bundle):
    port = free_port()
    broker = subprocess.Popen(["mosquitto", "-p", str(port)], stderr=subprocess.DEVNULL)
    mqtt = {"broker": "external", "port": port}
    daemon = Daemon(tmp_path / "d", smollm2_bundle, mqtt=mqtt)
    daemon.mqtt_port = port
    daemon.import_demo()
    try:
        daemon.start()
        assert daemon.stop() == 0
        with daemon.subscribe("lineside/v1/diagnosis/L1/CD-07") as answers:
            daemon.publish(CODE_ONLY)
            daemon.start()
            assert json.loads(answers.wait()[0])["status"] == "ok"
    finally:
        daemon.end()
        broker.terminate()
        broker.wait(10)


def refused(*arguments):
    done = lineside("serve", *arguments)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_it_refuses_to_start_without_a_bundle_and_says_how_to_get_one(tmp_path):
    daemon = Daemon(tmp_path / "d", tmp_path / "absent")
    text = refused("--config", daemon.config)
    assert str(tmp_path / "absent") in text
    assert "lineside-build build" in text


def test_it_refuses_a_damaged_bundle_and_says_how_to_rebuild_it(tmp_path, smollm2_bundle):
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for file in smollm2_bundle.iterdir():
        (damaged / file.name).symlink_to(file)
    (damaged / "tokenizer.json").unlink()
    (damaged / "tokenizer.json").write_bytes((smollm2_bundle / "tokenizer.json").read_bytes()[:-1] + b" ")
    daemon = Daemon(tmp_path / "d", damaged)
    text = refused("--config", daemon.config)
    assert "tokenizer.json" in text
    assert "lineside-build build smollm2-135m-instruct" in text


@pytest.mark.parametrize("section", ["grpc", "mqtt"])
def test_it_refuses_a_busy_port_and_names_it(tmp_path, smollm2_bundle, section):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path / "d", smollm2_bundle, **{section: {"port": port}})
        text = refused("--config", daemon.config)
    assert str(port) in text
    assert re.search(rf"\[{section}\] .*port", text)


def test_a_second_daemon_on_the_same_state_is_refused(daemon):
    assert "another daemon" in refused("--config", daemon.config)


def test_an_unknown_key_is_refused_by_name(tmp_path):
    config = tmp_path / "lineside.toml"
    config.write_text("[grpc]\nprot = 1\n")
    assert "prot" in refused("--config", config)


def test_the_client_says_what_to_do_when_no_daemon_answers(tmp_path):
    done = lineside("diagnose", "-", "--address", f"127.0.0.1:{free_port()}", stdin=b"{}")
    assert done.returncode == 1
    assert b"lineside serve" in done.stderr


def test_sigint_stops_like_sigterm(spare):
    spare.start()
    spare.process.send_signal(signal.SIGINT)
    assert spare.process.wait(30) == 0


def test_manuals_are_read_ahead_where_a_model_makes_diagnoses_and_reports_find_them_read(
    tmp_path, smollm2_bundle
):
    daemon = Daemon(tmp_path / "ahead", smollm2_bundle, engine={"kept_entries": 2})
    daemon.import_demo()
    daemon.start()
    try:
        end_s = time.monotonic() + 60
        while daemon.status().counters.get("entries_read_ahead", 0) < 2:
            assert time.monotonic() < end_s, "nothing is read ahead"
            time.sleep(0.1)
        assert daemon.ask(OVERTEMPERATURE)["mode"] == "model"
    finally:
        daemon.end()


def test_where_rules_make_them_nothing_is(tmp_path, smollm2_bundle):
    daemon = Daemon(
        tmp_path / "rules", smollm2_bundle, engine={"kept_entries": 2}, diagnosis={"mode": "auto"}
    )
    daemon.import_demo()
    daemon.start()
    time.sleep(2.5)
    counters = daemon.status().counters
    assert daemon.stop() == 0
    assert "entries_read_ahead" not in counters
    (told,) = re.findall(r"engine ready.*", daemon.log.read_text())
    assert '"kept_entries": 0' in told or "kept_entries=0" in told, told
    assert re.search(r"cache_mb\W+[1-9]", told), told
