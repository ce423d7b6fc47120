"""Saving and restoring the KV cache with the Python APIs."""

import asyncio
import os

import pytest

from realizar import LLM, AsyncLLM, SamplingParams
from realizar.errors import CacheFileError, ParameterError
from tests.limits.models import LLAMA

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 2
PARAMS = SamplingParams(temperature=0, max_tokens=8, logprobs=2)


def make(kind=LLM):
    return kind(LLAMA, n_threads=1, n_ctx=256)


def test_a_prompt_continues_in_another_process_s_llm(tmp_path):
    with make() as llm:
        saved = llm.save_cache(tmp_path / "a", TEXT)
        (want,) = llm.generate(TEXT + "And", PARAMS)
        n = len(saved)
        assert n == len(llm.tokenize(TEXT)) // 16 * 16 > 16
        assert saved == llm.tokenize(TEXT)[:n]
    with make() as llm:
        assert llm.load_cache(str(tmp_path / "a")) == saved
        (found,) = llm.generate(TEXT + "And", PARAMS)
    assert found.timings.n_cached >= n - 16  # tokens at the boundary may merge
    assert (found.token_ids, found.logprobs) == (want.token_ids, want.logprobs)


def test_only_files_are_replaced(tmp_path):
    """Not a pipe, or a device."""
    os.mkfifo(tmp_path / "pipe")
    with make() as llm:
        for path, text in ((tmp_path / "pipe", "is not a regular file"), (tmp_path, "cannot be written")):
            with pytest.raises(CacheFileError, match=text):
                llm.save_cache(path, TEXT)
        for use in (llm.load_cache, lambda path: llm.save_cache(path, TEXT)):
            with pytest.raises(ParameterError, match="null character"):
                use("a\0b")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_an_async_llm_does_the_same(tmp_path):
    async def saved():
        async with make(AsyncLLM) as llm:
            found = await llm.save_cache(tmp_path / "a", TEXT)
            return found, await llm.load_cache(tmp_path / "a")

    async def refused():
        async with make(AsyncLLM) as llm:
            await llm.load_cache(tmp_path / "missing")

    found, restored = asyncio.run(saved())
    assert len(found) > 16
    with make() as llm:
        assert llm.load_cache(tmp_path / "a") == found == restored
    with pytest.raises(CacheFileError):
        asyncio.run(refused())
