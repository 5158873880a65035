"""All mappings together: from a topic and a payload to reports. Knows nothing of brokers and of journals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

from lineside.gateways.apply import apply, topic_of
from lineside.gateways.filters import match
from lineside.gateways.mapping import Mapping, load_mappings
from lineside.gateways.own import Mapped
from lineside.gateways.times import plant_zone


class Gateways:
    """What to listen to beside our own topics, and how to read it. No two mappings fit one topic."""

    def __init__(self, mappings: tuple[Mapping, ...] = (), zone: tzinfo | None = None) -> None:
        self._mappings = mappings
        self.zone = zone

    @property
    def filters(self) -> tuple[str, ...]:
        """The topics to subscribe to."""
        return tuple(mapping.topic for mapping in self._mappings)

    def read(self, topic: str, payload: bytes) -> list[Mapped] | None:
        """The reports of a message, none where it is no alarm; None for a topic that nobody has mapped."""
        for mapping in self._mappings:
            wild = match(mapping.topic, topic)
            if wild is not None:
                reports = apply(mapping, topic_of(mapping, topic, wild), payload, self.zone)
                return [replace(report, forms=mapping.forms, gateways=mapping.gateways) for report in reports]
        return None


def load_gateways(paths: Iterable[str | Path], timezone: str) -> Gateways:
    """Every mapping of these files. Raises LinesideError that names file, mapping and key."""
    return Gateways(load_mappings(paths), plant_zone(timezone))
