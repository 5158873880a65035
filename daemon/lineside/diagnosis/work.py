"""What a manual's sentence asks for, read off its words in English and Chinese. Knows no entries' storage.

A missing lock-out mark can cost a hand, one too many costs trust. So work that the machine's standing still
would make impossible carries none, nor does what is done at a panel; where words leave room it is set.
"""

from __future__ import annotations

from lineside.diagnosis import reader_words, safety_words, words
from lineside.diagnosis.diagnosis import CheckKind
from lineside.diagnosis.knowledge.entry import Entry


def kind_of(sentence: str) -> CheckKind:
    """What is to be done first: the earliest verb tells; inspecting where none does."""
    orders = words.BEFORE.sub(" ", words.NOUNS.sub(" ", sentence))
    # Of verbs at one place, such as 清除 and 清除报警, the kind that stands first in KINDS wins.
    found = ((match.start(), kind) for kind, verbs in words.KINDS.items() if (match := verbs.search(orders)))
    return min(found, key=lambda pair: pair[0], default=(0, "inspect"))[1]


def needs_isolation(sentence: str, safety: tuple[str, ...]) -> bool:
    """Whether the machine has to be locked out for it: for any of its steps."""
    if words.LOCKOUT.search(words.FORBIDDEN.sub(" ", sentence)):
        return True
    noted = any(words.LOCKOUT.search(note) for note in safety)
    return any(_hands_in(step, noted=noted) for step in words.STEPS.split(sentence) if step.strip())


def _hands_in(step: str, *, noted: bool) -> bool:
    """Whether one step is work on a machine at rest. `noted`: the entry's safety lines speak of lock-out."""
    meanwhile = words.CONDITION.sub(" ", words.BEFORE.sub(" ", step))
    if words.OPENS.search(step) or words.KINDS["replace"].search(words.NOUNS.sub(" ", step)):
        return not words.POWERED.search(words.RELATIVE.sub(" ", meanwhile))
    if words.POWERED.search(meanwhile) or (words.LIVE.search(meanwhile) and not words.TOUCHES.search(step)):
        return False
    if words.READS.search(step) or words.SETS.search(step):
        return False
    if words.INSIDE.search(step) or words.CLEANS.search(step):
        return True
    return noted and kind_of(step) != "reset"


def names_safety_function(text: str) -> bool:
    """Whether a text speaks of a function that protects people."""
    return safety_words.SAFETY_FUNCTION.search(text) is not None


def is_safety_function(entry: Entry) -> bool:
    """Whether the entry is of a function that protects people."""
    return any(names_safety_function(f"{text.title} {text.meaning}") for text in entry.texts)


def rests_on_safety_function(entry: Entry) -> bool:
    """Whether such a function may be what is behind the entry's fault."""
    return any(names_safety_function(cause) for text in entry.texts for cause in text.causes)


def may_be_suggested(sentence: str, *, safety_function: bool) -> bool:
    """Nothing that defeats a protection; and for a safety function, nothing that only makes it run again.

    Forbidding it is no suggestion, unless the sentence goes on to name an exception.
    """
    said = sentence if words.EXCEPTION.search(sentence) else words.FORBIDDEN.sub(" ", sentence)
    if safety_words.BYPASS.search(said):
        return False
    orders = safety_words.STATE.sub(" ", words.BEFORE.sub(" ", said))
    runs_again = (words.KINDS["reset"], safety_words.RELEASE, safety_words.WIRED)
    return not (safety_function and any(order.search(orders) for order in runs_again))


def addresses_reader(text: str) -> bool:
    """Whether a text tells its reader what to do with the answer, which no machine's own words do."""
    return reader_words.ADDRESSES.search(text) is not None


def suggestible(sentences: tuple[str, ...], *, safety_function: bool) -> tuple[str, ...]:
    """Those of the sentences that may be suggested."""
    return tuple(one for one in sentences if may_be_suggested(one, safety_function=safety_function))


def suggestible_text(text: str, *, safety_function: bool) -> str:
    """A running text without the sentences that may not be suggested."""
    sentences = tuple(words.SENTENCES.split(text))
    return "".join(suggestible(sentences, safety_function=safety_function)).strip()
