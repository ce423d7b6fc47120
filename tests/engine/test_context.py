"""What happens where the context is full: an error, an end, a shorter prompt, or a shifted context."""

import pytest

from realizar import LLM
from realizar.errors import ContextFullError, ParameterError
from realizar.params import SamplingParams
from tests.engine.fake import PLANS, check_cache, expected
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy
from tests.limits.models import LLAMA, rewritten

LONG = [2 + (7 * i) % 28 for i in range(150)]


def shifted(plan, prompt, n, n_ctx, n_keep):
    """What greedy decoding gives that goes on in a shorter context whenever that is full."""
    tokens, found = list(prompt), []
    while len(found) < n:
        if len(tokens) > n_ctx:
            tokens = tokens[:n_keep] + tokens[n_keep + (len(tokens) - n_keep) // 2 :]
        tokens.append(int(expected(plan, tokens).argmax()))
        found.append(tokens[-1])
    return found


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("n_keep", [0, 5])
def test_a_shifted_context(name, n_keep):
    engine = engine_of(PLANS[name], n_ctx=48, n_seqs=3)
    params = greedy(150, ignore_eos=True, context_shift=True, n_keep=n_keep)
    prompts = [PROMPT[:n] for n in (9, 48, 30)]
    for prompt, found in zip(prompts, finish(engine, *(engine.generate(p, params) for p in prompts)), strict=True):
        assert found.token_ids == shifted(PLANS[name], prompt, 150, 48, n_keep)
        assert found.finish_reason == "length"
    check_cache(engine.cache, [])


def test_samplers_see_the_whole_text():
    seen = []

    class Sees:
        def apply(self, candidates, history):
            seen.append(len(history))

    engine = engine_of(n_ctx=48)
    params = greedy(120, ignore_eos=True, context_shift=True, samplers=(Sees(), "temperature"))
    finish(engine, engine.generate(PROMPT[:9], params))
    assert seen == list(range(9, 129))


def test_several_texts_in_shifted_contexts():
    engine, large = engine_of(n_ctx=48, n_seqs=2), engine_of(n_ctx=48, n_seqs=8)
    params = SamplingParams(seed=7, n=2, max_tokens=130, ignore_eos=True, context_shift=True)
    (a,), (b,) = (finish(e, e.generate(PROMPT[:20], params)) for e in (engine, large))
    assert [output.token_ids for output in a.outputs] == [output.token_ids for output in b.outputs]
    assert len({tuple(output.token_ids) for output in a.outputs}) == 2
    check_cache(engine.cache, [])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_beams": 2}, "beams share their beginnings"),
        ({"cfg_scale": 2.0}, "two contexts"),
        ({"n_keep": 49}, "n_keep=49 is more than half of the context of 96"),
    ],
)
def test_contexts_that_cannot_be_shifted(params, match):
    engine = engine_of()
    hand_in = engine.beam_search if "n_beams" in params else engine.generate
    with pytest.raises(ParameterError, match=match):
        hand_in([1], SamplingParams(context_shift=True, **params))
    with pytest.raises(ParameterError, match="n_keep=3: must be 0 without context_shift"):
        SamplingParams(n_keep=3)


def test_prompts_that_are_cut():
    engine = engine_of()
    with pytest.raises(ContextFullError):
        engine.generate(LONG, greedy())
    for params, want in (
        ({"truncate_prompt": 20}, LONG[-20:]),
        ({"truncate_prompt": "left", "max_tokens": 10}, LONG[-87:]),
        ({"truncate_prompt": "left", "max_tokens": 96}, LONG[-48:]),
        ({"truncate_prompt": "left", "max_tokens": None}, LONG[-48:]),
        ({"truncate_prompt": 200}, None),
    ):
        if want is None:
            with pytest.raises(ContextFullError):
                engine.generate(LONG, SamplingParams(**params))
        else:
            assert engine.generate(LONG, SamplingParams(**params)).seq.tokens.tolist() == want
    bos = engine.model.tokenizer.bos_id
    kept = engine.generate([bos, *LONG[1:]], SamplingParams(truncate_prompt=20)).seq.tokens.tolist()
    assert kept == [bos, *LONG[-19:]]
    for bad in (0, -1, "right", 1.5, True):
        with pytest.raises(ParameterError, match="truncate_prompt="):
            SamplingParams(truncate_prompt=bad)


def test_frequencies_that_depend_on_the_length(tmp_path):
    """Dynamic rope scaling is that of training up to its context, and no longer one can be asked for."""
    path = rewritten(LLAMA, tmp_path / "dynamic.gguf", {"llama.rope.scaling.dynamic_factor": 2.0})
    with LLM(LLAMA, n_ctx=64) as plain, LLM(path, n_ctx=64) as dynamic:
        n_train = plain.engine.model.hp.n_ctx_train
        assert (dynamic.logits([1, 2, 3]) == plain.logits([1, 2, 3])).all()
    with pytest.raises(ParameterError, match=rf"dynamic rope scaling \(factor 2\).* at most n_ctx={n_train}"):
        LLM(path, n_ctx=n_train + 1)
