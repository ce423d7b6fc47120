"""AsyncLLM on a fake model: the same results as LLM, awaited or iterated over."""

import asyncio
import gc
import threading
from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM, AsyncLLM, SamplingParams, loaded
from realizar.engine.loop import EngineLoop
from realizar.engine.output import ErrorEvent, FinishEvent, TextEvent, TokensEvent
from realizar.errors import ContextFullError, ParameterError, RealizarError, ReentryError
from tests.clocks import wait_until
from tests.engine.fake import FULL, FakeModel, check_cache, continuation

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True)
LONG = SamplingParams(temperature=0.0, max_tokens=100, ignore_eos=True)


@pytest.fixture
def model(monkeypatch):
    model = FakeModel(FULL)
    monkeypatch.setattr(loaded, "load_model", lambda path, mode, has_draft: model)
    monkeypatch.setattr(loaded.store, "resolve", lambda name: name)
    return model


def made(**params):
    return AsyncLLM("made-up", n_threads=2, n_ctx=128, **params)


def run(ask, **params):
    """Run the coroutine function ask(llm), and check that no request is left."""

    async def main():
        async with made(**params) as llm:
            found = await ask(llm)
            engine = llm.engine
        engine.scheduler.retire()
        check_cache(engine.cache, [])
        assert not engine.scheduler.running
        return found

    return asyncio.run(main())


def test_the_same_results_as_llm(model):
    async def ask(llm):
        return (
            [c.text for c in await llm.generate(["abc", [4, 5]], GREEDY)],
            await llm.logits([1, 2, 3]),
            await llm.score("abc", ["de", "f"]),
        )

    texts, logits, scores = run(ask)
    with LLM("made-up", n_threads=2, n_ctx=128) as llm:
        assert texts == [c.text for c in llm.generate(["abc", [4, 5]], GREEDY)]
        np.testing.assert_array_equal(logits, llm.logits([1, 2, 3]))
        assert scores == llm.score("abc", ["de", "f"])


def test_a_stream(model):
    async def ask(llm):
        stream = llm.stream("abc", GREEDY)
        pieces = [piece async for piece in stream]
        return pieces, stream.completion

    pieces, completion = run(ask)
    assert len(pieces) == 6
    assert "".join(pieces) == completion.text
    assert completion.token_ids == continuation(FULL, [1, 2, 3], 6, 128)


def test_events(model):
    async def ask(llm):
        return [event async for event in llm.events("abc", SamplingParams(temperature=0.0, max_tokens=3, logprobs=1))]

    events = run(ask)
    tokens = [event for event in events if isinstance(event, TokensEvent)]
    assert [token for event in tokens for token in event.token_ids] == events[-1].completion.token_ids
    assert all(len(event.logprobs) == len(event.token_ids) for event in tokens)
    assert "".join(e.text for e in events if isinstance(e, TextEvent)) == events[-1].completion.text
    assert isinstance(events[-1], FinishEvent)


def test_many_at_once(model):
    async def ask(llm):
        prompts = [[1 + i % 29, 1 + i % 7] for i in range(40)]
        found = await asyncio.gather(*(llm.generate([prompt], GREEDY) for prompt in prompts))
        return prompts, [completion.token_ids for (completion,) in found]

    prompts, found = run(ask)
    with LLM("made-up", n_threads=2, n_ctx=128) as llm:
        assert found == [c.token_ids for c in llm.generate(prompts, GREEDY)]


async def one_turn():
    """Let the event loop run the callbacks that are ready."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await turned.wait()


async def consume(llm, how, prompt):
    if how == "generate":
        await llm.generate(prompt, GREEDY)
        return
    async for _ in getattr(llm, how)(prompt, GREEDY):
        pass


@pytest.mark.parametrize("how", ["generate", "stream", "events"])
def test_errors(model, how):
    async def ask(llm):
        for prompt, error in (("a" * 129, ContextFullError), ("", ParameterError)):
            with pytest.raises(error):
                await consume(llm, how, prompt)

    run(ask)


def test_an_error_in_a_request(model):
    class Fails:
        def apply(self, candidates, history):
            raise KeyError("by hand")

    params = SamplingParams(temperature=0.0, samplers=(Fails(), "temperature"))

    async def ask(llm):
        with pytest.raises(RealizarError, match="by hand"):
            await llm.generate("abc", params)
        with pytest.raises(RealizarError, match="by hand"):
            async for _ in llm.stream("abc", params):
                pass
        (event,) = [event async for event in llm.events("abc", params)]
        assert isinstance(event, ErrorEvent)
        return (await llm.generate("abc", GREEDY))[0].finish_reason

    assert run(ask) == "length"


def test_a_cancelled_task_cancels_its_request(model):
    async def ask(llm):
        stream = llm.stream("abc", LONG)
        await anext(stream)
        request = stream._events.request
        await stream.aclose()
        other = llm.stream("abe", LONG)
        await anext(other)
        dropped = other._events.request
        del other
        gc.collect()
        task = asyncio.create_task(llm.generate("acd", LONG))
        await one_turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return request.cancelled, dropped.cancelled, (await llm.generate("abc", GREEDY))[0].finish_reason

    assert run(ask) == (True, True, "length")


def test_a_stream_that_is_closed_before_it_began(model):
    async def ask(llm):
        unread = llm.stream("abc", LONG)
        await unread.aclose()
        pieces = [piece async for piece in unread]
        begun = llm.stream("abc", LONG)
        first = asyncio.ensure_future(anext(begun, None))
        await one_turn()  # another thread submits it
        await begun.aclose()
        return pieces, unread.completion, await first, begun.completion.finish_reason

    assert run(ask) == ([], None, None, "cancelled")


def test_a_closed_event_loop_does_not_affect_others(model):
    began, goes_on = threading.Event(), threading.Event()

    def pause(logits, histories):
        began.set()
        goes_on.wait()

    llm, loop = made(), asyncio.new_event_loop()
    params = replace(GREEDY, samplers=(pause, "temperature"))
    waits = loop.create_task(llm.generate("abc", params))
    loop.run_until_complete(asyncio.to_thread(began.wait))
    loop.close()

    async def other():
        async with llm:
            answer = asyncio.create_task(llm.generate("abc", params))
            await asyncio.to_thread(wait_until, lambda: len(llm.engine.loop._shared.waiters) == 2)
            goes_on.set()
            return (await answer)[0].token_ids

    assert asyncio.run(other()) == continuation(FULL, [1, 2, 3], 6, 128)
    waits._log_destroy_pending = False


@pytest.mark.parametrize("how", ["generate", "stream", "events"])
def test_a_sampler_cannot_wait_for_its_own_engine(model, how):
    async def ask(llm):
        def ask_again(logits, histories):
            asyncio.run(consume(llm, how, "abc"))

        with pytest.raises(ReentryError, match="from within one of its steps"):
            await llm.generate("abc", replace(GREEDY, samplers=(ask_again, "temperature")))
        return (await llm.generate("abc", GREEDY))[0].finish_reason

    assert run(ask) == "length"


def test_waiting_threads_run_steps_if_no_thread_can_be_started(model, monkeypatch):
    monkeypatch.setattr(EngineLoop, "start", lambda self: False)

    async def ask(llm):
        text = "".join([piece async for piece in llm.stream("abc", GREEDY)])
        return text, (await llm.generate("abc", GREEDY))[0].text

    text, whole = run(ask)
    assert text == whole
    assert len(text) == 6


def test_close_ends_waiting_requests(model):
    async def main():
        llm = made()
        stream = llm.stream("abc", LONG)
        await anext(stream)
        await llm.close()
        with pytest.raises(RealizarError, match="closed before the request was done"):
            async for _ in stream:
                pass
        with pytest.raises(RealizarError, match="this LLM is closed"):
            await llm.generate("abc")

    asyncio.run(main())
    assert model.closed
