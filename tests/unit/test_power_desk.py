import pytest
from tests.support import boards

from lineside.config import PowerConfig
from lineside.errors import Reason, RejectedError
from lineside.power.settings import Settings
from lineside.power_desk import PowerDesk
from lineside.security.roles import Roles

ANNA = Roles(["anna"]).known("grpc", "anna")


@pytest.fixture
def settings(tmp_path):
    root = boards.orin_nano(tmp_path / "board")
    return Settings(PowerConfig(limit_w=15.0, root=str(root)), tmp_path / "power-setting.json")


@pytest.fixture
def desk(settings):
    counted = []
    desk = PowerDesk(settings, counted.append)
    desk.counted = counted
    yield desk
    desk.close()


def refusal(desk, values, principal=ANNA):
    with pytest.raises(RejectedError) as caught:
        desk.set(values, principal).result(5)
    return caught.value


def test_what_is_not_named_stays_and_clear_takes_all_back(desk, settings):
    desk.set({"limit_w": 9.5, "mode": "10W"}, ANNA).result(5)
    wish = desk.set({"temperature_max_c": 70, "mode": None}, ANNA).result(5)
    assert (wish.limit_w, wish.source) == (9.5, "operator: grpc:anna")
    assert (wish.temperature_max_c, wish.mode) == (70, "10W")
    assert Settings(settings.config, settings.path).wish().limit_w == 9.5, "it outlives the daemon"
    assert desk.set({"mode": ""}, ANNA).result(5).mode == ""
    wish = desk.set({"clear": True}, ANNA).result(5)
    assert (wish.limit_w, wish.source, wish.temperature_max_c) == (15.0, "configuration", 85)
    assert desk.wish() == wish
    assert desk.counted == ["power_settings"] * 4


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"limit_w": -1}, "limit_w"),
        ({"limit_w": float("nan")}, "limit_w"),
        ({"limit_w": 10_001}, "limit_w"),
        ({"limit_w": "9"}, "limit_w"),
        ({"temperature_max_c": 39.9}, "temperature_max_c"),
        ({"temperature_max_c": 100.1}, "temperature_max_c"),
        ({"mode": "x" * 65}, "mode"),
        ({"mode": True}, "mode"),
        ({"mode": "99W"}, "mode"),
        ({"mode": "7W"}, "mode"),
        ({}, "clear"),
        ({"limit_w": None}, "clear"),
        ({"limit_w": 9, "clear": True}, "clear"),
        ({"clear": 1}, "clear"),
        ({"watts": 9, "limit_w": 9}, "watts"),
        ({"reset": True}, "reset"),
        ({"by": "somebody else", "limit_w": 9}, "by"),
    ],
)
def test_a_bad_value_is_refused_with_its_fields_name(desk, settings, values, field):
    error = refusal(desk, values)
    assert (error.reason, error.field) == (Reason.INVALID, field)
    assert settings.wish().limit_w == 15.0
    assert not settings.path.exists()


def test_a_mode_that_is_none_is_told_with_those_that_are(desk):
    assert "there is no mode '99W' (this board has: 15W (0)" in refusal(desk, {"mode": "99W"}).message
    assert "needs a reboot" in refusal(desk, {"mode": "7W"}).message


@pytest.mark.parametrize(
    "principal", [Roles(["anna"]).known("grpc", "bert"), Roles(["anna"]).anonymous("grpc", "anna")]
)
def test_who_is_no_operator_is_refused_before_what_is_asked_is_looked_at(desk, settings, principal):
    error = refusal(desk, {"limit_w": -1}, principal)
    assert error.reason is Reason.FORBIDDEN
    assert "[security] operators" in error.message
    assert settings.wish().limit_w == 15.0


def test_a_setting_that_cannot_be_kept_does_not_count(desk, settings):
    settings.path.with_suffix(".tmp").mkdir()
    assert refusal(desk, {"limit_w": 9}).reason is Reason.STORAGE
    assert settings.wish().limit_w == 15.0
