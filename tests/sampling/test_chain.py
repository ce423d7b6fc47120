"""SamplerChain: its samplers, reproducibility by seed, logprobs, and invalid logits."""

from __future__ import annotations

import numpy as np
import pytest

from realizar.arch import registry
from realizar.errors import ParameterError, RealizarError
from realizar.params import SamplingParams, resolved
from realizar.sampling import Greedy, MinP, Penalties, SamplerChain, SamplerContext, Temperature, TopK, TopP

N_VOCAB = 1000
RNG = np.random.default_rng(0)
ROWS = (RNG.standard_normal((50, N_VOCAB)) * 2).astype(np.float32)
PARAMS = SamplingParams(temperature=0.9, top_k=50, top_p=0.95, repetition_penalty=1.1)


def test_the_default_order_without_neutral_samplers() -> None:
    params = SamplingParams(0.5, 40, 0.9, 0.05, 1.1, 0.2, 0.3, 32)
    assert SamplerChain.from_params(params, 10, 0).samplers == (
        Penalties(1.1, 0.2, 0.3, 32),
        TopK(40),
        TopP(0.9),
        MinP(0.05),
        Temperature(0.5),
    )
    assert SamplerChain.from_params(SamplingParams(), 10, 0).samplers == ()
    greedy = SamplingParams(temperature=0.0, top_k=40, presence_penalty=1.0)
    assert SamplerChain.from_params(greedy, 10, 0).samplers == (Penalties(1.0, 1.0, 0.0), Greedy())


def test_a_custom_order() -> None:
    params = SamplingParams(temperature=0.5, top_k=40, min_p=0.1, samplers=["temperature", "min_p", "top_k", "top_p"])
    assert SamplerChain.from_params(params, 10, 0).samplers == (Temperature(0.5), MinP(0.1), TopK(40))
    params = SamplingParams(
        temperature=0.0, top_k=40, presence_penalty=1.0, samplers=["top_k", "penalties", "temperature"]
    )
    assert SamplerChain.from_params(params, 10, 0).samplers == (Penalties(1.0, 1.0, 0.0), Greedy())


def test_a_plugins_sampler_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def make(params: SamplingParams, context: SamplerContext) -> TopK:
        seen.append((params, context.n_vocab))
        return TopK(3)

    monkeypatch.setattr(registry, "default", lambda: registry.Registry(samplers={"three": make}))
    params = SamplingParams(min_p=0.1, samplers=["three", "min_p", TopP(0.5)])
    assert SamplerChain.from_params(params, 10, 0).samplers == (TopK(3), MinP(0.1), TopP(0.5))
    assert seen == [(resolved(params), 10)]


def test_unknown_and_missing_names() -> None:
    with pytest.raises(ParameterError, match=r"samplers: 'top_x' is unknown; known are penalties, .*temperature"):
        SamplerChain.from_params(SamplingParams(samplers=["top_x"]), 10, 0)
    with pytest.raises(ParameterError, match=r"samplers: 'top_k' is not in the list, but top_k=40; add it"):
        SamplerChain.from_params(SamplingParams(top_k=40, samplers=["top_p"]), 10, 0)


def test_draws_depend_on_seed_and_position_alone() -> None:
    chain = SamplerChain.from_params(PARAMS, N_VOCAB, seed=42)
    in_order = [chain.sample(row, range(i), i).token_id for i, row in enumerate(ROWS)]
    chain = SamplerChain.from_params(PARAMS, N_VOCAB, seed=42)
    other = SamplerChain.from_params(SamplingParams(), N_VOCAB, seed=42)
    shuffled = {}
    for i in RNG.permutation(len(ROWS)):
        other.sample(ROWS[i], [], i)
        chain.sample(ROWS[(i + 1) % 50], [], i, draw=1)
        shuffled[i] = chain.sample(ROWS[i], range(i), i).token_id
    assert [shuffled[i] for i in range(len(ROWS))] == in_order
    again = SamplerChain.from_params(PARAMS, N_VOCAB, seed=43)
    assert [again.sample(row, range(i), i).token_id for i, row in enumerate(ROWS)] != in_order


@pytest.mark.parametrize("seed", [-1, 0, 2**64 - 1, 2**100])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert 0 <= SamplerChain.from_params(PARAMS, N_VOCAB, seed).sample(ROWS[0], [], 0).token_id < N_VOCAB


def test_history_may_be_an_array() -> None:
    chain = SamplerChain([Penalties(repetition=2.0), Greedy()], N_VOCAB, 0)
    best = int(ROWS[0].argmax())
    assert chain.sample(ROWS[0], [best], 1) == chain.sample(ROWS[0], np.array([best], np.int32), 1)
    assert chain.sample(ROWS[0], [best], 1).token_id != best


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_logprobs_are_those_of_the_raw_logits(n: int, temperature: float) -> None:
    params = SamplingParams(temperature=temperature, top_k=3, repetition_penalty=1.5, logprobs=n)
    chain = SamplerChain.from_params(params, N_VOCAB, 1)
    silent = SamplerChain.from_params(SamplingParams(temperature, 3, repetition_penalty=1.5), N_VOCAB, 1)
    for i, row in enumerate(ROWS):
        x = row.astype(np.float64)
        expected = x - x.max() - np.log(np.exp(x - x.max()).sum())
        token, logprob, top, rank = chain.sample(row, range(20), i)
        assert silent.sample(row, range(20), i) == (token, None, [], 0)
        assert rank == 1 + (row > row[token]).sum()
        assert logprob == pytest.approx(expected[token], abs=1e-5)
        assert [i for i, _ in top] == list(np.argsort(-row, kind="stable")[:n])
        assert [p for _, p in top] == pytest.approx([expected[i] for i, _ in top], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("bad", "found"), [(np.nan, "logit 3 is nan"), (np.inf, "logit 3 is inf"), (None, "all logits are -inf")]
)
def test_invalid_logits_are_errors(bad: float | None, found: str, temperature: float) -> None:
    x = np.full(N_VOCAB, -np.inf, np.float32)
    if bad is not None:
        x[[3, 999]] = bad
    chain = SamplerChain.from_params(SamplingParams(temperature=temperature), N_VOCAB, 0)
    with pytest.raises(RealizarError, match=found):
        chain.sample(x, [], 0)
    assert chain.sample(ROWS[0], [], 0).token_id >= 0  # the chain still works


def test_wrong_arguments() -> None:
    chain = SamplerChain.from_params(PARAMS, N_VOCAB, 0)
    with pytest.raises(ParameterError, match="10 logits for a vocabulary of 1000"):
        chain.sample(np.zeros(10, np.float32), [], 0)
    with pytest.raises(ParameterError, match=r"history\[1\] is 1000"):
        chain.sample(ROWS[0], [1, 1000], 0)
