"""The infill sampler against its definition, and its position in a chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from realizar.errors import ParameterError
from realizar.params import SamplingParams
from realizar.sampling import Infill, SamplerChain, TopK
from tests.sampling import definitions
from tests.sampling.definitions import Logits, apply
from tests.sampling.vocabulary import N_VOCAB, PIECES, token_bytes

TOKEN_BYTES = token_bytes()
ENDS = {0, 7}
x_of = st.lists(st.floats(-4, 12, width=16), min_size=N_VOCAB, max_size=N_VOCAB).map(lambda x: np.array(x, np.float32))


def left(x: Logits, until: int = 0) -> list[int]:
    found = apply(x, Infill(TOKEN_BYTES, frozenset(ENDS), until))
    if found.n > 1:  # logits do not change
        np.testing.assert_array_equal(found.logits, x[found.token_ids])
    return [int(i) for i in found.token_ids]


@given(x_of)
def test_infill_matches_its_definition(x: Logits) -> None:
    p = definitions.probabilities(x)
    of_ends = float(p[sorted(ENDS)].sum())
    assume(abs(3 * of_ends * N_VOCAB - (1 - of_ends)) > 1e-4)
    assume(np.abs(p - 0.2).min() > 1e-4)  # float32 sums versus float64 sums
    assert left(x) == definitions.infill(x, [*PIECES, b""], ENDS, 0)


def logits(**p: float) -> Logits:
    """Return logits with these probabilities by token id (t4=0.5); the other tokens share the rest."""
    given = {int(name[1:]): value for name, value in p.items()}
    rest = (1 - sum(given.values())) / (N_VOCAB - len(given))
    return np.log(np.array([given.get(i, rest) for i in range(N_VOCAB)])).astype(np.float32)


def test_a_likely_end_keeps_only_end_tokens() -> None:
    assert left(logits(t1=0.8, t0=0.1, t7=1e-9)) == [0, 7]


def test_without_a_likely_token_the_end_of_turn_is_kept() -> None:
    x = np.full(N_VOCAB, -30.0, np.float32)
    x[[2, 3, 8, 12, 13, 15]] = 0.0  # no piece is a prefix of another
    assert left(x) == [0]
    assert left(x, until=1) == [2]  # min_tokens: the best instead


def test_prefixes_are_merged_into_the_more_probable_token() -> None:
    """ "a", "ab" and "abc" agree on the next character."""
    assert left(logits(t1=0.15, t4=0.16, t6=0.14, t3=0.3, t0=1e-9, t7=1e-9)) == [3, 4, 0, 7]


def chain(**params: object) -> list[str]:
    made = SamplerChain.from_params(
        SamplingParams(**params), N_VOCAB, 0, TOKEN_BYTES, 3, frozenset(ENDS)  # type: ignore[arg-type]
    )  # fmt: skip
    return [type(sampler).__name__ for sampler in made.samplers]


def test_its_position_in_the_chain() -> None:
    order = ("penalties", "xtc", "top_k", "top_p", "infill", "min_p", "temperature")
    values = {"top_k": 9, "top_p": 0.9, "min_p": 0.1, "xtc_probability": 0.5}
    assert chain(**values, samplers=order, temperature=0.5) == ["Xtc", "TopK", "TopP", "Infill", "MinP", "Temperature"]
    assert chain(**values, samplers=order, temperature=0.0) == ["TopK", "TopP", "Infill", "Greedy"]
    assert "Infill" not in chain(top_k=9)
    made = SamplerChain.from_params(
        SamplingParams(top_k=9, samplers=("top_k", "infill"), min_tokens=4), N_VOCAB, 0, TOKEN_BYTES, 3, frozenset(ENDS)
    )
    assert made.samplers[-1] == Infill(TOKEN_BYTES, frozenset(ENDS), until=7)


@pytest.mark.parametrize("order", [("infill",), ("infill", "top_k"), ("top_p", "infill")])
def test_infill_requires_top_k_before_it(order: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError, match="put 'top_k' before it"):
        chain(samplers=order, top_k=0 if "top_k" not in order else 5)
    with pytest.raises(ParameterError, match="found top_k=1001"):
        chain(samplers=("top_k", "infill"), top_k=1001)


def test_infill_after_top_k() -> None:
    x = logits(t1=0.3, t2=0.25, t3=0.2, t0=1e-9, t7=1e-9)
    found = apply(x, TopK(2), Infill(TOKEN_BYTES, frozenset(ENDS)))
    assert [int(i) for i in found.token_ids] == [1, 2]
