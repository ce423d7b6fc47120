"""The priority of a request: every method of LLM and AsyncLLM passes it to the scheduler."""

import asyncio

import pytest

from realizar import LLM, AsyncLLM, SamplingParams
from realizar.engine.scheduler import Scheduler
from realizar.errors import ParameterError
from tests.limits.models import LLAMA

PARAMS = SamplingParams(max_tokens=2)
ARGUMENTS = {
    "generate": (["a", "b"], PARAMS),
    "stream": ("a", PARAMS),
    "events": ("a", PARAMS),
    "logits": ([1, 2],),
    "score": ("a", ["b", "c"]),
    "embed": (["a", "b"],),
}


@pytest.fixture
def priorities(monkeypatch):
    """The priorities of the requests that the scheduler received."""
    found, add = [], Scheduler.add

    def noted(self, request):
        found.append(request.priority)
        add(self, request)

    monkeypatch.setattr(Scheduler, "add", noted)
    return found


@pytest.mark.parametrize("method", ARGUMENTS)
def test_llm(method, priorities):
    with LLM(LLAMA, n_threads=1, n_ctx=64) as llm:
        ask = getattr(llm, method)
        ask(*ARGUMENTS[method])
        n = len(priorities)
        ask(*ARGUMENTS[method], priority=-3)
        assert priorities == [0] * n + [-3] * n
        with pytest.raises(ParameterError, match=r"priority=0\.5: must be an integer"):
            ask(*ARGUMENTS[method], priority=0.5)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_async_llm(method, priorities):
    async def main():
        async with AsyncLLM(LLAMA, n_threads=1, n_ctx=64) as llm:
            asked = getattr(llm, method)(*ARGUMENTS[method], priority=7)
            await (anext(asked) if method in ("stream", "events") else asked)

    asyncio.run(main())
    assert priorities
    assert set(priorities) == {7}
