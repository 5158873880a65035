import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from tests.support import boards

from lineside.power.helper import Helper
from lineside.power.helper_client import ask, set_through_helper


@pytest.fixture
def tree(tmp_path):
    return boards.orin_nano(tmp_path)


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as directory:  # a socket's path may not be long
        yield str(Path(directory) / "power.sock")


@pytest.fixture
def serve(tree, path):
    """A helper on a real socket; for whom, the test says."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(4)
    going = [True]

    def start(allowed):
        helper = Helper(tree, frozenset(allowed))
        thread = threading.Thread(target=helper.serve, args=(listener, lambda: going[0]))
        thread.start()
        threads.append(thread)

    threads = []
    yield start
    going[0] = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
        last.connect(path)
    for thread in threads:
        thread.join(5)
    listener.close()


def cap_hz(tree):
    return int((tree / "sys/class/devfreq/17000000.gpu/max_freq").read_text())


def test_a_frequency_of_the_boards_table_is_set(serve, tree, path):
    serve({os.getuid()})
    set_through_helper(path, boards.NANO_HZ[1])
    assert cap_hz(tree) == boards.NANO_HZ[1]


@pytest.mark.parametrize("hz", [0, -1, 612_000_001, 10**30])
def test_any_other_value_is_refused(serve, tree, path, hz):
    serve({os.getuid()})
    with pytest.raises(OSError, match="refused"):
        set_through_helper(path, hz)
    assert cap_hz(tree) == boards.NANO_HZ[-1]


@pytest.mark.parametrize(
    "request_",
    [
        {"set": "fan", "value": 1},
        {"set": "mode"},
        {"set": "mode", "value": "0; reboot"},
        {"set": "gpu_power_limit_mw", "value": "max"},
        {"set": "mode", "value": 3, "file": "/etc/passwd"},
        {"set": "mode", "value": 3, "pad": "x" * 1000},
        {},
    ],
)
def test_nothing_but_the_two_verbs_is_understood(serve, path, request_):
    serve({os.getuid()})
    with pytest.raises(OSError, match="refused"):
        ask(path, request_)


def test_another_user_is_refused(serve, tree, path):
    serve({os.getuid() + 1})
    with pytest.raises(OSError, match=f"user {os.getuid()} may not ask"):
        set_through_helper(path, boards.NANO_HZ[1])
    assert cap_hz(tree) == boards.NANO_HZ[-1]


def test_a_mode_is_believed_when_the_board_says_so(serve, tree, path):
    serve({os.getuid()})
    boards.nvpmodel(tree, refused=0)
    ask(path, {"set": "mode", "value": 3})
    with pytest.raises(OSError, match="did not take mode 15W"):
        ask(path, {"set": "mode", "value": 0})


def test_a_mode_that_needs_a_reboot_is_refused_with_the_reason(serve, tree, path):
    serve({os.getuid()})
    boards.nvpmodel(tree)
    with pytest.raises(OSError, match=r"TPC_PG_MASK.*needs a reboot"):
        ask(path, {"set": "mode", "value": 1})


def test_a_peer_that_says_nothing_or_goes_does_not_stop_the_others(serve, tree, path):
    serve({os.getuid()})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
        gone.connect(path)
    set_through_helper(path, boards.NANO_HZ[0])
    assert cap_hz(tree) == boards.NANO_HZ[0]


def test_without_a_helper_the_error_says_where_it_was_looked_for(path):
    with pytest.raises(OSError, match=f"nobody answers at {path}"):
        set_through_helper(path, 1)
