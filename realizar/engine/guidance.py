"""Guided: a sequence after two prompts at once, towards the one and away from the other.

Classifier-free guidance of language models: Sanchez et al., "Stay on topic with Classifier-Free Guidance" (2023),
equation 7. With c the logits after the prompt and u those after the negative prompt, tokens are chosen by

    u + cfg_scale * (c - u)

The paper and transformers (`guidance_scale`) mix log-probabilities; that is the same but for a number that all tokens
have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realizar.engine.cache.content import Content
    from realizar.engine.cache.kv_cache import KVCache
    from realizar.runtime.logit_rows import LogitRows


class Guided(Sequence):
    """A sequence next to a second one that gets the same tokens after another prompt.

    Parameters
    ----------
    cache : KVCache
    tokens : iterable of int
        The prompt.
    negative : iterable of int
        The negative prompt.
    scale : float
        0: the negative prompt only; 1: the prompt only; more extrapolates.
    content : Content, optional
        That of the prompt.
    adapter : int
        Number of the adapters of both.
    adapter_from : int
        The first row of the prompt for which they are applied.
    program : str
        The program that computes both.

    Attributes
    ----------
    negative : Sequence
        The second one.

    Raises
    ------
    ContextFullError
        If one of the prompts is longer than the cache's n_ctx.
    """

    def __init__(
        self, cache: KVCache, tokens: Iterable[int], negative: Iterable[int], scale: float,
        content: Content | None = None, *, adapter: int = 0, program: str = "decode", adapter_from: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            cache, tokens, content=content, adapter=adapter, program=program, adapter_from=adapter_from
        )  # fmt: skip
        self.negative = Sequence(cache, negative, adapter=adapter, program=program)
        self.scale = scale

    @property
    def together(self) -> tuple[Sequence, ...]:
        """Both sequences."""
        return self, self.negative

    @property
    def room(self) -> int:
        """Number of tokens that can still be appended to both."""
        return min(super().room, self.negative.room)

    @property
    def is_full(self) -> bool:
        """Whether the context has no room to compute one more token of either."""
        return super().is_full or self.negative.is_full

    def append(self, token: int) -> None:
        """Add a token to both."""
        super().append(token)
        self.negative.append(token)

    def match_prefix(self, most: int | None = None) -> None:
        """Match the prefix cache for both prompts."""
        super().match_prefix(most)
        self.negative.match_prefix(most)

    def chunks(self, budget: int) -> list[Chunk]:
        """Return the next chunks of both; the last tokens, whose logits are mixed, are in one step."""
        at_once = sum(seq.n_left for seq in self.together) <= budget
        at_once = at_once and all(seq.cut(seq.n_left) == seq.n_left for seq in self.together)
        found = []
        for seq in self.together:
            n = seq.cut(min(seq.n_left if at_once else seq.n_left - seq.n_last, budget))
            if n:
                found.append(Chunk(seq, n, int(at_once)))
                budget -= n
        return found

    def fork(self, n_ahead: int = 0) -> Guided:
        """Fork both, as if the next n_ahead tokens, the last ones, were computed."""
        other = super().fork(n_ahead)
        other.negative = self.negative.fork(self.negative.n_left if n_ahead else 0)
        return other

    def free(self) -> None:
        """Free the blocks and state slots of both."""
        super().free()
        self.negative.free()


def mix(rows: LogitRows, chunks: Iterable[Chunk]) -> LogitRows:
    """Return the logits from which a request samples: mixed rows if it is guided.

    Parameters
    ----------
    rows : LogitRows [n_outputs, n_vocab]
        The outputs of the chunks, in their order: that of a guided sequence, then that of its negative prompt.
    chunks : iterable of Chunk
        What was computed of the request.
    """
    row, mixed_rows = 0, rows
    for chunk in chunks:
        if isinstance(chunk.seq, Guided) and chunk.n_outputs:
            if mixed_rows is rows:
                mixed_rows = rows.copy()
            towards, away = mixed_rows.values[row], mixed_rows.values[row + 1]
            with np.errstate(invalid="ignore"):
                mixed = away + np.float32(chunk.seq.scale) * (towards - away)
            # Where a prompt excludes a token, there is no difference to go by; what the first one says stays.
            np.copyto(towards, mixed, where=~(np.isneginf(towards) | np.isneginf(away)))
        row += chunk.n_outputs
    return mixed_rows
