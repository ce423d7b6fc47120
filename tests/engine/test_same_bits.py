"""A tiny real model through the engine: the bits of its logits depend on the tokens and on nothing else."""

import importlib.util
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from realizar.arch import registry
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import Sequence
from realizar.engine.engine import Engine
from realizar.errors import GraphError
from realizar.params import EngineParams, SamplingParams
from realizar.testing import random_tokens, tiny_metadata, tiny_model
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.speculation.oracle import Oracle

PROMPTS = [random_tokens(n, seed) for seed, n in enumerate((100, 1, 16, 33, 70))]
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, logprobs=8)
TOY = Path(__file__).parents[1] / "thirdparty" / "realizar_toy" / "src" / "realizar_toy" / "__init__.py"
# architecture, window, weights, activations, cache; toy has full and window layers and states,
# mamba2 and rwkv7 states alone, qwen35 states and keys, deepseek2 latents
MODES = [
    ("llama", 0, "Q4_K", "int8", "f16"),
    ("llama", 0, "F16", "f32", "f32"),
    ("deepseek2", 0, "Q8_0", "int16", "f32"),
    ("llama", 20, "Q4_K", "int8", "q4"),
    ("toy", 0, "Q8_0", "int8", ("int8", "q4")),
    ("mamba2", 0, "Q8_0", "int8", "f16"),
    ("qwen35", 0, "Q8_0", "int8", "f16"),
    ("rwkv7", 0, "Q8_0", "int8", "f16"),
]
# Other pairs of what the modes above have.
SLOW = [
    ("llama", 20, "Q8_0", "int8", "f16"),
    ("llama", 0, "Q4_K", "int16", "f16"),
    ("toy", 0, "Q8_0", "int8", "f16"),
    ("deepseek2", 0, "Q8_0", "int8", "int8"),
]
SIZES = {
    "ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 8, "ssm.group_count": 2,
    "attention.kv_lora_rank": 64, "attention.key_length_mla": 96, "attention.value_length_mla": 64, "expert_count": 4,
    "expert_used_count": 2, "expert_feed_forward_length": 64, "leading_dense_block_count": 1,
    "rope.dimension_count": 32, "full_attention_interval": 2, "wkv.head_size": 64, "attention.decay_lora_rank": 32,
    "attention.iclr_lora_rank": 32, "attention.value_residual_mix_lora_rank": 32, "attention.gate_lora_rank": 64,
}  # fmt: skip


def architecture(name):
    if name != "toy":
        return registry.default().architecture(name)
    spec = importlib.util.spec_from_file_location("realizar_toy", TOY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Toy()


@pytest.fixture(
    scope="module",
    params=[*MODES, *(pytest.param(mode, marks=pytest.mark.slow) for mode in SLOW)],
    ids=lambda mode: "-".join(map(str, mode)),
)
def make(request, tmp_path_factory):
    """Makes engines of one tiny model."""
    name, window, type_name, activations, kv_type = request.param
    sizes = {"attention.sliding_window": window, **SIZES}
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    with tiny_model(architecture(name), metadata, type_name, tmp_path_factory.mktemp("tiny")) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()

        def make(**params):
            defaults = {"n_threads": 2, "n_ctx": 160, "activations": activations, "kv_type": kv_type}
            return Engine(model, EngineParams(**{**defaults, **params}))

        yield make


@pytest.fixture(scope="module")
def logits(make):
    """Logits of the first prompt, computed in one step."""
    return score(make(), PROMPTS[0])


def score(engine, tokens):
    request = engine.logits(tokens)
    engine.wait(lambda: request.is_over)
    return request.logits


def generate(engine, *prompts):
    """Tokens and their logprobs, the bits of which show those of the logits."""
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().logprobs for request in requests]


def compute(engine, seq):
    """Logits of all tokens of a sequence that are not computed yet."""
    n = seq.n_left
    seq.reserve(n)
    logits = engine.runner.run(engine.runner.batch([Chunk(seq, n, n)]))["logits"].values.copy()
    seq.commit(n)
    return logits


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_threads(make, logits, n_threads):
    np.testing.assert_array_equal(score(make(n_threads=n_threads), PROMPTS[0]), logits)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_one_query_over_several_splits_of_keys(make, n_threads):
    """Threads share the splits of a long context out; a prompt takes each tile whole."""
    tokens = random_tokens(1100)
    engine = make(n_threads=n_threads, n_ctx=1104, n_batch=1104, n_seqs=1)
    want = score(engine, tokens)[-2:]
    seq = Sequence(engine.cache, tokens)
    for n in (1098, 1, 1):
        seq.reserve(n)
        got = engine.runner.run(engine.runner.batch([Chunk(seq, n, 1)]))["logits"].values.copy()
        seq.commit(n)
        if n == 1:
            np.testing.assert_array_equal(got, want[:1])
            want = want[1:]


@pytest.mark.parametrize("n_batch", [1, 7, 64])
def test_any_cut_of_the_prompt(make, logits, n_batch):
    np.testing.assert_array_equal(score(make(n_batch=n_batch), PROMPTS[0]), logits)


def test_alone_and_batched(make):
    alone = [generate(make(), prompt)[0] for prompt in PROMPTS]
    assert generate(make(), *PROMPTS) == alone
    assert generate(make(n_batch=24, n_seqs=2), *reversed(PROMPTS)) == alone[::-1]


def test_with_drafts_and_without(make):
    alone = generate(make(), *PROMPTS)
    engine = make(n_batch=64, speculate="ngram")
    texts = [[*prompt, *(s.token_id for s in found)] for prompt, found in zip(PROMPTS, alone, strict=True)]

    def knows(tokens, n):
        return next(text for text in texts if text[: len(tokens)] == tokens)[len(tokens) :][:n]

    engine.speculator = Oracle(knows, n_batch=64)
    assert generate(engine, *PROMPTS) == alone
    assert engine.speculator.n_guessed > 0


def test_cached_prefix_and_none(make):
    engine = make()
    first = generate(engine, PROMPTS[0])
    assert generate(engine, PROMPTS[0]) == first
    for kept, n_cached in ((50, 0 if engine.cache.states else 48), (100, 96)):  # a state is kept at the prompt's end
        prompt = [*PROMPTS[0][:kept], *PROMPTS[3]]
        request = engine.generate(prompt, GREEDY)
        engine.wait(lambda request=request: request.is_over)
        assert request.completion().timings.n_cached == n_cached
        assert [request.completion().logprobs] == generate(make(), prompt)


@pytest.mark.parametrize("keep", [0, 5, 16, 50, 99])
def test_truncate_and_fork_equal_fresh(make, logits, keep):
    engine = make()
    seq = Sequence(engine.cache, PROMPTS[0])
    compute(engine, seq)
    fork = seq.fork()
    fork.truncate(keep)
    for token in PROMPTS[3]:
        fork.append(token)
    fresh = score(make(), fork.tokens.tolist())
    again = compute(engine, fork)
    np.testing.assert_array_equal(again, fresh[-len(again) :])
    seq.truncate(keep)
    for token in PROMPTS[0][keep:]:
        seq.append(token)
    again = compute(engine, seq)
    np.testing.assert_array_equal(again, logits[100 - len(again) :])
    check_cache(engine.cache, [seq, fork])


def test_four_threads_at_once(make):
    alone = [generate(make(), prompt)[0] for prompt in PROMPTS[:4]]
    engine = make()
    found = [None] * 4

    def ask(i):
        (found[i],) = generate(engine, PROMPTS[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on(make, logits):
    engine = make()
    np.testing.assert_array_equal(score(engine, PROMPTS[0]), logits)
    child = os.fork()
    if child == 0:
        equal = np.array_equal(score(engine, PROMPTS[0]), logits)
        os._exit(0 if equal else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(score(engine, PROMPTS[0]), logits)


def test_any_value_is_a_tap(make, logits):
    engine = make()
    seq = Sequence(engine.cache, PROMPTS[0])
    seq.reserve(seq.n_left)
    batch = engine.runner.batch([Chunk(seq, seq.n_left, 5)])
    for value in engine.model.graphs["decode"].values[::3]:
        taps = engine.runner.run(batch, outputs=["logits", value.name])
        assert taps[value.name].shape == (5, *value.shape)
        np.testing.assert_array_equal(taps["logits"].values, logits[-5:])
    with pytest.raises(GraphError, match="no such value"):
        engine.runner.run(batch, outputs=["no such value"])
