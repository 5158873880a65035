import pytest

from lineside.diagnosis.answers import error_diagnosis
from lineside.errors import Reason, RejectedError
from lineside.ports import Written
from lineside.telemetry.diagnoses import CountedDiagnoser, DiagnosisTallies

pytestmark = pytest.mark.anyio


class Inner:
    """Two events, or a refusal."""

    def __init__(self, refuses=False):
        self.refuses, self.closed = refuses, False

    async def diagnose(self, report, call):
        try:
            if self.refuses:
                raise RejectedError(Reason.INVALID, "no")
            yield Written("text")
            yield error_diagnosis(RejectedError(Reason.INTERNAL, "broken"), device="L1")
        finally:
            self.closed = True


async def test_a_diagnosis_is_counted_once_and_everything_is_passed_on():
    tallies, inner = DiagnosisTallies(), Inner()
    events = [event async for event in CountedDiagnoser(inner, tallies).diagnose(None, None)]
    assert len(events) == 2
    assert dict(tallies.made) == {("rules", "error"): 1}
    assert sum(tallies.seconds["rules"].counts) == 1


async def test_a_refusal_is_no_diagnosis():
    tallies, inner = DiagnosisTallies(), Inner(refuses=True)
    with pytest.raises(RejectedError):
        [event async for event in CountedDiagnoser(inner, tallies).diagnose(None, None)]
    assert not tallies.made


async def test_who_leaves_early_closes_what_runs():
    inner = Inner()
    events = CountedDiagnoser(inner, DiagnosisTallies()).diagnose(None, None)
    await anext(events)
    await events.aclose()
    assert inner.closed
