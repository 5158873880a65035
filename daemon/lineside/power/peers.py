"""One JSON line from a peer on a Unix socket, one back. The kernel tells who asks; knows no verb."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from lineside.errors import LinesideError

log = logging.getLogger(__name__)

MAX_REQUEST = 256
PEER_TIMEOUT_S = 2.0
_PEER = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peers:
    """Answers one peer after another. `may_ask` judges a user's ID; `carry_out` raises why it does not."""

    may_ask: Callable[[int], bool]
    carry_out: Callable[[bytes, int], str]

    def serve(self, listener: socket.socket, go_on: Callable[[], bool] = lambda: True) -> None:
        """Until `go_on` says no; it is asked before each peer."""
        while go_on():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PEER_TIMEOUT_S)
                try:
                    self._answer(connection)
                except OSError as error:
                    log.warning("a peer went away: %s", error)

    def _answer(self, connection: socket.socket) -> None:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        uid: int = _PEER.unpack(credentials)[1]
        # Read before judged: a peer that is still sending would not hear why it is refused.
        line = connection.makefile("rb").readline(MAX_REQUEST)
        try:
            if not self.may_ask(uid):
                raise PermissionError(f"user {uid} may not ask; docs/power.md says who may")
            done = self.carry_out(line, uid)
        except (OSError, ValueError, LinesideError, msgspec.DecodeError) as error:
            log.warning("refused", extra={"uid": uid, "error": str(error)})
            connection.sendall(msgspec.json.encode({"error": str(error)}) + b"\n")
        else:
            log.info("%s", done, extra={"uid": uid})
            connection.sendall(msgspec.json.encode({"done": done}) + b"\n")
