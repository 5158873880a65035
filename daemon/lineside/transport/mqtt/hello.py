"""A short visit to the broker beside the daemon's own connection: does it take us? And to leave a message.

Under a client id of its own: the daemon's would be thrown out.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.transport.mqtt.session import (
    CONNECT_S,
    explain,
    json_properties,
    new_properties,
    no_delay,
    read_password,
    set_tls,
)
from lineside.transport.mqtt.topics import health_topic

VISIT_S = 8.0


@dataclass(slots=True)
class _Visit:
    """`suffix`: of its client id. `password`: another than the configured one."""

    suffix: str = "-doctor"
    password: str = ""
    accepted: bool = False
    refused: str = ""
    taken: bool = False
    client: Client = field(init=False)


def say_hello(config: MqttConfig) -> None:
    """Connect and part. Raises LinesideError with the broker's reason, or that it does not answer."""
    _part(_connected(config, _Visit()))


def takes_any_password(config: MqttConfig) -> bool:
    """Whether the broker lets somebody in under the daemon's name who does not know its password.

    Raises LinesideError where the broker does not answer.
    """
    visit = _Visit("-stranger", secrets.token_urlsafe(24))
    try:
        _part(_connected(config, visit))
    except LinesideError:
        if visit.refused:
            return False
        raise
    return True


def leave_health(config: MqttConfig, document: bytes) -> None:
    """Publish what `lineside doctor` found, retained. Returns once the broker has it."""
    visit = _connected(config, _Visit())
    try:
        topic = health_topic(config.client_id)
        properties = json_properties(PacketTypes.PUBLISH)
        visit.client.publish(topic, document, qos=1, retain=True, properties=properties)
        _turn(visit, lambda: visit.taken, config, f"publish to {topic}")
    finally:
        _part(visit)


def _connected(config: MqttConfig, visit: _Visit) -> _Visit:
    client_id = config.client_id + visit.suffix
    visit.client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, reconnect_on_failure=False
    )
    client = visit.client
    client.connect_timeout = CONNECT_S
    client.on_socket_open = no_delay
    client.on_connect = lambda _c, _d, _f, reason, _p: _welcome(visit, reason)
    client.on_publish = lambda _c, _d, _m, reason, _p: _answer(visit, reason)
    if config.user:
        client.username_pw_set(config.user, visit.password or read_password(config.password_file))
    if config.ca_file or config.cert_file:
        set_tls(client, config)
    try:
        properties = new_properties(PacketTypes.CONNECT)
        client.connect(config.host, config.port, config.keepalive_s, clean_start=True, properties=properties)
    except OSError as error:
        hint = "is it running, and are [mqtt] host and port its own? The network may be down"
        where = f"{config.host}:{config.port}"
        raise LinesideError("visit the broker", f"{where}: {error}", hint) from None
    try:
        _turn(visit, lambda: visit.accepted, config, "connect")
    except LinesideError:
        _part(visit)
        raise
    return visit


def _turn(visit: _Visit, done: Any, config: MqttConfig, what: str) -> None:
    """Let paho work until `done`, on this thread."""
    where, end_s = f"{config.host}:{config.port}", time.monotonic() + VISIT_S
    while not done() and not visit.refused:
        if time.monotonic() > end_s:
            hint = "it takes connections and does not speak MQTT, or it is overloaded"
            raise LinesideError("visit the broker", f"{where} does not answer: {what}", hint)
        if visit.client.loop(0.2) != MQTTErrorCode.MQTT_ERR_SUCCESS and not visit.refused:
            hint = "see the broker's log; another client may have the same client id"
            raise LinesideError("visit the broker", f"{where} ended the connection: {what}", hint)
    if visit.refused:
        hint = "see An own broker in README.md"
        raise LinesideError("visit the broker", f"{where} refuses: {what}: {visit.refused}", hint)


def _part(visit: _Visit) -> None:
    visit.client.disconnect()
    visit.client.loop(0.1)


def _welcome(visit: _Visit, reason: Any) -> None:
    visit.accepted = not reason.is_failure
    visit.refused = explain(reason) if reason.is_failure else ""


def _answer(visit: _Visit, reason: Any) -> None:
    visit.taken = not reason.is_failure
    visit.refused = explain(reason) if reason.is_failure else ""
