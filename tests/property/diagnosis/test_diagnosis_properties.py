import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.diagnosis.answers import Clock, Frame, diagnosis_of
from lineside.diagnosis.diagnosis import AlarmRef, Cause, Check, DeviceRef, Diagnosis
from lineside.diagnosis.guide import Guide
from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.diagnosis.knowledge.importers.columns import column_of
from lineside.diagnosis.knowledge.importers.records import items
from lineside.diagnosis.knowledge.retrieval import Candidate, Query, Retrieval
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.similarity import Probe
from lineside.diagnosis.knowledge.spelling import Spelling, longest_common
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.terms import has_cjk, pairs_among, query_terms, signs, terms_in, title_terms
from lineside.diagnosis.knowledge.writing import write_all
from lineside.diagnosis.options import options_of
from lineside.diagnosis.prompt import Data, as_data, fit
from lineside.diagnosis.render import render_text
from lineside.diagnosis.report import Alarm, Device, Report, Stats, Value, Window
from lineside.diagnosis.rules import SEVERITIES, answer_by_rules, findings_of, severity_floor
from lineside.diagnosis.said import clean
from lineside.diagnosis.short import MAX_BRIEF_BYTES, MAX_TEXT_BYTES, Brief, encode_brief, summary
from lineside.errors import Reason, RejectedError

letters = st.text(st.characters(codec="utf-8"), max_size=60)
lines = st.text(st.characters(codec="utf-8"), max_size=1000)
numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | numbers
severities = st.sampled_from(SEVERITIES)

devices = st.builds(Device, id=st.text(min_size=1, max_size=128), vendor=letters, model=letters, unit=letters)
alarms = st.builds(Alarm, code=letters, text=lines, sev=st.none() | st.integers(1, 1000))
values = st.builds(
    Value,
    n=st.text(min_size=1, max_size=128),
    v=numbers,
    u=letters.map(lambda t: t[:32]),
    hi=maybe,
    lo=maybe,
    q=st.sampled_from(["", "good", "bad"]),
)
windows = st.builds(
    Window,
    n=st.text(min_size=1, max_size=128),
    stats=st.builds(Stats, min=maybe, max=maybe, mean=maybe, last=maybe, slope=maybe),
)
reports = st.builds(
    Report,
    dev=devices,
    alarm=alarms,
    locale=st.sampled_from(["", "en", "zh-CN"]),
    values=st.lists(values, max_size=64).map(tuple),
    win=st.lists(windows, max_size=32).map(tuple),
    log=st.lists(lines, max_size=20).map(tuple),
)
sentences = st.text(st.characters(codec="utf-8"), min_size=1, max_size=2000)
texts = st.builds(
    Text,
    title=st.text(st.characters(codec="utf-8"), min_size=1, max_size=500),
    meaning=lines,
    causes=st.lists(sentences, max_size=32).map(tuple),
    actions=st.lists(sentences, max_size=32).map(tuple),
    safety=st.lists(sentences, max_size=4).map(tuple),
)
entries = st.builds(
    Entry,
    source=st.text(min_size=1, max_size=128),
    code=st.text(min_size=1, max_size=64),
    severity=st.none() | severities,
    en=texts,
    zh=st.none() | texts,
)
retrievals = st.lists(
    st.builds(Candidate, entries, st.floats(0, 1), st.just("code")), min_size=1, max_size=8
).map(lambda found: Retrieval("hit", tuple(found), "1-a", len(found)))
languages = st.sampled_from(["en", "zh"])


@given(st.text(max_size=200))
def test_any_text_has_a_few_keys_or_none(code):
    found = code_keys(code)
    assert len(found) <= 6
    assert len({key for key, _ in found}) == len(found)
    assert all(key == key.strip() and key for key, _ in found)


@given(
    st.from_regex(r"[A-Z]{1,4}", fullmatch=True),
    st.integers(0, 99_999),
    st.sampled_from(["", "-", " ", "_", "."]),
    st.integers(0, 3),
)
def test_separators_case_and_idle_zeros_never_matter(letters_part, number, separator, zeros):
    spelled = f"{letters_part.lower()}{separator}{'0' * zeros}{number}"
    assert dict(code_keys(spelled)).keys() >= {
        key for key, rank in code_keys(f"{letters_part}{number}") if rank == 0
    }


@given(st.integers(0, 2**32))
def test_hexadecimal_in_any_notation_meets(number):
    keys = [code_keys(text.format(number))[0] for text in ("0x{:x}", "0X{:X}", "0x00{:x}", "16#{:X}")]
    assert len(set(keys)) == 1


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_different_numbers_never_meet(one, other):
    if one != other:
        assert not {key for key, _ in code_keys(str(one))} & {key for key, _ in code_keys(str(other))}


@given(lines)
def test_every_pair_of_a_query_is_among_the_terms_of_the_same_title(text):
    assert set(query_terms(text)) <= set(title_terms(text))


@given(letters, st.data())
def test_what_is_left_after_dropping_signs_is_a_subsequence(text, data):
    whole = signs(text)
    kept = "".join(sign for sign in whole if data.draw(st.booleans()))
    assert longest_common(kept, whole) == len(kept)


@given(lines, lines)
def test_terms_are_found_as_they_are_made(part, query):
    asked = query_terms(query)
    # A character alone is looked up, and stands alone in no title.
    made = {term for term in query_terms(part) if len(term) > 1 or not has_cjk(term)}
    assert terms_in([part], pairs_among(asked)) & set(asked) == made & set(asked)


@given(lines, texts)
def test_similarity_is_a_share(query, text):
    reading = Spelling(dict.fromkeys(title_terms(text.title), 1)).read(query)
    assert all(0 < ratio <= 1 for near in reading.meant.values() for ratio in near.values())
    assert 0.0 <= Probe.of(reading, {}, 10).similarity(text) <= 1.0 + 1e-9


@given(lines)
def test_items_lose_no_letter(cell):
    assert all(item == item.strip() and item for item in items(cell))
    column_of(cell)


@given(lines, st.integers(8, 400))
def test_data_is_one_bounded_line_without_markup(text, limit):
    clean = as_data(text, limit)
    assert len(clean) <= limit
    assert len(clean.splitlines()) <= 1
    assert "<|" not in clean
    assert "===" not in clean


@settings(max_examples=60, deadline=None)
@given(reports, retrievals, languages, st.integers(0, 6000), st.sampled_from([1, 3]))
def test_a_prompt_fits_its_budget_whatever_the_report(report, found, language, budget, letters_a_token):
    def count(text):
        return -(-len(text) // letters_a_token)

    options = options_of(found, language)
    try:
        data = Data(report, options, findings_of(report, options, language))
        prompt = fit(data, language, budget, count)
    except RejectedError:
        return
    assert sum(count(message.content) for message in prompt.messages) <= budget
    assert prompt.options
    assert prompt.options == options[: len(prompt.options)]
    for option in prompt.options:
        assert f"\n[{option.ref}] " in prompt.messages[1].content
        for name in (*option.cause_ids, *option.action_ids):
            assert f"\n{name} " in prompt.messages[1].content


@settings(max_examples=60, deadline=None)
@given(reports, st.builds(Candidate, entries, st.floats(0, 1), st.just("code")))
def test_one_short_entry_always_fits_a_thousand_tokens(report, candidate):
    """Three letters a token, as small models' vocabularies have at the worst of English."""
    short = Text(title="Overload", causes=("a", "b", "c"), actions=("d", "e", "f"))
    entry = msgspec.structs.replace(candidate.entry, en=short, zh=None)
    options = options_of(Retrieval("hit", (Candidate(entry, 1.0, "code"),)), "en")
    data = Data(report, options, findings_of(report, options, "en"))
    assert fit(data, "en", 700, lambda text: -(-len(text) // 3)).options == options


@settings(max_examples=60, deadline=None)
@given(reports, retrievals, languages, st.sampled_from(["hit", "conflict", "none"]))
def test_rules_state_nothing_that_the_manual_does_not(report, found, language, verdict):
    answer = answer_by_rules(report, judged(found, verdict), language)
    refs = {evidence.ref for evidence in answer.evidence}
    words = {cause for one in found.candidates for cause in one.entry.text(language).causes}
    steps = {action for one in found.candidates for action in one.entry.text(language).actions}
    assert all(cause.text in words and set(cause.refs) <= refs and cause.refs for cause in answer.causes)
    assert all(check.text in steps and set(check.refs) <= refs and check.refs for check in answer.checks)
    assert answer.safety
    assert len(answer.evidence) <= 8 + 4 + 3
    assert (answer.reason is None) == (answer.status == "ok")
    if verdict == "hit":
        floor = severity_floor(report, [found.candidates[0].entry])
        assert SEVERITIES.index(answer.severity) >= SEVERITIES.index(floor)
    else:
        assert answer.causes == answer.checks == ()


def judged(found, verdict):
    return Retrieval(verdict, found.candidates, found.version, found.total)


@given(st.text(max_size=400))
def test_no_output_of_a_model_does_more_than_raise_value_error(text):
    entry = Entry(source="s", code="1", en=Text(title="t", causes=("a", "b"), actions=("c", "d")))
    options = options_of(Retrieval("hit", (Candidate(entry, 1.0, "code"),)), "en")
    with pytest.raises(ValueError, match=r"."):
        Guide(options, (("low",),), False).read(text)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("kb") / "knowledge.db"
    write_all(
        path,
        [
            Entry(source="s", code=str(n), en=Text(title=f"Fault {n}"), zh=Text(title=f"故障{n}"))
            for n in range(50)
        ],
    )
    return Searcher(Store(path))


queries = st.builds(Query, code=letters, text=lines, vendor=letters, model=letters, unit=letters)


@settings(max_examples=80, deadline=None)
@given(queries)
def test_any_query_gets_a_bounded_answer(searcher, query):
    found = searcher.search(query)
    assert found.verdict in ("hit", "conflict", "none")
    assert len(found.candidates) <= 8
    assert all(0.0 <= candidate.score <= 1.0 for candidate in found.candidates)
    assert (found.verdict == "hit") <= bool(found.candidates)


@settings(max_examples=40, deadline=None)
@given(reports, retrievals, languages)
def test_a_rendered_answer_is_plain_text(report, found, language):
    answer = answer_by_rules(report, found, language)
    diagnosis = diagnosis_of(report, answer, Frame("now", language, "1"), {}, Clock())
    assert "\x1b" not in render_text(diagnosis)


any_text = st.text(max_size=300) | st.text('ab \0\\"\u0301电🔧', max_size=300)
checks = st.builds(
    Check, text=any_text, kind=st.just("inspect"), isolate=st.booleans(), refs=st.just(("K1",))
)
diagnoses = st.builds(
    Diagnosis,
    id=letters,
    diagnosis_id=st.just("D"),
    dev=st.builds(DeviceRef, id=st.text(max_size=128)),
    alarm=st.builds(AlarmRef, code=st.text(max_size=64)),
    received_at=st.just(""),
    status=st.sampled_from(["ok", "abstain", "error"]),
    reason=st.sampled_from(["", *(reason.value for reason in Reason)]),
    message=any_text,
    mode=st.just("rules"),
    severity=severities,
    lang=st.sampled_from(["en", "zh"]),
    safety=st.lists(any_text, min_size=1, max_size=4).map(tuple),
    meaning=any_text,
    causes=st.lists(st.builds(Cause, text=any_text, refs=st.just(("K1",))), max_size=3).map(tuple),
    checks=st.lists(checks, max_size=4).map(tuple),
)


@given(diagnoses)
def test_short_forms_keep_their_bounds_and_cut_safety_last(diagnosis):
    raw, text = encode_brief(diagnosis), summary(diagnosis)
    brief = msgspec.json.decode(raw, type=Brief)
    safety = " ".join(clean(line) for line in diagnosis.safety)
    assert len(raw) <= MAX_BRIEF_BYTES
    assert len(text.encode()) <= MAX_TEXT_BYTES
    assert "\0" not in text
    if brief.safe != safety:
        assert brief.safe.endswith("…")
        assert (brief.mean, brief.do, brief.cause) == ("", "", "")
        assert len(raw) > MAX_BRIEF_BYTES - 16
    if safety not in text:
        assert len(text.splitlines()) == 3
        assert len(text.encode()) > MAX_TEXT_BYTES - 16
