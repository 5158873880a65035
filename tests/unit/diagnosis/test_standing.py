import msgspec

from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis, encode_diagnosis
from lineside.diagnosis.standing import answers_repeats, repeated

ANSWER = Diagnosis(
    id="first",
    diagnosis_id="D",
    dev=DeviceRef(id="L1/M1"),
    alarm=AlarmRef(code="F012", count=7),
    received_at="2026-01-01T00:00:00Z",
    status="ok",
    mode="rules",
    severity="low",
    lang="en",
)


def test_a_repeat_gets_the_same_under_its_own_id_and_count():
    again = msgspec.json.decode(repeated(encode_diagnosis(ANSWER), "second", 9), type=Diagnosis)
    assert (again.id, again.alarm.count) == ("second", 9)
    assert msgspec.structs.replace(again, id="first", alarm=ANSWER.alarm) == ANSWER


def test_a_device_that_counts_itself_is_not_contradicted_by_less():
    again = msgspec.json.decode(repeated(encode_diagnosis(ANSWER), "second", 2), type=Diagnosis)
    assert again.alarm.count == 7


def test_an_answer_of_another_shape_is_given_as_it_is():
    assert repeated(b'{"v": 0}', "second", 2) == b'{"v": 0}'


def test_errors_and_abstentions_are_for_nobody_else_but_poison_is():
    failed = msgspec.structs.replace(ANSWER, status="error", reason="expired")
    assert answers_repeats(ANSWER)
    assert not answers_repeats(msgspec.structs.replace(ANSWER, status="abstain", reason="no_kb_hit"))
    assert not answers_repeats(failed)
    assert answers_repeats(msgspec.structs.replace(failed, reason="poison"))
