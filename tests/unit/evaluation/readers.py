"""Readers whose opinion is known, and what they make of reports."""

from lineside.diagnosis.writer import Heard
from lineside.evaluation.rereading import Reading


def reading(number, *, knows=True):
    """The search holds two entries for alike and is wrong in half of the cases; a model that knows is not."""
    has_entry, right = number % 3 > 0, number % 2
    gains = [0.0, 0.0]
    if knows and has_entry:
        gains[right] = 30.0
    return Reading(f"r{number}", has_entry, right if has_entry else -1, 0.5, (1.7, 1.69), tuple(gains))


class Knowing:
    """Holds the text for likely behind an entry that is of what the text is of."""

    model_name = "a-model"

    def __init__(self):
        self.asked = []

    async def read(self, prompts, text, call):
        self.asked.append((tuple(prompts), text))
        return Heard(tuple(-1.0 if "\u76ae\u5e26" in one and "belt" in text else -9.0 for one in prompts))
