from pathlib import Path

import pytest

from lineside.config import MqttConfig
from lineside.transport.mqtt.rivals import Rivals
from lineside.transport.mqtt.session import session_id


def test_the_brokers_word_counts_twice_however_long_it_held():
    rivals = Rivals()
    assert [rivals.ended(100.0, taken_over=True) for _ in range(3)] == [False, True, True]


def test_four_short_connections_in_a_row_are_no_accident():
    rivals = Rivals()
    assert [rivals.ended(1.0, taken_over=False) for _ in range(5)] == [False, False, False, True, True]


@pytest.mark.parametrize("other", [None, 11.0])
def test_a_broker_that_was_away_or_a_good_connection_starts_the_count_anew(other: float | None):
    rivals = Rivals()
    for _ in range(3):
        rivals.ended(1.0, taken_over=False)
    assert not rivals.ended(other, taken_over=False)
    assert not rivals.ended(1.0, taken_over=False)


def test_boards_with_one_configuration_are_two_clients(tmp_path: Path):
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name * 32}\n")
        ids.append(session_id(MqttConfig(), tmp_path / name))
    assert ids[0] != ids[1]
    assert all(one.startswith("lineside-") and len(one) <= 23 for one in ids)
    assert "aaaa" not in ids[0]
    assert session_id(MqttConfig(), tmp_path / "a") == ids[0]


@pytest.mark.parametrize("content", [None, "\n"])
def test_a_machine_without_an_id_has_the_configured_one(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "id").write_text(content)
    assert session_id(MqttConfig(client_id="press-4"), tmp_path / "id") == "press-4"
