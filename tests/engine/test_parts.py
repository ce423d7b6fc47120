"""Prompts of parts through the engine, on toy prefix LMs: the same bits in any chunks, batch, cache and preemption."""

import numpy as np
import pytest

from realizar import Embeddings, Tokens
from realizar.engine.cache.content import Content
from realizar.engine.engine import Engine
from realizar.errors import ContextFullError, ParameterError
from realizar.params import EngineParams, SamplingParams
from realizar.runtime.batch import BLOCK
from realizar.testing import Session, random_tokens, tiny_metadata, tiny_model
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.test_preemption import METHODS, force, preempt_in_turn
from tests.engine.test_same_bits import SIZES, architecture
from tests.runtime.test_parts import PrefixLM

N_EMBD = 256
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, logprobs=8, ignore_eos=True)
TEXTS = [random_tokens(n, seed) for seed, n in enumerate((70, 1, 33))]


def picture(seed, n=12, **fields):
    return Embeddings(np.random.default_rng(seed).standard_normal((n, N_EMBD), np.float32), **fields)


GRID = np.stack([np.zeros(12), np.arange(12) // 4, np.arange(12) % 4]).astype(np.int32)
PICTURE = picture(1, positions=GRID, mask="bidirectional")


def prompt_with(part=PICTURE):
    """The spans cross borders of blocks, and the last is the end."""
    return [
        Tokens(random_tokens(23, seed=5)), part, Tokens(random_tokens(35, seed=6)), picture(2, n=5),
        Tokens(random_tokens(14, seed=7), "bidirectional"), Tokens(random_tokens(9, seed=8)),
    ]  # fmt: skip


PROMPTS = {"ends with text": prompt_with(), "ends with a span": prompt_with()[:2]}


@pytest.fixture(scope="module", params=["prefix", "toy"])
def model(request, tmp_path_factory):
    """One with attention of four kinds, and one with full and sliding-window attention and recurrent states."""
    name = request.param
    sizes = {"prefix": {"block_count": 4}, "toy": {"attention.sliding_window": 20, **SIZES}}[name]
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    built = PrefixLM() if name == "prefix" else architecture(name)
    with tiny_model(built, metadata, "Q8_0", tmp_path_factory.mktemp(name)) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        yield model


@pytest.fixture
def make(model):
    def make(**params):
        return Engine(model, EngineParams(**{"n_threads": 2, "n_ctx": 160, "n_seqs": 4, **params}))

    return make


@pytest.fixture(params=PROMPTS)
def prompt(request, model):
    return fitting(PROMPTS[request.param], model)


def fitting(parts, model):
    """Parts with as many axes of positions as the model has."""
    n_axes = model.graphs["decode"].n_axes
    return [
        Embeddings(part.rows, part.positions[:n_axes], part.mask) if has_positions(part) else part for part in parts
    ]


def has_positions(part):
    return isinstance(part, Embeddings) and part.positions is not None


def finish(engine, *requests):
    engine.complete(requests)
    return [request.completion() for request in requests]


def generate(engine, *prompts):
    return [completion.logprobs for completion in finish(engine, *(engine.generate(each, GREEDY) for each in prompts))]


def logits(engine, prompt):
    request = engine.logits(prompt)
    engine.complete([request])
    return request.logits


def test_the_engine_computes_what_the_batch_says(model, make, prompt):
    """Laid out by hand in one step, without an engine."""
    tokens, content = np.concatenate([rows_of(part) for part in prompt]), Content.of(prompt)
    ends = np.cumsum([len(rows_of(part)) for part in prompt])
    spans = [
        (end - len(rows_of(part)), end)
        for part, end in zip(prompt, ends, strict=True)
        if part.mask == "bidirectional"
    ]  # fmt: skip
    session = Session(model, model.plan(), activations="int16")
    found = session.step(
        [(0, 0, tokens.tolist())], positions=content.positions(0, len(tokens)), spans=np.array(spans, np.int32),
        embeddings=np.concatenate([part.rows for part in prompt if isinstance(part, Embeddings)]),
        embedding_rows=np.concatenate([
            np.arange(end - len(part.rows), end, dtype=np.int32)
            for part, end in zip(prompt, ends, strict=True)
            if isinstance(part, Embeddings)
        ]),
    )  # fmt: skip
    np.testing.assert_array_equal(logits(make(activations="int16", kv_type="f16"), prompt), found["logits"])


def rows_of(part):
    return np.zeros(len(part.rows), np.int32) if isinstance(part, Embeddings) else np.array(part.ids, np.int32)


@pytest.mark.parametrize("n_batch", [16, 32])
def test_any_chunks(make, prompt, n_batch):
    np.testing.assert_array_equal(logits(make(n_batch=n_batch), prompt), logits(make(), prompt))
    assert generate(make(n_batch=n_batch), prompt) == generate(make(), prompt)


def test_alone_and_batched(make, prompt):
    prompts = [TEXTS[0], prompt, TEXTS[1], [picture(9), Tokens([5])], TEXTS[2]]
    alone = [generate(make(), each)[0] for each in prompts]
    assert generate(make(), *prompts) == alone
    assert generate(make(n_batch=24, n_seqs=5), *reversed(prompts)) == alone[::-1]


def test_texts_next_to_each_other(make, prompt):
    params = SamplingParams(seed=7, n=3, max_tokens=12, ignore_eos=True)
    engine = make()
    want, again = (finish(engine, engine.generate(prompt, params))[0] for _ in range(2))
    assert [each.token_ids for each in again.outputs] == [each.token_ids for each in want.outputs]
    small = make(n_batch=16)
    found = finish(small, small.generate(prompt, params))[0]
    assert [each.token_ids for each in found.outputs] == [each.token_ids for each in want.outputs]


def test_cached_prefix_and_none(make, model, prompt):
    engine = make(n_batch=64)
    first = generate(engine, prompt)
    request = engine.generate(prompt, GREEDY)
    assert [finish(engine, request)[0].logprobs] == first
    n_rows = request.seq.content and len(request.seq.content.tokens)
    ends_with_span = prompt[-1].mask == "bidirectional"
    assert request.completion().timings.n_cached == (BLOCK if ends_with_span else (n_rows - 1) // BLOCK * BLOCK)
    check_cache(engine.cache, [])


def test_another_picture_of_the_same_size_is_not_taken_for_this_one(make, model):
    engine = make()
    generate(engine, fitting(prompt_with(), model))
    other = fitting(prompt_with(picture(3, positions=GRID, mask="bidirectional")), model)
    request = engine.generate(other, GREEDY)
    found = [finish(engine, request)[0].logprobs]
    assert request.completion().timings.n_cached in (0, BLOCK)
    assert found == generate(make(), other)


@pytest.mark.parametrize("prefers_copy", METHODS.values(), ids=METHODS)
def test_preempted(make, prompt, prefers_copy):
    params = SamplingParams(temperature=0.0, max_tokens=30, ignore_eos=True, logprobs=8)
    large = make(n_batch=48)
    prompts = [prompt, TEXTS[0], prompt[:2], TEXTS[2]]
    alone = [finish(large, large.generate(each, params))[0].logprobs for each in prompts]
    engine = force(make(n_batch=48), prefers_copy)
    requests = [engine.generate(each, params) for each in prompts]
    preempt_in_turn(engine, 24)
    assert [completion.logprobs for completion in finish(engine, *requests)] == alone
    assert engine.scheduler.n_preempted >= 7
    check_cache(engine.cache, [])


@pytest.mark.parametrize("kind", [{"n": 2}, {"n_beams": 3}, {"cfg_scale": 1.7, "negative_prompt": (3, 4)}])
def test_preempted_with_several_sequences(make, prompt, kind):
    """Guided and forked sequences are computed again from the start of a span, even if that is their end."""
    params = SamplingParams(**{"max_tokens": 10, "ignore_eos": True, "seed": 3, **kind})
    hand_in = "beam_search" if "n_beams" in kind else "generate"
    large = make()
    (want,) = finish(large, getattr(large, hand_in)(prompt, params))
    engine = force(make(n_batch=16), prefers_copy=False)
    request = getattr(engine, hand_in)(prompt, params)
    for _ in range(40):
        engine.step()
        if request in engine.scheduler.running:
            engine.scheduler._preempt(request)
        engine.step()
    (found,) = finish(engine, request)
    assert [each.token_ids for each in found.outputs] == [each.token_ids for each in want.outputs]
    check_cache(engine.cache, [])


def test_a_span_as_long_as_a_step_has_its_turn_while_others_decode(make, model):
    engine = make(n_batch=16)
    text = engine.generate(TEXTS[1], SamplingParams(max_tokens=100, ignore_eos=True))
    engine.step()
    request = engine.generate([Tokens(random_tokens(16), "bidirectional")], GREEDY)
    for _ in range(4):
        engine.step()
    assert request.answers[0].token_ids
    assert not text.finished
    text.cancel()
    engine.complete([request])
    with pytest.raises(ParameterError, match=r"a bidirectional part of 17 rows.*n_batch=16; ask for n_batch=17"):
        engine.generate([Tokens(random_tokens(17), "bidirectional")], GREEDY)


def test_guidance_needs_both_last_rows_in_one_step(make):
    engine = make(n_batch=16)
    params = SamplingParams(cfg_scale=2.0, max_tokens=3, negative_prompt=(1, 2))
    finish(engine, engine.generate([Tokens(random_tokens(15), "bidirectional")], params))
    with pytest.raises(
        ParameterError, match=r"ends with a bidirectional part of 16 rows.*n_batch=16; ask for n_batch=17"
    ):
        engine.generate([Tokens(random_tokens(16), "bidirectional")], params)
    with pytest.raises(ParameterError, match="ends with embeddings; give a negative_prompt"):
        engine.generate([picture(1)], SamplingParams(cfg_scale=2.0))


def test_parts_of_tokens_are_the_tokens(make):
    engine = make()
    text = TEXTS[0]
    parts = [Tokens(text[:30]), Tokens(text[30:])]
    assert generate(engine, parts) == generate(engine, text)
    request = engine.generate(parts, GREEDY)
    engine.complete([request])
    assert request.completion().timings.n_cached > 0
    assert request.seq.content is None


def test_scores_after_a_prompt_of_parts(make, prompt):
    continuation = random_tokens(8, seed=4)
    request = make().score(prompt, continuation, 1)
    engine = make(n_batch=16)
    again = engine.score(prompt, continuation, 1)
    engine.complete([again])
    other = make()
    with_rows = other.logits([*prompt, Tokens(continuation)])
    other.complete([with_rows])
    rows = with_rows.logits[-9:-1].astype(np.float64)
    want = [row[token] - np.log(np.exp(row).sum()) for row, token in zip(rows, continuation, strict=True)]
    np.testing.assert_allclose([sampled.logprob for sampled in again.score().logprobs], want, atol=1e-5)
    request.cancel()


def test_hidden_states_of_parts(make, prompt):
    found = []
    for n_batch in (16, 512):
        engine = make(n_batch=n_batch)
        request = engine.embed(prompt)
        engine.complete([request])
        found.append(request.hidden)
    np.testing.assert_array_equal(*found)


def test_the_context_bounds_positions(model, make):
    n_axes = model.graphs["decode"].n_axes
    far = picture(1, n=2, positions=np.full((n_axes, 2), 150))
    engine = make()
    (completion,) = finish(engine, engine.generate([far], SamplingParams(max_tokens=None, ignore_eos=True)))
    assert (len(completion.token_ids), completion.finish_reason) == (160 - 151 + 1, "context")
    with pytest.raises(ContextFullError, match="positions up to 160 do not fit into the context of 160"):
        engine.generate([Tokens([1] * 10), far], GREEDY)
    last = picture(1, n=2, positions=np.full((n_axes, 2), 2**31 - 1))
    with pytest.raises(ContextFullError, match="positions up to 2147483647 do not fit into the context of 160"):
        engine.generate([last], GREEDY)
