"""Bitwise reproducible completions through LLM: they depend only on the tokens and the seed."""

import threading

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar._kernels import table
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import Sequence
from tests.limits.models import LLAMA, QWEN2, SMOLLM2, TEMPLATE, real, rewritten

PROMPTS = (
    "Once upon a time there was a small boat on a very wide river, and in it sat a man with a hat.",
    "Hi",
    "def add(a, b):\n    return",
    "The sky is blue because" * 5,
    "Grüße, 世界! 🙂",
)
PARAMS = [
    SamplingParams(temperature=0.0, max_tokens=12, logprobs=5, ignore_eos=True),
    SamplingParams(temperature=1.0, seed=1, max_tokens=9, logprobs=5, ignore_eos=True),
    SamplingParams(temperature=0.8, top_k=40, top_p=0.9, seed=2, max_tokens=12, logprobs=0, ignore_eos=True),
    SamplingParams(temperature=1.5, min_p=0.05, repetition_penalty=1.2, seed=3, max_tokens=12, logprobs=5),
    SamplingParams(temperature=1.0, presence_penalty=0.5, frequency_penalty=0.5, seed=4, max_tokens=5, logprobs=1),
]


@pytest.fixture(scope="module", params=["llama", "qwen2", pytest.param(SMOLLM2, marks=pytest.mark.slow)])
def path(request, tmp_path_factory):
    if request.param == SMOLLM2:
        return real(SMOLLM2)
    source = {"llama": LLAMA, "qwen2": QWEN2}[request.param]
    target = tmp_path_factory.mktemp("model") / source.name
    return rewritten(source, target, {"tokenizer.chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def make(path):
    """Return a function that creates an LLM of the model and closes the previous one."""
    alive = []

    def make(**params):
        while alive:
            alive.pop().close()
        alive.append(LLM(path, **{"n_threads": 2, "n_ctx": 256, **params}))
        return alive[-1]

    yield make
    alive.pop().close()


@pytest.fixture(scope="module")
def tokens(make):
    ids = make().tokenize(" ".join(PROMPTS) * 2)
    return ids[:100]


@pytest.fixture(scope="module")
def logits(make, tokens):
    """Logits of 100 tokens, computed in steps of 64 and 36: a step returns at most 64 rows of logits."""
    assert len(tokens) == 100
    return make().logits(tokens)


@pytest.fixture(scope="module")
def alone(make):
    """The completion of each prompt in a separate LLM."""
    return [results(make().generate(prompt, params))[0] for prompt, params in zip(PROMPTS, PARAMS, strict=True)]


def results(completions):
    return [(c.text, c.token_ids, c.logprobs, c.finish_reason) for c in completions]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads(make, tokens, logits, alone, n_threads):
    llm = make(n_threads=n_threads)
    np.testing.assert_array_equal(llm.logits(tokens), logits)
    assert results(llm.generate(PROMPTS, PARAMS)) == alone


@pytest.mark.parametrize("isa", table.available())
def test_isa_levels(make, tokens, logits, alone, isa):
    before = table.current()
    table.use(isa)
    try:
        llm = make()
        np.testing.assert_array_equal(llm.logits(tokens[:40]), logits[:40])
        assert results(llm.generate(PROMPTS[:3], PARAMS[:3])) == alone[:3]
    finally:
        table.use(before)


@pytest.mark.parametrize("n_batch", [1, 7, 64, 100])
def test_chunked_prefill(make, tokens, logits, n_batch):
    np.testing.assert_array_equal(make(n_batch=n_batch).logits(tokens), logits)


@pytest.mark.parametrize("n_batch", [1, 7])
def test_chunked_prefill_of_a_cached_prompt(make, alone, n_batch):
    assert results(make(n_batch=n_batch).generate(PROMPTS, PARAMS)) == alone


def test_batched(make, alone):
    llm = make()
    assert results(llm.generate(PROMPTS, PARAMS)) == alone
    assert results(llm.generate(PROMPTS[::-1], PARAMS[::-1])) == alone[::-1]


def test_in_a_cache_too_small_for_all(make, alone):
    assert results(make(n_seqs=1, n_batch=24).generate(PROMPTS[::-1], PARAMS[::-1])) == alone[::-1]


def test_one_prompt_with_many_seeds(make):
    seeds = [SamplingParams(temperature=1.0, seed=seed, max_tokens=8) for seed in range(6)]
    each = [results(make().generate(PROMPTS[0], params))[0] for params in seeds]
    assert results(make().generate([PROMPTS[0]] * 6, seeds)) == each
    assert len({text for text, *_ in each}) > 1


def test_cached_prefix(make, alone):
    llm = make()
    for _ in range(3):
        (completion,) = llm.generate(PROMPTS[0], PARAMS[0])
        assert results([completion]) == alone[:1]
    assert completion.timings.n_cached >= 16
    longer = PROMPTS[0] + " He had a long beard."
    (completion,) = llm.generate(longer, PARAMS[1])
    assert completion.timings.n_cached >= 16
    assert results([completion]) == results(make().generate(longer, PARAMS[1]))


def test_cached_prefix_after_other_requests(make, alone):
    """The other requests reuse some blocks of the prefix and some after it."""
    llm = make(n_seqs=1)
    for seed in range(6):
        llm.generate(PROMPTS[seed % 4] * (1 + seed % 2), SamplingParams(temperature=1.0, seed=seed, max_tokens=40))
        assert results(llm.generate(PROMPTS[0], PARAMS[0])) == alone[:1]


def test_turns_of_a_chat(make):
    """A conversation in one LLM, each turn compared with the same turn in a new one."""
    messages, answers, cached = [], [], []
    llm = make(n_ctx=512)
    for text in ("Hello! Who are you, and where do you live?", "And what is 2 + 2?", "Thank you."):
        messages.append({"role": "user", "content": text})
        answer = llm.chat(messages, PARAMS[0])
        answers.append(results([answer]))
        cached.append(answer.timings.n_cached)
        messages.append({"role": "assistant", "content": answer.text})
    assert min(cached[1:]) >= 16
    for turn, answer in enumerate(answers):
        assert results([make(n_ctx=512).chat(messages[: 2 * turn + 1], PARAMS[0])]) == answer


def test_concurrent_streams(make, alone):
    llm = make()
    streams = [llm.stream(prompt, params) for prompt, params in zip(PROMPTS, PARAMS, strict=True)]
    next(streams[3])
    llm.stream("closed at once", PARAMS[0]).close()
    for stream in streams[::-1]:
        list(stream)
    assert results([stream.completion for stream in streams]) == alone


def test_four_threads_at_once(make, alone):
    llm, found = make(), {}

    def ask(i):
        found[i] = results(llm.generate(PROMPTS[i], PARAMS[i]))[0]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == alone[:4]


@pytest.mark.parametrize("keep", [0, 1, 15, 16, 17, 50, 64, 99])
def test_truncate_and_fork(make, tokens, logits, keep):
    engine = make().engine
    seq = Sequence(engine.cache, tokens)
    np.testing.assert_array_equal(compute(engine, seq), logits)
    fork = seq.fork()
    fork.truncate(keep)
    for token in reversed(tokens):
        fork.append(token)
    seq.truncate(keep)
    for token in tokens[keep:]:
        seq.append(token)
    forked, again = compute(engine, fork), compute(engine, seq)
    np.testing.assert_array_equal(again, logits[len(logits) - len(again) :])
    fresh = make().logits(fork.tokens.tolist())
    np.testing.assert_array_equal(forked, fresh[-len(forked) :])


def compute(engine, seq):
    """Compute all pending tokens of a sequence; return their logits."""
    n = seq.n_left
    seq.reserve(n)
    rows = engine.runner.run(engine.runner.batch([Chunk(seq, n, n)]))["logits"].values.copy()
    seq.commit(n)
    return rows
