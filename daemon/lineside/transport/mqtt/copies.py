"""Where an answer goes beside the topic that was asked for. Knows nothing of what answers say."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.diagnosis.report import Event
from lineside.ports import Copy, IncomingReport
from lineside.transport.mqtt.topics import alarm_topic, copy_topic


@dataclass(frozen=True, slots=True)
class MqttCopies:
    """Implements ports.Copies."""

    alarm_expiry_s: int

    def __call__(self, incoming: IncomingReport, alarm_key: str, event: Event) -> tuple[Copy, ...]:
        """See ports.Copies. What was acknowledged stands on, and so does its diagnosis."""
        short = [
            Copy(form, copy_topic(form, incoming.device), incoming.remaining_ms)
            for form in incoming.wanted
            if form != "alarm"
        ]
        retains = event != "acknowledged" and alarm_key and incoming.device
        if "alarm" in incoming.wanted and retains:
            topic = alarm_topic(incoming.device, alarm_key)
            retained = Copy("alarm", topic, self.alarm_expiry_s * 1000)
            short.append(Copy("cleared", topic) if event == "cleared" else retained)
        return tuple(short)
