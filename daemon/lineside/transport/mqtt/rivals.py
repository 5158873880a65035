"""Whether another client has our id, such as of a board that was cloned. Knows nothing of connections.

A broker lets one client in under an id: each that comes puts the other out, and both come again, for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

# A connection that ends sooner was put out, or the broker is in trouble; so many in a row are no accident.
SOON_S = 10.0
IN_A_ROW = 4
# The least that is waited then, so that two who put each other out do not keep the broker busy.
WAIT_S = 10.0


@dataclass(slots=True)
class Rivals:
    """Told of the end of each connection."""

    _short: int = 0

    def ended(self, held_s: float | None, *, taken_over: bool) -> bool:
        """Whether the id is in use elsewhere. `held_s` since the broker's welcome; None: there was none.

        `taken_over`: the broker said so, which counts twice; once may be by a connection of our own.
        """
        if taken_over:
            self._short += 2
        elif held_s is None or held_s > SOON_S:
            # A broker that is away or lets nobody in, or a connection that was a good one.
            self._short = 0
        else:
            self._short += 1
        return self._short >= IN_A_ROW
