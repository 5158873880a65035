"""What goes wrong at a plant, done for real to a daemon and its broker. Knows nothing of load."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from lineside.v1 import generation_pb2
from tests.support import http2
from tests.support.broker import Broker
from tests.support.daemon import Daemon

GENERATE = "/lineside.v1.GenerationService/Generate"
SHORT = generation_pb2.Sampling(max_tokens=20)
SILENT_CONNECTIONS, DEAF = 100, 6
FULL_S, STOPPED_S = 5.0, 3.0


class Troubles:
    """Each method is one trouble, over when it returns; `counts` says how often each was caused."""

    def __init__(self, daemon: Daemon, broker: Broker) -> None:
        self.daemon, self.broker = daemon, broker
        self.counts: Counter[str] = Counter()

    def all(self) -> tuple[Callable[[], None], ...]:
        """What a daemon has to live through without being started again."""
        return (
            self.kill_broker,
            self.stop_daemon_for_a_while,
            self.silent_connections,
            self.slow_readers,
            self.stop_broker_for_a_while,
            self.garbage,
            self.full_disk,
            self.kill_broker_twice,
        )

    def kill_daemon(self) -> None:
        """SIGKILL, and started again; returns at once."""
        self.counts["daemon killed"] += 1
        self.daemon.kill()
        self.daemon.launch()

    def kill_broker(self, down_s: float = 0.0) -> None:
        """SIGKILL, and started again after so long; returns once it takes connections."""
        self.counts[f"broker {'with' if self.broker.persistent else 'without'} persistence killed"] += 1
        self.broker.kill()
        time.sleep(down_s)
        self.broker.start()

    def kill_broker_twice(self) -> None:
        """The second time while its clients are connecting."""
        self.kill_broker()
        self.kill_broker()

    def stop_daemon_for_a_while(self) -> None:
        """As a machine that swaps, or a step that hangs for a moment."""
        self.counts["daemon stood still"] += 1
        _stopped(self.daemon.process.pid)

    def stop_broker_for_a_while(self) -> None:
        """It keeps its connections, and says nothing."""
        self.counts["broker stood still"] += 1
        _stopped(self.broker.process.pid)

    def silent_connections(self) -> None:
        """Opened, never spoken on, and dropped."""
        self.counts["silent connections"] += 1
        port = self.daemon.grpc_port
        opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(SILENT_CONNECTIONS)]
        time.sleep(FULL_S)
        for one in opened:
            one.close()

    def slow_readers(self) -> None:
        """Callers that let no byte of their answer come, and a listener that takes none of the answers."""
        self.counts["slow readers"] += 1
        request = generation_pb2.GenerateRequest(prompt="The drive", sampling=SHORT).SerializeToString()
        deaf = [http2.connect(self.daemon.grpc_port, settings=http2.window(0)) for _ in range(DEAF)]
        for link in deaf:
            link.sendall(http2.call(GENERATE, 1, ("grpc-timeout", "4S")) + http2.message(request, 1))
        address = ["-h", "127.0.0.1", "-p", str(self.broker.port)]
        listener = subprocess.Popen(["mosquitto_sub", *address, "-q", "1", "-t", "#"], stdout=subprocess.PIPE)
        time.sleep(FULL_S)  # nobody reads the pipe: once it is full, the listener stands still
        listener.kill()
        listener.communicate()
        for link in deaf:
            link.close()

    def garbage(self) -> None:
        """Random bytes to each port."""
        self.counts["garbage"] += 1
        for port, _ in itertools.product((self.daemon.grpc_port, self.broker.port), range(10)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
                one.sendall(random.randbytes(4096))

    def full_disk(self) -> None:
        """No file of the daemon's may grow, for a while."""
        self.counts["disk full"] += 1
        pid = self.daemon.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        time.sleep(FULL_S)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(pid, signal.SIGCONT)
