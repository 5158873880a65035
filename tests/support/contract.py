"""What every engine must do. A test module subclasses EngineContract and makes the engine."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.engine.base import Extension, PrefixCopy

STEPS = 6


class EngineContract:
    """`engine` is a fixture of the subclass: at least 4 slots and 1 kept, S_max >= 64, chunks of at least 16.

    `tolerance` is the largest difference of logits, relative to their norm, between two ways of cutting the
    same tokens into calls: 1e-4 in fp32, more where activations are quantised by chunk.
    """

    tolerance = 1e-4

    @pytest.fixture
    def prompts(self, engine):
        random = np.random.default_rng(3)
        lengths = (5, 16, 1, 11)
        return [random.integers(10, engine.capabilities.vocab_size - 10, n).tolist() for n in lengths]

    def close(self, left, right):
        left, right = np.asarray(left), np.asarray(right)
        return np.linalg.norm(left - right) <= self.tolerance * np.linalg.norm(right)

    def prefill(self, engine, slot, tokens):
        (logits,) = engine.forward([Extension(slot, 0, tokens, (len(tokens) - 1,))])
        return np.array(logits[0])

    def alone(self, engine, slot, tokens):
        """Greedy tokens and logits of one sequence that runs by itself."""
        logits = [self.prefill(engine, slot, tokens)]
        written = []
        for step in range(STEPS):
            written.append(int(logits[-1].argmax()))
            (row,) = engine.forward([Extension(slot, len(tokens) + step, written[-1:], (0,))])
            logits.append(np.array(row[0]))
        return written, logits

    def test_shapes_and_types(self, engine, prompts):
        vocab = engine.capabilities.vocab_size
        one, none, many = engine.forward(
            [
                Extension(0, 0, prompts[0], (len(prompts[0]) - 1,)),
                Extension(1, 0, prompts[1][:4], ()),
                Extension(2, 0, prompts[3][:6], (0, 2, 5)),
            ]
        )
        assert [len(rows) for rows in (one, none, many)] == [1, 0, 3]
        assert {np.asarray(row).shape for rows in (one, many) for row in rows} == {(vocab,)}
        assert np.asarray(one[0]).dtype == np.float32
        assert np.ptp(np.asarray(one[0])) > 0
        assert not self.close(one[0], many[2])

    def test_a_ragged_batch_gives_what_each_gives_alone(self, engine, prompts):
        expected = [self.alone(engine, 0, prompt) for prompt in prompts]
        for slot, prompt in enumerate(prompts):
            self.prefill(engine, slot, prompt)
        for step in range(STEPS):
            rows = engine.forward(
                [
                    Extension(slot, len(prompt) + step, [expected[slot][0][step]], (0,))
                    for slot, prompt in enumerate(prompts)
                ]
            )
            for slot, row in enumerate(rows):
                assert self.close(row[0], expected[slot][1][step + 1]), (slot, step)

    def test_results_follow_the_order_of_the_batch(self, engine, prompts):
        for slot, prompt in enumerate(prompts):
            self.prefill(engine, slot, prompt)
        batch = [Extension(s, len(p), [20 + s], (0,)) for s, p in enumerate(prompts)]
        forward = [np.array(row[0]) for row in engine.forward(batch)]
        backward = [np.array(row[0]) for row in engine.forward(batch[::-1])]
        for left, right in zip(forward, backward[::-1], strict=True):
            assert self.close(left, right)

    def test_idle_slots_between_running_ones_keep_their_cache(self, engine, prompts):
        """Only the outer slots step; the inner ones must go on afterwards as if nothing had happened."""
        expected = [self.alone(engine, slot, prompt) for slot, prompt in enumerate(prompts)]
        for slot, prompt in enumerate(prompts):
            self.prefill(engine, slot, prompt)
        for step in range(STEPS):
            engine.forward(
                [Extension(s, len(prompts[s]) + step, [expected[s][0][step]], (0,)) for s in (0, 3)]
            )
        for slot in (1, 2):
            (row,) = engine.forward([Extension(slot, len(prompts[slot]), [expected[slot][0][0]], (0,))])
            assert self.close(row[0], expected[slot][1][1]), slot

    def test_a_prompt_in_chunks_gives_what_it_gives_whole(self, engine, prompts):
        prompt = prompts[1]
        whole = self.prefill(engine, 0, prompt)
        engine.forward([Extension(1, 0, prompt[:7], ())])
        (rest,) = engine.forward([Extension(1, 7, prompt[7:], (len(prompt) - 8,))])
        assert self.close(rest[0], whole)

    def test_a_chunk_beside_steps_disturbs_neither(self, engine, prompts):
        written, logits = self.alone(engine, 0, prompts[0])
        whole = self.prefill(engine, 1, prompts[1])
        self.prefill(engine, 0, prompts[0])
        step, chunk = engine.forward(
            [
                Extension(0, len(prompts[0]), written[:1], (0,)),
                Extension(1, 0, prompts[1], (len(prompts[1]) - 1,)),
            ]
        )
        assert self.close(step[0], logits[1])
        assert self.close(chunk[0], whole)

    def test_several_rows_are_the_logits_after_each_of_their_tokens(self, engine, prompts):
        written, logits = self.alone(engine, 0, prompts[0])
        self.prefill(engine, 1, prompts[0])
        (rows,) = engine.forward([Extension(1, len(prompts[0]), written[:4], (0, 1, 3))])
        for row, step in zip(rows, (1, 2, 4), strict=True):
            assert self.close(row, logits[step]), step

    def test_every_row_of_the_longest_chunk_may_be_wanted(self, engine):
        caps = engine.capabilities
        count = min(caps.max_chunk_tokens, caps.max_seq_len)
        tokens = np.random.default_rng(6).integers(10, 60, count).tolist()
        (found,) = engine.forward([Extension(0, 0, tokens, tuple(range(count)))])
        every = [np.array(row) for row in found]
        assert len(every) == count
        for row in (0, count // 2, count - 1):
            assert self.close(every[row], self.prefill(engine, 1, tokens[: row + 1])), row

    def test_going_back_forgets_what_came_after(self, engine, prompts):
        written, logits = self.alone(engine, 0, prompts[0])
        engine.forward([Extension(0, len(prompts[0]), [30, 31, 32], ())])
        (row,) = engine.forward([Extension(0, len(prompts[0]), written[:1], (0,))])
        assert self.close(row[0], logits[1])

    def test_a_copied_beginning_goes_on_like_one_that_was_read(self, engine, prompts):
        """Into a slot that keeps, and from there into two that go on differently, beside one another."""
        kept = engine.capabilities.slots
        for slot in (0, 1, 2):
            self.prefill(engine, slot, prompts[3])
        expected = self.prefill(engine, 0, prompts[1])
        engine.copy_prefix(PrefixCopy(0, kept, len(prompts[1])))
        self.prefill(engine, 0, prompts[3])
        engine.copy_prefix(PrefixCopy(kept, 1, 12))
        engine.copy_prefix(PrefixCopy(kept, 2, len(prompts[1]) - 1))
        rest, last = engine.forward(
            [Extension(1, 12, prompts[1][12:], (3,)), Extension(2, 15, prompts[1][15:], (0,))]
        )
        assert self.close(rest[0], expected)
        assert self.close(last[0], expected)

    def test_what_is_kept_outlasts_steps_of_the_others(self, engine, prompts):
        kept = engine.capabilities.slots + engine.capabilities.kept_slots - 1
        expected = self.alone(engine, 0, prompts[1])[1]
        engine.copy_prefix(PrefixCopy(0, kept, len(prompts[1])))
        for slot, prompt in enumerate(prompts):
            self.alone(engine, slot, prompt)
        engine.copy_prefix(PrefixCopy(kept, 3, len(prompts[1])))
        token = int(expected[0].argmax())
        (row,) = engine.forward([Extension(3, len(prompts[1]), [token], (0,))])
        assert self.close(row[0], expected[1])

    def test_a_used_slot_serves_a_new_sequence(self, engine, prompts):
        fresh = self.prefill(engine, 3, prompts[3])
        self.alone(engine, 0, prompts[1])
        assert self.close(self.prefill(engine, 0, prompts[3]), fresh)

    def test_the_last_position_of_the_cache_can_be_used(self, engine):
        cap, chunk = engine.capabilities.max_seq_len, engine.capabilities.max_chunk_tokens
        tokens = np.random.default_rng(5).integers(10, 60, cap).tolist()
        for begin in range(0, cap - 1, chunk):
            end = min(begin + chunk, cap - 1)
            engine.forward([Extension(2, begin, tokens[begin:end], ())])
        (row,) = engine.forward([Extension(2, cap - 1, tokens[-1:], (0,))])
        assert np.isfinite(np.asarray(row[0])).all()
        last = np.array(row[0])
        # A full slot between two running ones has no room for an idle row.
        for slot in (1, 3):
            self.prefill(engine, slot, tokens[:5])
        rows = engine.forward([Extension(1, 5, [20], (0,)), Extension(3, 5, [20], (0,))])
        assert self.close(rows[0], rows[1])
        (again,) = engine.forward([Extension(2, cap - 1, tokens[-1:], (0,))])
        assert self.close(again[0], last)

    def test_warm_up_measures_costs_that_grow(self, engine):
        engine.warm_up()
        costs = engine.capabilities.costs
        assert len(costs.step_ns) == engine.capabilities.slots
        assert min(costs.step_ns) > 1
        assert costs.chunk(engine.capabilities.max_chunk_tokens) > costs.chunk(2)
        assert costs.chunk(8, 8) >= costs.chunk(8)
