from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from paho.mqtt.client import MQTTMessage

from lineside.errors import Reason, RejectedError
from lineside.power.settings import Wish
from lineside.transport.mqtt.power import PowerTopic

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("payload", "error", "outcome", "reason"),
    [
        (b'{"id": "s1", "limit_w": 15}', None, "ok", ""),
        (
            b'{"id": "s1", "limit_w": -1}',
            RejectedError(Reason.INVALID, "no", field="limit_w"),
            "error",
            "invalid",
        ),
        (b"{", None, "error", "invalid"),
    ],
)
async def test_each_power_setting_leaves_one_record(payload, error, outcome, reason):
    done = Future()
    done.set_exception(error) if error else done.set_result(Wish(15.0, "mqtt", None))
    records = []
    audit = SimpleNamespace(payloads=False, record=records.append)
    setter = SimpleNamespace(set=lambda *_: done)
    topic = PowerTopic("lineside", setter, SimpleNamespace(), lambda _, default: default, audit)
    message = MQTTMessage(topic=topic.topic.encode())
    message.payload = payload
    topic.take(message, lambda: None)
    ((who, what, said, why, asked),) = [(r.who, r.what, r.outcome, r.reason, r.id) for r in records]
    assert (who, what, said, why) == ("mqtt:lineside/v1/power/set/lineside", "power", outcome, reason)
    assert asked == ("s1" if payload != b"{" else "")
