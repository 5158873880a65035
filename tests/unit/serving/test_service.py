import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager

import anyio
import pytest
from tests.support.engines import CountingEngine, next_token
from tests.support.tiny import tiny_bundle

from lineside.engine.base import Costs, EngineFaultError
from lineside.errors import Reason, RejectedError
from lineside.ports import Call, ChatMessage, GenerateJob
from lineside.power.limit import Limit
from lineside.power.pacer import MAX_CREDIT_NS, Pacer
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import EndEvent, FinishReason, Principal, Priority, Sampling, TokenEvent
from lineside.serving.sampler import Sampler
from lineside.serving.service import GenerationService
from lineside.serving.tallies import Tallies
from lineside.serving.tokenizer import Tokenizer

pytestmark = pytest.mark.anyio


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


VOCAB, END = 258, 257


def job(prompt="hello", *, timeout_s=20.0, priority=None, schema=None, **sampling):
    call = Call(Principal("test", "test"), time.monotonic_ns() + int(timeout_s * 1e9), priority)
    return GenerateJob(call, prompt=prompt, sampling=Sampling(**sampling), json_schema=schema)


@asynccontextmanager
async def running(bundle, engine, *, max_waiting=8, failures=None, tallies=None, pacer=None):
    manifest, tokenizer = bundle.manifest, Tokenizer(bundle)
    service = GenerationService(
        engine,
        tokenizer,
        GrammarCompiler(tokenizer, manifest.geometry.vocab_size, manifest.tokens.eos),
        max_waiting=max_waiting,
        on_failure=(failures if failures is not None else []).append,
        tallies=tallies,
        pacer=pacer,
    )
    try:
        yield service
    finally:
        engine.gate.set()
        await service.drain(5)


def engine_of(bundle, **options):
    return CountingEngine(vocab_size=VOCAB, max_seq_len=bundle.manifest.max_seq_len, **options)


async def collect(service, request):
    return [event async for event in service.generate(request)]


def expected_tokens(bundle, prompt, count):
    tokens = Tokenizer(bundle).encode(prompt)
    start = len(tokens)
    for _ in range(count):
        token = next_token(tokens, VOCAB)
        if token == END:
            break
        tokens.append(token)
    return tokens[start:]


async def test_token_events_then_one_end(bundle):
    async with running(bundle, engine_of(bundle)) as service:
        *tokens, end = await collect(service, job(max_tokens=8))
    assert all(isinstance(event, TokenEvent) for event in tokens)
    assert isinstance(end, EndEvent)
    assert (end.finish, end.reason) == (FinishReason.LENGTH, None)
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (5, 8)
    assert 0 <= end.timings.queue_ms <= end.timings.first_token_ms <= end.timings.total_ms


async def test_requests_that_join_midway_change_nothing_for_each_other(bundle):
    engine = engine_of(bundle, slots=3)
    prompts = ["one", "a rather longer second prompt", "3", "four", "fifth of them"]
    results = {}

    async def ask(service, prompt):
        results[prompt] = await collect(service, job(prompt, max_tokens=12))

    async with running(bundle, engine) as service, anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(ask, service, prompt)
            await anyio.sleep(0.002)
    for prompt in prompts:
        assert results[prompt][-1].usage.completion_tokens == 12 or results[prompt][-1].finish == "stop"
        text = b"".join(bytes(e.text, "utf-8") for e in results[prompt][:-1])
        stream = Tokenizer(bundle).stream()
        assert text.decode() == stream.push(expected_tokens(bundle, prompt, 12))


async def test_the_end_token_stops_and_is_not_shown(bundle):
    engine = engine_of(bundle, choose=lambda tokens: END if len(tokens) >= 7 else 65)
    async with running(bundle, engine) as service:
        *tokens, end = await collect(service, job("hello"))
    assert end.finish is FinishReason.STOP
    assert sum(len(event.tokens) for event in tokens) == 2


async def test_every_token_comes_with_the_text_that_it_is_a_part_of(bundle):
    """A character of several tokens, and what might have become a stop string."""
    text = Tokenizer(bundle).encode("电 STORY")
    engine = engine_of(bundle, choose=lambda tokens: text[len(tokens) - 5])
    async with running(bundle, engine) as service:
        *tokens, end = await collect(service, job("hello", stop=("STOP",), max_tokens=len(text)))
    assert "".join(event.text for event in tokens) == "电 STORY"
    assert [token for event in tokens for token in event.tokens] == text
    assert tokens[0].tokens == tuple(text[:3])
    assert end.usage.completion_tokens == len(text)


async def test_the_sequence_cap_ends_a_generation(bundle):
    engine = engine_of(bundle, choose=lambda _: 65)
    async with running(bundle, engine) as service:
        *_, end = await collect(service, job("x" * 60, max_tokens=50))
    assert (end.finish, end.usage.completion_tokens) == (FinishReason.LENGTH, 4)


async def test_a_stop_string_ends_and_is_not_shown(bundle):
    text = Tokenizer(bundle).encode("abc STOP def")
    engine = engine_of(bundle, choose=lambda tokens: text[len(tokens) - 5])
    async with running(bundle, engine) as service:
        *tokens, end = await collect(service, job("hello", stop=("STOP",)))
    assert "".join(event.text for event in tokens) == "abc "
    assert end.finish is FinishReason.STOP


async def test_a_guided_output_is_valid_and_its_forced_tokens_are_counted(bundle):
    schema = {
        "type": "object",
        "properties": {"entry": {"enum": ["K1", "K2"]}, "isolate": {"type": "boolean"}},
        "required": ["entry", "isolate"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
    engine = engine_of(bundle)
    async with running(bundle, engine) as service:
        *tokens, end = await collect(service, job(schema=json.dumps(schema)))
    answer = json.loads("".join(event.text for event in tokens))
    assert answer["entry"] in ("K1", "K2")
    assert end.finish is FinishReason.STOP
    assert end.usage.completion_tokens - end.usage.forced_tokens == 2
    assert any(len(e.tokens) > 1 and e.past_len > 5 for batch in engine.batches for e in batch)


async def test_a_fully_forced_output_ends_as_it_should(bundle):
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    schema |= {"additionalProperties": False, "x-guidance": {"whitespace_flexible": False}}
    async with running(bundle, engine_of(bundle)) as service:
        *tokens, end = await collect(service, job(schema=json.dumps(schema)))
    assert "".join(event.text for event in tokens) == '{"a":1}'
    assert end.finish is FinishReason.STOP


async def test_leaving_frees_the_slot_at_the_next_step(bundle):
    def slow(_):
        time.sleep(0.01)
        return 65

    engine = engine_of(bundle, slots=1, choose=slow)
    async with running(bundle, engine) as service:
        events = service.generate(job(max_tokens=55))
        await anext(events)
        await events.aclose()
        assert (await collect(service, job("next", max_tokens=2)))[-1].finish is FinishReason.LENGTH
        assert service.live == 0
    assert len(engine.batches) < 40


async def test_a_deadline_ends_running_and_waiting_requests(bundle):
    engine = engine_of(bundle, slots=1, choose=lambda _: 65)
    engine.gate.clear()
    ends = []

    async def ask(service):
        ends.append((await collect(service, job(timeout_s=0.1)))[-1])

    async with running(bundle, engine) as service, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(ask, service)
        await anyio.sleep(0.2)
        engine.gate.set()
    assert [(end.finish, end.reason) for end in ends] == [(FinishReason.ABORTED, Reason.DEADLINE)] * 2


async def test_a_full_queue_refuses_and_says_when_to_come_back(bundle):
    engine = engine_of(bundle, slots=1)
    engine.gate.clear()
    async with running(bundle, engine, max_waiting=1) as service, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(collect, service, job(max_tokens=2))
        while service.live < 2:
            await anyio.sleep(0.001)
        with pytest.raises(RejectedError) as caught:
            await collect(service, job())
        engine.gate.set()
    assert caught.value.reason is Reason.OVERLOAD
    assert caught.value.retry_after_ms >= 1


async def test_a_full_queue_lets_more_urgent_requests_in_for_the_newest_of_those_that_wait(bundle):
    engine, ends = engine_of(bundle, slots=1), {}
    engine.gate.clear()

    async def ask(service, name, priority):
        ends[name] = (await collect(service, job(name, priority=priority, max_tokens=2)))[-1]

    async with running(bundle, engine, max_waiting=3) as service, anyio.create_task_group() as group:
        levels = [Priority.LOW, Priority.HIGH, Priority.LOW, Priority.LOW, Priority.CRITICAL, Priority.HIGH]
        for number, (name, priority) in enumerate(zip("abcdef", levels, strict=True), 1):
            group.start_soon(ask, service, name, priority)
            with anyio.fail_after(5):
                while service.live < number:
                    await anyio.sleep(0.001)
            await anyio.sleep(0.02)  # the first has to be in a step before the others come
        with pytest.raises(RejectedError) as caught:
            await collect(service, job(priority=Priority.NORMAL))
        engine.gate.set()
    assert caught.value.reason is Reason.OVERLOAD
    assert {name for name, end in ends.items() if end.reason is Reason.OVERLOAD} == {"c", "d"}
    assert all(ends[name].retry_after_ms >= 1 for name in "cd")
    assert {ends[name].finish for name in "abef"} == {FinishReason.LENGTH}
    assert all(end.retry_after_ms == 0 for name, end in ends.items() if name not in "cd")


async def test_a_slow_engine_refuses_what_cannot_be_done_in_time(bundle):
    engine = engine_of(bundle, costs=Costs((10**9,) * 4, 10**9, 10**9))
    async with running(bundle, engine) as service:
        with pytest.raises(RejectedError) as caught:
            await collect(service, job(timeout_s=2))
    assert caught.value.reason is Reason.DEADLINE


async def test_what_was_read_before_is_admitted_with_less_time(bundle):
    """The prompt takes 20 s to read, by the costs."""
    engine, prompt = engine_of(bundle, costs=Costs((10**6,) * 4, 0, 10**9)), "x" * 20
    async with running(bundle, engine) as service:
        with pytest.raises(RejectedError) as caught:
            await collect(service, job(prompt, timeout_s=10))
        await collect(service, job(prompt, timeout_s=60, max_tokens=1))
        end = (await collect(service, job(prompt, timeout_s=10, max_tokens=1)))[-1]
    assert caught.value.reason is Reason.DEADLINE
    assert end.finish is FinishReason.LENGTH


async def test_an_engine_fault_ends_the_requests_of_its_step_and_no_others(bundle):
    engine = engine_of(bundle)
    engine.fail_next = 1
    async with running(bundle, engine) as service:
        (end,) = await collect(service, job())
        after = (await collect(service, job(max_tokens=2)))[-1]
    assert (end.finish, end.reason) == (FinishReason.ABORTED, Reason.ENGINE_FAULT)
    assert after.finish is FinishReason.LENGTH


async def test_a_prompt_that_was_read_is_not_read_again_unless_a_step_failed_since(bundle):
    engine, prompt = engine_of(bundle), "a prompt of some length"
    reused = []
    async with running(bundle, engine) as service:
        for fails in (0, 0, 1, 0):
            engine.fail_next = fails
            end = (await collect(service, job(prompt, max_tokens=2)))[-1]
            reused.append(end.usage.reused_tokens)
    assert reused == [0, len(prompt) - 1, len(prompt) - 1, 0]


async def test_a_fault_that_loses_every_cache_ends_who_waits_with_one_too(bundle):
    class Losing(CountingEngine):
        def forward(self, batch):
            if len(self.batches) == 1:
                self.batches.append([])
                raise EngineFaultError("run plan", "the device was reset", caches_lost=True)
            return super().forward(batch)

    engine = Losing(vocab_size=VOCAB, max_seq_len=bundle.manifest.max_seq_len)
    engine.gate.clear()
    ends = []

    async def ask(service):
        ends.append((await collect(service, job("x" * 40)))[-1])

    async with running(bundle, engine) as service:
        async with anyio.create_task_group() as group:
            # The first one's chunks take the whole budget of a step: the second holds its slot and waits.
            group.start_soon(ask, service)
            group.start_soon(ask, service)
            await anyio.sleep(0.05)
            engine.gate.set()
        after = (await collect(service, job(max_tokens=2)))[-1]
    assert [end.reason for end in ends] == [Reason.ENGINE_FAULT] * 2
    assert after.finish is FinishReason.LENGTH


async def test_a_grammar_past_its_limits_ends_its_own_request_alone(bundle):
    schema = {
        "type": "object",
        "properties": {f"p{n}": {} for n in range(600)},
        "additionalProperties": False,
    }
    async with running(bundle, engine_of(bundle)) as service:
        try:
            (*_, end) = await collect(service, job(schema=json.dumps(schema)))
            reason = end.reason
        except RejectedError as refusal:
            reason = refusal.reason
        after = (await collect(service, job(max_tokens=2)))[-1]
    assert reason is Reason.INVALID
    assert after.finish is FinishReason.LENGTH


async def test_what_goes_wrong_in_one_sequence_ends_that_one_alone(bundle, monkeypatch):
    taken = Sampler.pick

    def pick(self, logits, allowed=None):
        if self._sampling.seed == 13:
            raise ZeroDivisionError
        return taken(self, logits, allowed)

    monkeypatch.setattr(Sampler, "pick", pick)
    ends = {}

    async def ask(service, seed):
        ends[seed] = (await collect(service, job(max_tokens=8, temperature=1.0, seed=seed)))[-1]

    async with running(bundle, engine_of(bundle)) as service, anyio.create_task_group() as group:
        for seed in (12, 13, 14):
            group.start_soon(ask, service, seed)
    assert ends[13].reason is Reason.INTERNAL
    assert ends[12].reason is ends[14].reason is None


@pytest.mark.parametrize(("most", "text"), [(1, "{"), (3, '{"a'), (9, '{"a":"hel'), (12, '{"a":"hello"')])
async def test_forced_tokens_count_towards_max_tokens(bundle, most, text):
    schema = {"type": "object", "properties": {"a": {"const": "hello"}}, "required": ["a"]}
    schema |= {"additionalProperties": False, "x-guidance": {"whitespace_flexible": False}}
    async with running(bundle, engine_of(bundle)) as service:
        *tokens, end = await collect(service, job(schema=json.dumps(schema), max_tokens=most))
    assert "".join(event.text for event in tokens) == text
    assert (end.finish, end.usage.completion_tokens) == (FinishReason.LENGTH, most)


async def test_a_stop_string_in_what_is_forced_first_ends_at_once(bundle):
    schema = {"type": "object", "properties": {"a": {"const": "one two"}, "b": {"type": "integer"}}}
    schema |= {"required": ["a", "b"], "additionalProperties": False}
    schema |= {"x-guidance": {"whitespace_flexible": False}}
    engine = engine_of(bundle)
    async with running(bundle, engine) as service:
        *tokens, end = await collect(service, job(schema=json.dumps(schema), stop=("two",)))
    assert "".join(event.text for event in tokens) == '{"a":"one '
    assert end.finish is FinishReason.STOP
    assert engine.batches == []


async def test_a_bug_in_the_thread_ends_every_request_and_is_reported(bundle, monkeypatch):
    failed = GenerationService._worker_failed

    def slowly(service, error):
        time.sleep(0.1)  # whoever asks again at once is refused all the same
        failed(service, error)

    monkeypatch.setattr(GenerationService, "_worker_failed", slowly)
    engine, tallies = engine_of(bundle, choose=lambda _: 1 // 0), Tallies()
    failures = []
    async with running(bundle, engine, failures=failures, tallies=tallies) as service:
        (end,) = await collect(service, job())
        assert (end.finish, end.reason) == (FinishReason.ABORTED, Reason.INTERNAL)
        with pytest.raises(RejectedError) as caught:
            await collect(service, job())
    assert caught.value.reason is Reason.NOT_READY
    assert dict(tallies.refused) == {Reason.NOT_READY: 1}
    assert [type(error) for error in failures] == [ZeroDivisionError]


async def test_what_was_handed_over_as_the_thread_dies_is_ended_too(bundle):
    engine = engine_of(bundle, choose=lambda _: 1 // 0)
    engine.gate.clear()
    ends = []

    async def ask(service):
        ends.append((await collect(service, job()))[-1])

    async with running(bundle, engine, failures=[]) as service, anyio.create_task_group() as group:
        group.start_soon(ask, service)
        group.start_soon(ask, service)
        with anyio.fail_after(5):
            while service.live < 2:
                await anyio.sleep(0.001)
            engine.gate.set()
            while len(ends) < 2:
                await anyio.sleep(0.001)
    assert [(end.finish, end.reason) for end in ends] == [(FinishReason.ABORTED, Reason.INTERNAL)] * 2


async def test_draining_finishes_what_runs_and_refuses_what_comes(bundle):
    engine = engine_of(bundle)
    engine.gate.clear()
    ends = []

    async def ask(service):
        ends.append((await collect(service, job(max_tokens=3)))[-1])

    async with anyio.create_task_group() as group, running(bundle, engine) as service:
        group.start_soon(ask, service)
        while not service.live:
            await anyio.sleep(0.001)
        group.start_soon(service.drain, 5)
        await anyio.sleep(0.01)
        with pytest.raises(RejectedError) as caught:
            await collect(service, job())
        engine.gate.set()
    assert caught.value.reason is Reason.DRAINING
    assert ends[0].reason is None


async def test_draining_past_its_time_aborts_with_the_reason(bundle):
    engine = engine_of(bundle, choose=lambda _: 65)
    step = threading.Event()
    engine.gate = step
    ends = []

    async def ask(service):
        ends.append((await collect(service, job(max_tokens=50)))[-1])

    async with anyio.create_task_group() as group, running(bundle, engine) as service:
        group.start_soon(ask, service)
        while not service.live:
            await anyio.sleep(0.001)
        with anyio.move_on_after(0.05):
            await service.drain(0.01)
        step.set()
    assert (ends[0].finish, ends[0].reason) == (FinishReason.ABORTED, Reason.DRAINING)


async def test_urgent_requests_overtake(bundle):
    engine = engine_of(bundle, slots=1)
    engine.gate.clear()
    async with running(bundle, engine) as service, anyio.create_task_group() as group:
        for number, (name, priority) in enumerate(
            [("first", None), ("low", Priority.LOW), ("critical", Priority.CRITICAL)], 1
        ):
            group.start_soon(collect, service, job(name, priority=priority, max_tokens=2))
            while service.live < number:
                await anyio.sleep(0.001)
            await anyio.sleep(0.02)  # the first has to hold the slot before the others come
        engine.gate.set()
    order = [len(batch[0].tokens) for batch in engine.batches if batch[0].past_len == 0]
    assert order == [len("first"), len("critical"), len("first") + 1, len("low")], "the first goes on later"


async def test_messages_the_template_refuses_are_invalid(bundle):
    (bundle.path / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    async with running(bundle, engine_of(bundle)) as service:
        request = GenerateJob(job().call, messages=(ChatMessage("user", "hi"),))
        with pytest.raises(RejectedError, match="roles must alternate") as caught:
            await collect(service, request)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "messages")


async def test_what_is_served_is_counted(bundle):
    tallies, engine = Tallies(), engine_of(bundle)
    async with running(bundle, engine, tallies=tallies) as service:
        *_, end = await collect(service, job(max_tokens=8))
        with pytest.raises(RejectedError):
            await collect(service, job("x" * bundle.manifest.max_seq_len))
    assert tallies.generated_tokens == end.usage.completion_tokens == 8
    assert tallies.prompt_tokens == end.usage.prompt_tokens
    assert {kind: sum(steps.counts) for kind, steps in tallies.steps.items()} == {"chunk": 1, "decode": 7}
    assert sum(tallies.between_tokens.counts) == 7
    assert tallies.overhead_ns > 0
    assert dict(tallies.ended) == {FinishReason.LENGTH: 1}
    assert dict(tallies.refused) == {Reason.TOO_LONG: 1}


async def test_the_load_by_priority_while_the_engine_stands_still(bundle):
    tallies, engine = Tallies(), engine_of(bundle, slots=1)
    async with running(bundle, engine, tallies=tallies) as service:
        engine.gate.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(collect, service, job(max_tokens=2))
            with anyio.fail_after(5):
                while not tallies.load().running:
                    await anyio.sleep(0.001)
            group.start_soon(collect, service, job(max_tokens=2, priority=Priority.HIGH))
            with anyio.fail_after(5):
                while not tallies.load().waiting:
                    await anyio.sleep(0.001)
            load = tallies.load()
            engine.gate.set()
        assert (load.running, load.waiting) == (1, {Priority.HIGH: 1})
        assert load.cached == 5 / bundle.manifest.max_seq_len
        assert tallies.load().running == 0


async def test_while_the_event_loop_is_blocked_the_engine_s_thread_goes_on_stepping(bundle):
    def slow(tokens):
        time.sleep(0.005)
        return len(tokens)  # another each time: no draft saves steps

    engine, steps = engine_of(bundle, choose=slow), []

    def block():
        begun = len(engine.batches)
        time.sleep(0.5)
        steps.append(len(engine.batches) - begun)

    async with running(bundle, engine) as service:
        heard = []
        with anyio.fail_after(10):
            async for event in service.generate(job(max_tokens=55)):
                if not heard:
                    asyncio.get_running_loop().call_soon(block)
                heard.append(event)
    assert steps[0] >= 20, "of half a second in steps of 5 ms"
    assert heard[-1].usage.completion_tokens == 55
    assert sum(len(event.tokens) for event in heard[:-1]) == 55, "nothing is lost meanwhile"


async def test_those_that_gave_their_slots_to_more_urgent_ones_wait(bundle):
    def slow(tokens):
        time.sleep(0.002)
        return 65

    tallies, engine = Tallies(), engine_of(bundle, slots=4, choose=slow)
    async with running(bundle, engine, tallies=tallies) as service, anyio.create_task_group() as group:
        for priority, waiting in ((Priority.LOW, {}), (Priority.CRITICAL, {Priority.LOW: 4})):
            for _ in range(4):
                group.start_soon(collect, service, job(priority=priority, max_tokens=55))
            with anyio.fail_after(5):
                while (tallies.load().running, tallies.load().waiting) != (4, waiting):
                    await anyio.sleep(0.001)
    assert tallies.load().running == 0
    assert tallies.ended == {FinishReason.LENGTH: 8}, "and go on later"


async def test_the_rests_of_pacing_are_for_the_choice_of_tokens_too(bundle, monkeypatch):
    token, pacer = Sampler.token, Pacer()

    def slow_token(*arguments):
        time.sleep(0.01)
        return token(*arguments)

    monkeypatch.setattr(Sampler, "token", slow_token)
    pacer.published.publish(Limit(duty=0.5))
    async with running(
        bundle, engine_of(bundle, choose=lambda tokens: 5 + len(tokens)), pacer=pacer
    ) as service:
        begun_s = time.monotonic()
        await collect(service, job("hello", max_tokens=20))
        elapsed_s = time.monotonic() - begun_s
    assert elapsed_s > 19 * 0.01 / 0.5 - MAX_CREDIT_NS / 1e9
    assert pacer.busy_ns() > 20 * 0.01 * 1e9


async def test_overhead_is_what_the_thread_does_between_steps_and_not_what_it_waits(bundle, monkeypatch):
    token, tallies = Sampler.token, Tallies()

    def slow_token(*arguments):
        time.sleep(0.02)
        return token(*arguments)

    async with running(bundle, engine_of(bundle), tallies=tallies) as service:
        await collect(service, job(max_tokens=2))
        await anyio.sleep(1.0)
        await collect(service, job(max_tokens=2))
        assert tallies.overhead_ns < 1e9
        before_ns = tallies.overhead_ns
        monkeypatch.setattr(Sampler, "token", slow_token)
        await collect(service, job(max_tokens=20))
    assert tallies.overhead_ns - before_ns > 19 * 0.02 * 1e9


async def test_what_is_read_ahead_is_cached_and_counts_as_no_request(bundle):
    tallies = Tallies()
    engine = engine_of(bundle, slots=1, kept_slots=1, lasting_slots=1)
    async with running(bundle, engine, tallies=tallies) as service:
        tokens = await service.beginning(job("a manual's entry: one"), job("a manual's entry: two"))
        assert Tokenizer(bundle).encode("a manual's entry: ") == tokens
        await service.read_ahead(tokens, job().call)
        assert service.cached(tokens) >= len(tokens) - 1
        assert not tallies.ended
        *_, end = await collect(service, job("something else altogether", max_tokens=2))
        assert end.usage.reused_tokens == 0
        *_, end = await collect(service, job("a manual's entry: three", max_tokens=2))
        assert end.usage.reused_tokens == len(tokens)


async def test_what_cannot_be_read_ahead_is_no_refused_request(bundle):
    tallies, pacer = Tallies(), Pacer()
    pacer.published.publish(Limit(refusal="the board is too hot"))
    engine = engine_of(bundle, slots=1, kept_slots=1, lasting_slots=1)
    async with running(bundle, engine, tallies=tallies, pacer=pacer) as service:
        with pytest.raises(RejectedError, match="too hot"):
            await service.read_ahead([1, 2, 3], job().call)
        assert not tallies.refused
        with pytest.raises(RejectedError, match="too hot"):
            await collect(service, job())
        assert tallies.refused == {Reason.POWER: 1}
