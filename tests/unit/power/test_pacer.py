import pytest

from lineside.power.energy import EnergyMeter, EnergyShares
from lineside.power.limit import Limit, PublishedLimit
from lineside.power.pacer import Pacer

MS, S = 1_000_000, 1_000_000_000


class Time:
    """A clock that only moves when told."""

    now_ns = 0

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Time()


def pacer_at(clock, duty):
    published = PublishedLimit(clock)
    published.publish(Limit(duty=duty))
    return Pacer(published, clock_ns=clock)


def run_steps(pacer, clock, steps, step_ns=10 * MS, oversleep_ns=0):
    """Busy nanoseconds of so many steps, each after the pause that the pacer asks for."""
    for _ in range(steps):
        while pause_s := pacer.pause_s():
            clock.now_ns += round(pause_s * S) + oversleep_ns
        pacer.begin()
        clock.now_ns += step_ns // 2
        pacer.stepped(1)
        clock.now_ns += step_ns - step_ns // 2  # the tokens are chosen
        pacer.finished()
    return steps * step_ns


@pytest.mark.parametrize("duty", [1.0, 0.8, 0.5, 0.1])
def test_the_engine_runs_for_its_share_of_the_time(clock, duty):
    pacer = pacer_at(clock, duty)
    busy_ns = run_steps(pacer, clock, 200)
    assert busy_ns / clock.now_ns == pytest.approx(duty, rel=0.02)


def test_rests_that_take_too_long_are_made_up_for(clock):
    pacer = pacer_at(clock, 0.5)
    busy_ns = run_steps(pacer, clock, 200, oversleep_ns=3 * MS)
    assert busy_ns / clock.now_ns == pytest.approx(0.5, rel=0.02)


def test_time_without_work_earns_no_burst(clock):
    pacer = pacer_at(clock, 0.1)
    run_steps(pacer, clock, 5)
    pacer.rest()
    clock.now_ns += 3600 * S
    begun_ns = clock.now_ns
    busy_ns = run_steps(pacer, clock, 50)
    assert busy_ns / (clock.now_ns - begun_ns) == pytest.approx(0.1, rel=0.15)


def test_a_pause_is_bounded(clock):
    pacer = pacer_at(clock, 0.05)
    pacer.pause_s()
    pacer.begin()
    clock.now_ns += 10 * S
    pacer.stepped(1)
    pacer.finished()
    assert pacer.pause_s() == 1.0


def test_what_no_step_has_begun_earns_nothing(clock):
    pacer = pacer_at(clock, 0.1)
    pacer.pause_s()
    clock.now_ns += S
    pacer.finished()
    assert (pacer.pause_s(), pacer.busy_ns()) == (0, 0)


def test_work_is_told_apart_from_rest(clock):
    pacer = pacer_at(clock, 0.5)
    run_steps(pacer, clock, 10)
    active_ns = clock.now_ns
    assert pacer.active_ns() == active_ns
    pacer.rest()
    clock.now_ns += S
    assert pacer.active_ns() == active_ns


def test_energy_is_the_integral_of_power_without_gaps():
    meter = EnergyMeter()
    assert meter.joules(0) is None
    for tenth in range(11):
        meter.add(1000.0 * tenth, tenth * S // 10)
    assert meter.total_j == pytest.approx(5.0)
    meter.add(10_000.0, 10 * S)
    assert meter.total_j == pytest.approx(5.0), "nobody knows what was drawn in nine seconds"
    assert meter.joules(10 * S + S // 2) == pytest.approx(10.0)
    assert meter.joules(12 * S) is None
    meter.add(None, 11 * S)
    assert meter.total_j == pytest.approx(5.0)


def test_a_step_is_charged_with_the_rest_before_it(clock):
    pacer = pacer_at(clock, 0.5)
    pacer.meter.add(10_000.0, 0)
    assert pacer.pause_s() == 0
    clock.now_ns = 100 * MS
    assert pacer.stepped(4) == pytest.approx(1.0)
    clock.now_ns = 300 * MS
    assert pacer.stepped(6) == pytest.approx(2.0)
    assert pacer.tokens_per_j == pytest.approx(10 / 3)
    pacer.rest()
    clock.now_ns = 800 * MS
    pacer.pause_s()
    clock.now_ns = 900 * MS
    assert pacer.stepped(1) == pytest.approx(1.0), "nobody pays for the time without work"


def test_without_a_meter_nothing_is_charged(clock):
    pacer = pacer_at(clock, 1.0)
    pacer.pause_s()
    assert pacer.stepped(1) is None
    assert pacer.tokens_per_j is None


def shares_at(clock, milliwatts):
    shares = EnergyShares(EnergyMeter(), clock)
    shares.meter.add(milliwatts, clock.now_ns)
    return shares


def test_who_is_worked_on_at_once_shares_what_is_drawn(clock):
    shares = shares_at(clock, 10_000.0)
    with shares.share() as first:
        clock.now_ns += 100 * MS
        with shares.share() as second:
            clock.now_ns += 100 * MS
            assert second.joules() == pytest.approx(0.5)
        clock.now_ns += 100 * MS
        assert first.joules() == pytest.approx(1.0 + 0.5 + 1.0)
    clock.now_ns += 100 * MS
    with shares.share() as later:
        assert later.joules() == 0.0, "nobody pays for the time without work"


def test_a_share_of_what_was_not_measured_is_unknown(clock):
    shares = EnergyShares(EnergyMeter(), clock)
    with shares.share() as unmeasured:
        assert unmeasured.joules() is None
        shares.meter.add(10_000.0, 0)
        assert unmeasured.joules() is None, "a part of it is not the whole"
        with shares.share() as measured:
            clock.now_ns += 100 * MS
            assert measured.joules() == pytest.approx(0.5)
            clock.now_ns += 2 * S
            assert measured.joules() is None, "the sensor has gone"


def test_the_mean_is_of_those_that_are_known(clock):
    shares = shares_at(clock, 1.0)
    assert shares.mean_j is None
    for joules in (1.0, None, 3.0):
        shares.account(joules)
    assert shares.mean_j == 2.0
