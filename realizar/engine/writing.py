"""Writing: a request for texts behind a prompt; what is the same whether they are drawn or searched."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from realizar.engine.completion import Timings
from realizar.engine.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.completion import Completion
    from realizar.engine.likelihood import Likelihood
    from realizar.engine.sequence import Chunk, Sequence
    from realizar.params import SamplingParams


class Writing(Request):
    """A prompt to be continued, or a source to be answered, by one text or several.

    Parameters
    ----------
    seq : Sequence
        The prompt; behind a source, what the answer begins with.
    params : SamplingParams

    Attributes
    ----------
    likelihood : Likelihood | None
        Of the prompt, where that is wanted; the cache keeps none, so all of the prompt is computed.
    """

    likelihood: Likelihood | None = None

    def __init__(self, seq: Sequence, params: SamplingParams) -> None:
        self.params = params
        self.max_tokens = seq.cache.n_ctx if params.max_tokens is None else params.max_tokens
        super().__init__(seq, seq.n_tokens + self.max_tokens - 1)
        self.n_seqs_max = params.n_texts * len(seq.together)
        if params.max_time is not None:
            self.deadline = time.perf_counter() + params.max_time
        self._n_prompts = [own.n_tokens for own in seq.together]
        self._n_prompt = len(seq.source) or seq.n_tokens
        self._n_cached = 0
        self._t_begin = 0.0

    def blocks_needed(self) -> list[int]:
        """Blocks of each cache group that its texts hold at most."""
        cache, n_source, n_texts = self.seq.cache, len(self.seq.source), self.params.n_texts
        each = (
            cache.blocks_needed(min(n + self.max_tokens - 1, cache.n_ctx), n_source, n_texts, n)
            for n in self._n_prompts
        )
        return [sum(needed) for needed in zip(*each, strict=True)]

    def source_chunk(self) -> Chunk:
        """Return the source, once."""
        self._t_begin = self._t_begin or time.perf_counter()
        return super().source_chunk()

    def _match_prefix(self) -> None:
        """Take over what the cache holds of the prompt, if nothing of it is computed yet."""
        if not self.seq.n_computed:
            self._t_begin = self._t_begin or time.perf_counter()
            if self.likelihood is None:
                self.seq.match_prefix()
            self._n_cached = self.seq.n_cached

    @property
    def is_reading(self) -> bool:
        """Whether the prompt's own likelihood is still read off, so that no text goes on."""
        return self.likelihood is not None and not self.likelihood.is_whole

    def histories(self, chunks: Seq[Chunk]) -> list[npt.NDArray[np.int32]]:
        """Return the tokens of the texts that go on by a token."""
        return [chunk.seq.tokens for chunk in chunks if chunk.n_outputs]

    def _timings(self, n_generated: int, t_first: float, t_last: float) -> Timings:
        """Return what a text took whose first and last token came at these times (0: not yet)."""
        prefill_s = t_first - self._t_begin if t_first else 0.0
        return Timings(self._n_prompt, self._n_cached, n_generated, prefill_s, t_last - t_first)

    @abstractmethod
    def completion(self) -> Completion:
        """Return the answer as far as it has come, with the others where several are asked for."""
