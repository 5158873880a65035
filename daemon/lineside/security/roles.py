"""Who has which role: the one place that decides it. Knows no wire, and trusts the names that it is given."""

from __future__ import annotations

from collections.abc import Iterable

from lineside.errors import Reason, RejectedError
from lineside.serving.request import Principal

CLIENT = "client"
OPERATOR = "operator"


class Roles:
    """Makes principals. `operators`: names of certificates."""

    def __init__(self, operators: Iterable[str] = ()) -> None:
        self._operators = frozenset(operators)

    def anonymous(self, transport: str, place: str) -> Principal:
        """Whoever comes from `place` without having shown who it is: a client, never an operator."""
        return Principal(f"{transport}:{place}", transport, frozenset({CLIENT}))

    def known(self, transport: str, name: str) -> Principal:
        """Whoever has proved `name`, which is not empty."""
        roles = {CLIENT, OPERATOR} if name in self._operators else {CLIENT}
        return Principal(f"{transport}:{name}", transport, frozenset(roles))


def operator_by_access_list(transport: str, topic: str) -> Principal:
    """Whoever could publish on a topic that the broker's access list keeps for operators."""
    return Principal(f"{transport}:{topic}", transport, frozenset({CLIENT, OPERATOR}))


def require_operator(principal: Principal) -> None:
    """Raises RejectedError(FORBIDDEN) for one that is none."""
    if OPERATOR not in principal.roles:
        message = f"{principal.name} has not the role operator: [security] operators lists who has"
        raise RejectedError(Reason.FORBIDDEN, message)
