"""The notification protocol, against a real datagram socket."""

import logging
import os
import uuid

import pytest
from tests.support.manager import Manager, listening

from lineside.supervision.notify import Notifier, from_environment


def test_a_message_is_one_datagram_of_lines(tmp_path):
    with listening(tmp_path) as manager:
        Notifier(manager.address).send(READY=1, STATUS="serving\nWATCHDOG=1")
        assert manager.next() == {"READY": "1", "STATUS": "serving WATCHDOG=1"}


def test_an_abstract_address_starts_with_an_at():
    manager = Manager(f"@lineside-test-{uuid.uuid4()}")
    Notifier(manager.address).send(STOPPING=1)
    assert manager.next() == {"STOPPING": "1"}
    manager.close()


def test_without_a_manager_nothing_is_sent_and_nothing_fails():
    Notifier().send(READY=1)


def test_a_manager_that_is_gone_is_logged_and_survived(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Notifier(str(tmp_path / "nobody")).send(READY=1)
    assert "cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("environment", "address", "watchdog_s"),
    [
        ({}, "", 0.0),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000000"}, "/run/n", 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, "", 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, "", 0.0),
        ({"WATCHDOG_USEC": "soon"}, "", 0.0),
    ],
)
def test_the_environment_names_the_manager(environment, address, watchdog_s):
    assert from_environment(environment) == Notifier(address, watchdog_s)
