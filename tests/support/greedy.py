"""Greedy generations through the scheduler alone, step by step, without a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from lineside.engine.base import Engine
from lineside.serving.request import Priority
from lineside.serving.scheduler import Scheduler
from lineside.serving.steps import Sequence as Running

NEVER_NS = 1 << 62
VOCAB = 97
# Prompts are made of a few passages, so that many begin alike, and some end within one.
PASSAGES = [[(7 * index + 3 * place) % VOCAB for place in range(9 + index)] for index in range(4)]
PROMPT = st.tuples(st.lists(st.sampled_from(PASSAGES), min_size=1, max_size=3), st.integers(0, 5)).map(
    lambda drawn: [token for passage in drawn[0] for token in passage][: -drawn[1] or None]
)
TRAFFIC = st.lists(st.tuples(PROMPT, st.integers(1, 6), st.integers(0, 30)), min_size=2, max_size=12)


def generate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    joins: Sequence[int],
    priorities: Sequence[Priority] | None = None,
    *,
    lasting: Sequence[bool] | None = None,
) -> tuple[dict[str, list[int]], Mapping[str, int]]:
    """Tokens written and tokens reused, by the prompt's index; prompt i joins before step `joins[i]`."""
    scheduler = Scheduler(engine.capabilities)
    coming = sorted(range(len(prompts)), key=lambda index: joins[index])
    written: dict[str, list[int]] = {str(index): [] for index in coming}
    reused: dict[str, int] = {}
    step = 0
    while coming or scheduler.running or scheduler.waiting:
        while coming and joins[coming[0]] <= step:
            index = coming.pop(0)
            priority = priorities[index] if priorities else Priority.NORMAL
            stays = bool(lasting and lasting[index])
            scheduler.add(Running(str(index), priority, NEVER_NS, list(prompts[index]), lasting=stays))
        step += 1
        planned = scheduler.plan()
        for copy in planned.copies:
            engine.copy_prefix(copy)
        by_slot = scheduler.by_slot()
        if not planned.batch:
            continue
        for extension, rows in zip(planned.batch, engine.forward(planned.batch), strict=True):
            sequence = by_slot[extension.slot]
            scheduler.advance(extension, sequence.id)
            if not extension.rows:
                continue
            token = int(np.asarray(rows[-1]).argmax())
            written[sequence.id].append(token)
            sequence.tokens.append(token)
            reused[sequence.id] = sequence.reused
            if len(written[sequence.id]) == counts[int(sequence.id)]:
                scheduler.remove(sequence.id)
    return written, reused
