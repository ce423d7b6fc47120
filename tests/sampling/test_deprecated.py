"""Sampler names of plugin API 1.1 warn and still work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import realizar.sampling
from realizar import SamplingParams
from realizar.sampling import SamplerChain, SamplerContext
from realizar.sampling.deprecated import RENAMED
from tests.sampling.vocabulary import token_bytes


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_old_names_are_aliases(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}"):
        assert getattr(realizar.sampling, old) is getattr(realizar.sampling, RENAMED[old])


def test_unknown_names_are_still_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Unknown'"):
        realizar.sampling.Unknown  # noqa: B018


def test_old_names_of_the_context() -> None:
    context = SamplerContext(10, token_bytes())
    with pytest.warns(DeprecationWarning, match="token_texts is now token_bytes"):
        assert context.token_texts is context.token_bytes
    with pytest.warns(DeprecationWarning, match=r"texts\(\) is now need_token_bytes\(\)"):
        assert context.texts("it") is context.token_bytes


class Old:
    """Bans the tokens chosen before; written for plugin API 1.1."""

    def __init__(self, chosen: tuple[int, ...] = ()) -> None:
        self.chosen = list(chosen)

    def apply(self, candidates: Any, history: Any) -> None:
        logits = candidates.logits
        logits[self.chosen] = -np.inf
        candidates.replace(candidates.token_ids, logits)

    def fresh(self) -> Old:
        return type(self)()

    def learn(self, candidates: Any, token_id: int) -> None:
        self.chosen.append(token_id)


class OldWithFork(Old):
    def fork(self) -> Old:
        return type(self)(tuple(self.chosen))


def next_token(chain: SamplerChain) -> int:
    return chain.sample(np.arange(10, dtype=np.float32), [], 0).token_id


@pytest.mark.parametrize("kind", [Old, OldWithFork])
def test_old_methods_of_a_stateful_sampler(kind: type[Old]) -> None:
    params = SamplingParams(temperature=0.0, samplers=[kind(), "temperature"])
    with pytest.warns(DeprecationWarning, match=r"fresh\(\) is now reset_copy\(\), and learn\(\) is now accept\(\)"):
        chain = SamplerChain.from_params(params, 10, 0)
    assert [next_token(chain) for _ in range(3)] == [9, 8, 7]
    assert next_token(chain.reset_copy()) == 9
    assert next_token(chain) == 6


def test_the_old_fork_keeps_the_state() -> None:
    with pytest.warns(DeprecationWarning, match="is now accept"):
        chain = SamplerChain.from_params(
            SamplingParams(temperature=0.0, samplers=[OldWithFork(), "temperature"]), 10, 0
        )
    assert next_token(chain) == 9
    fork = chain.fork()
    assert [next_token(fork), next_token(fork), next_token(chain)] == [8, 7, 8]
