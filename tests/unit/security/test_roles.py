"""Roles are given by name, and never to whom nobody knows."""

import pytest

from lineside.errors import Reason, RejectedError
from lineside.security.roles import CLIENT, OPERATOR, Roles, require_operator

ROLES = Roles(["anna", "127.0.0.1", ""])


def test_who_is_listed_is_an_operator():
    anna = ROLES.known("grpc", "anna")
    assert (anna.name, anna.transport, anna.roles) == ("grpc:anna", "grpc", {CLIENT, OPERATOR})
    require_operator(anna)


@pytest.mark.parametrize(
    "principal",
    [
        ROLES.known("grpc", "ann"),
        ROLES.known("grpc", "Anna"),
        ROLES.anonymous("grpc", "anna"),
        ROLES.anonymous("grpc", "127.0.0.1"),
    ],
)
def test_others_are_clients_and_hear_what_is_missing(principal):
    assert principal.roles == {CLIENT}
    with pytest.raises(RejectedError, match=r"\[security\] operators") as caught:
        require_operator(principal)
    assert caught.value.reason is Reason.FORBIDDEN
