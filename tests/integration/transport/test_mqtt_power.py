"""Power settings over a real Mosquitto, with the access list that the documentation shows."""

from __future__ import annotations

import itertools
import json
import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.integration.transport.mqtt_parts import (
    Broker,
    broker,
    config,
    device,
    in_thread,
    linked,
    reconnected,
    until,
)
from tests.support.daemon import ROOT

from lineside.config import PowerConfig
from lineside.power.settings import Settings
from lineside.power_desk import PowerDesk
from lineside.security.roles import Roles
from lineside.transport.mqtt.local import hashed
from lineside.transport.mqtt.power import MAX_SETTING_BYTES

pytestmark = pytest.mark.anyio

SET = "lineside/v1/power/set/lineside"
STATE = "lineside/v1/power/lineside"
RECEIPT = "lineside/v1/receipt/power/lineside"
DEVICE = "L1/CD-07"


class UnsureDesk(PowerDesk):
    """Counts what is asked. The setting whose limit is 13 stays undone the first time."""

    asked = 0

    def set(self, values, principal):
        self.asked += 1
        if self.asked == 1 and values.get("limit_w") == 13:
            return Future()
        return super().set(values, principal)


@pytest.fixture
def desk(tmp_path: Path):
    desk = UnsureDesk(Settings(PowerConfig(), tmp_path / "power-setting.json"), lambda _: None)
    yield desk
    desk.close()


@pytest.fixture
def restricted(tmp_path: Path) -> list[str]:
    """A broker's lines: users, and the access list of docs/power.md."""
    users, rules, password = tmp_path / "users", tmp_path / "rules", tmp_path / "password"
    users.touch()
    for user in ("lineside", "anna", DEVICE):
        make = ["mosquitto_passwd", "-b", str(users), user, user]
        subprocess.run(make, check=True, capture_output=True)
    password.write_text("lineside\n")
    page = (ROOT / "docs" / "power.md").read_text("utf-8")
    after = page[page.index("    user lineside\n") :].splitlines()
    block = itertools.takewhile(lambda line: not line or line.startswith("    "), after)
    rules.write_text("".join(f"{line.strip()}\n" for line in block))
    rules.chmod(0o644)
    return ["allow_anonymous false", f"password_file {users}", f"acl_file {rules}"]


def asking(directory: Path):
    """A broker that knows the daemon's password, and lets others in without a name."""
    made = directory / "known"
    made.write_text(f"lineside:{hashed('lineside')}\n")
    (directory / "password").write_text("lineside\n")
    return broker(directory, "allow_anonymous true", f"password_file {made}")


def mine(running: Broker, **changed: object):
    """The daemon's configuration there."""
    password = str(running.directory / "password")
    return config(running.port, power=True, user="lineside", password_file=password, **changed)


def limit(message) -> float:
    return json.loads(message.payload)["limit_w"]


async def test_whom_the_access_list_lets_publish_sets_the_power_and_a_device_does_not(
    tmp_path: Path, desk: PowerDesk, restricted: list[str]
):
    async with broker(tmp_path, *restricted) as running:

        def try_both() -> tuple[dict[str, object], bool]:
            with (
                device(running.port, STATE, RECEIPT, user="anna") as anna,
                device(running.port, user=DEVICE) as other,
            ):
                assert limit(anna.wait(lambda message: message.topic == STATE)) == 0
                other.publish(SET, b'{"limit_w": 1}')
                anna.publish(SET, b'{"limit_w": 9.5, "id": "r1"}')
                receipt = json.loads(anna.wait(lambda message: message.topic == RECEIPT).payload)
                assert limit(anna.wait(lambda message: message.topic == STATE)) == 9.5
            with device(running.port, STATE, user="anna") as later:
                return receipt, later.wait().retain

        async with linked(mine(running), power=desk):
            receipt, retained = await in_thread(try_both)
        held = {
            "limit_w": 9.5,
            "limit_source": f"operator: mqtt:{SET}",
            "temperature_max_c": 85.0,
            "mode": "",
        }
        assert receipt == {"v": 1, "id": "r1", "status": "ok", **held}
        assert retained
        assert desk.asked == 1, "the device's never came"
        assert running.log().count("Denied PUBLISH") == 1


BAD = [
    (b'{"limit_w": -1, "id": "r"}', "invalid", "limit_w"),
    (b'{"limit_w": NaN}', "invalid", ""),
    (b'{"temperature_max_c": 200}', "invalid", "temperature_max_c"),
    (b'{"mode": "99W"}', "invalid", "mode"),
    (b'{"watts": 9}', "invalid", "watts"),
    (b'{"by": "me", "limit_w": 9}', "invalid", "by"),
    (b'{"limit_w": 9, "clear": true}', "invalid", "clear"),
    (b'{"limit_w": 9, "id": 7}', "invalid", "id"),
    (b'{"limit_w": 9, "id": "%s"}' % (b"x" * 129), "invalid", "id"),
    (b"", "invalid", ""),
    (b"[9]", "invalid", ""),
    (b"\xff", "invalid", ""),
    (b"[" * MAX_SETTING_BYTES, "invalid", ""),
    (b'{"limit_w": 9}'.ljust(MAX_SETTING_BYTES + 1), "too_long", ""),
]


async def test_what_cannot_be_taken_is_answered_with_the_fields_name(tmp_path: Path, desk: PowerDesk):
    async with asking(tmp_path) as running, linked(mine(running), power=desk):

        def ask() -> None:
            with device(running.port, RECEIPT) as operator:
                for payload, reason, field in BAD:
                    operator.publish(SET, payload)
                    receipt = json.loads(operator.wait().payload)
                    assert (receipt["status"], receipt["reason"], receipt["field"]) == (
                        "error",
                        reason,
                        field,
                    ), payload
                    assert receipt["message"]
                assert desk.wish().limit_w == 0
                operator.publish(SET, b'{"limit_w": 9}'.ljust(MAX_SETTING_BYTES))
                assert limit(operator.wait()) == 9

        await in_thread(ask)


async def test_the_receipt_goes_where_the_request_says_but_not_among_our_own(tmp_path: Path, desk: PowerDesk):
    async with (
        asking(tmp_path) as running,
        linked(mine(running, reply_topics=("#",)), power=desk),
    ):

        def ask() -> None:
            with device(running.port, "response/7", RECEIPT) as operator:
                operator.publish(SET, b'{"limit_w": 9}', ResponseTopic="response/7", CorrelationData=b"\x00c")
                answer = operator.wait()
                assert (answer.topic, answer.properties.CorrelationData) == ("response/7", b"\x00c")
                operator.publish(SET, b'{"limit_w": 8}', ResponseTopic=SET)
                assert operator.wait().topic == RECEIPT

        await in_thread(ask)
        assert desk.wish().limit_w == 8


async def test_a_change_by_another_way_is_told_and_a_retained_setting_is_none(
    tmp_path: Path, desk: PowerDesk
):
    async with asking(tmp_path) as running:

        def leave() -> None:
            with device(running.port) as operator:
                operator.publish(SET, b'{"limit_w": 3}', retain=True)

        await in_thread(leave)
        async with linked(mine(running), power=desk) as parts:

            def listen() -> None:
                with device(running.port, STATE) as listener:
                    assert limit(listener.wait()) == 0
                    desk.set({"limit_w": 7}, Roles(["anna"]).known("grpc", "anna")).result(5)
                    assert limit(listener.wait()) == 7

            await in_thread(listen)
            assert parts.admin.counters["mqtt_retained_ignored"] == 1


async def test_unless_it_is_configured_nobody_listens(tmp_path: Path, desk: PowerDesk):
    async with asking(tmp_path) as running, linked(config(running.port), power=desk):

        def ask() -> None:
            with device(running.port, STATE, RECEIPT, "lineside/v1/diagnosis/#") as operator:
                operator.publish(SET, b'{"limit_w": 9}')
                operator.publish("lineside/v1/fault/x", b"{}")
                assert operator.wait().topic == "lineside/v1/diagnosis/x", "nothing comes before"

        await in_thread(ask)
        assert desk.asked == 0


async def test_a_setting_that_was_not_answered_comes_again(tmp_path: Path, desk: PowerDesk):
    async with asking(tmp_path) as running, linked(mine(running), power=desk) as parts:

        def publish() -> None:
            with device(running.port) as operator:
                operator.publish(SET, b'{"limit_w": 13}')

        def listen() -> None:
            with device(running.port, STATE) as listener:
                listener.wait(lambda message: limit(message) == 13)

        await in_thread(publish)
        await until(lambda: desk.asked == 1)
        assert desk.wish().limit_w == 0
        await reconnected(parts)
        await in_thread(listen)
        assert desk.asked == 2


async def test_where_the_broker_takes_any_password_nobody_sets_power(
    tmp_path: Path, desk: PowerDesk, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "password").write_text("lineside\n")
    async with broker(tmp_path) as running, linked(mine(running), power=desk) as parts:

        def ask() -> None:
            with device(running.port, STATE, RECEIPT, "lineside/v1/diagnosis/#") as operator:
                operator.publish(SET, b'{"limit_w": 9}')
                operator.publish("lineside/v1/fault/x", b"{}")
                assert operator.wait().topic == "lineside/v1/diagnosis/x", "nothing comes before"

        await in_thread(ask)
        assert desk.asked == 0
        assert parts.admin.counters["mqtt_power_not_listened"] == 1
        assert "the broker takes any password for 'lineside'" in caplog.text
