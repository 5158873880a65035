import subprocess
import sys

import pytest

from lineside.telemetry import clock


@pytest.mark.parametrize(("state", "trusted"), [(0, True), (1, True), (5, False), (-1, False)])
def test_the_kernels_state_decides(monkeypatch, state, trusted):
    class Libc:
        """A kernel in that state."""

        @staticmethod
        def adjtimex(buffer):
            assert buffer.raw.strip(b"\0") == b"", "modes 0: nothing is set"
            return state

    monkeypatch.setattr(clock, "_libc", Libc)
    assert clock.synchronised() is trusted


def test_the_real_call_agrees_with_another_reading_of_it():
    """The return value of adjtimex, read in a process of its own through another declaration."""
    script = (
        "import ctypes; b = (ctypes.c_long * 64)(); "
        "print(ctypes.CDLL('libc.so.6', use_errno=True).adjtimex(ctypes.byref(b)))"
    )
    state = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert clock.synchronised() is (state not in (-1, 5))
