"""The broker: its program where it is the daemon's own, and whether it takes us. Knows no MQTT."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.doctor.ports import ask_daemon
from lineside.errors import LinesideError
from lineside.ports import StatusFacts
from lineside.transport.mqtt.hello import say_hello
from lineside.transport.mqtt.mosquitto import find_mosquitto


def look(machine: Machine) -> Iterator[Finding]:
    """Program, and a real connection with what the configuration names."""
    config = machine.config.mqtt
    if config.broker == "off":
        yield finding("broker.answers", "not_applicable", "[mqtt] broker is off")
        return
    if config.broker == "managed":
        try:
            yield finding("broker.program", "ok", find_mosquitto(config.mosquitto))
        except LinesideError as error:
            yield finding("broker.program", "problem", error.message, error.hint)
        if not config.port or not isinstance(ask_daemon(machine.config), StatusFacts):
            seen = "the daemon starts it, and does not run or has chosen a port of its own"
            yield finding("broker.answers", "not_applicable", seen)
            return
    where = f"{config.host}:{config.port}"
    try:
        say_hello(config)
    except LinesideError as error:
        yield _away(error)
        return
    yield finding("broker.answers", "ok", f"{where} takes us", broker="ok")


def _away(error: LinesideError) -> Finding:
    """Why it does not take us; what only this user may not read says nothing of the daemon."""
    name = "broker.answers"
    if isinstance(error.__cause__, PermissionError):
        return finding(name, "unknown", error.message, "run it as the daemon's user or as root")
    return finding(name, "problem", error.message, error.hint, broker="away")
