"""A running daemon is offered by MQTT and gRPC what nobody means well, for a few seconds each."""

import random

import pytest
from tests.support.fuzzing_live import Live

SEED = 20_261_127
SECONDS = 3.0


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    running = Live(tmp_path_factory.mktemp("live"), random.Random(SEED))
    yield running
    running.daemon.end()


@pytest.mark.parametrize("protocol", ["mqtt", "grpc"])
def test_whatever_comes_the_daemon_answers_the_next_report_and_does_not_grow(live, protocol):
    live.chance.seed(SEED)
    assert live.fuzz(protocol, SECONDS) > 0
