"""Generation: a request for the continuation of a prompt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from realizar.engine.answer import Answer
from realizar.engine.completion import Timings
from realizar.engine.request import Request
from realizar.engine.sequence import Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.completion import Completion
    from realizar.engine.sequence import Sequence
    from realizar.params import SamplingParams
    from realizar.sampling import SamplerChain
    from realizar.tokenizer import Tokenizer

    Rows = npt.NDArray[np.float32]


class Generation(Request):
    """A prompt to be continued, or a source to be answered.

    Parameters
    ----------
    seq : Sequence
        The prompt; behind a source, what the answer begins with.
    params : SamplingParams
    sampler : SamplerChain
        Chooses the tokens.
    tokenizer : Tokenizer

    Attributes
    ----------
    answers : list of Answer
        The texts that are written.
    """

    def __init__(self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer) -> None:
        max_tokens = seq.cache.n_ctx if params.max_tokens is None else params.max_tokens
        super().__init__(seq, seq.n_tokens + max_tokens - 1)
        self.params = params
        if params.max_time is not None:
            self.deadline = time.perf_counter() + params.max_time
        self.answers = [Answer(seq, params, sampler, tokenizer, max_tokens)]
        self._n_prompt = len(seq.source) or seq.n_tokens
        self._n_cached = 0
        self._t_begin = 0.0

    @property
    def finished(self) -> bool:
        """Whether every text has come to its end."""
        return all(answer.end is not None for answer in self.answers)

    @property
    def seqs(self) -> Seq[Sequence]:
        """The sequences of the texts that go on."""
        return [answer.seq for answer in self.answers if answer.end is None]

    def free(self) -> None:
        """Give back what every text holds."""
        for answer in self.answers:
            answer.seq.free()

    def expire(self) -> None:
        """End the texts that go on."""
        for answer in self.answers:
            if answer.end is None:
                answer.expire()

    def source_chunk(self) -> Chunk:
        """Return the source, once."""
        self._t_begin = self._t_begin or time.perf_counter()
        return super().source_chunk()

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after taking over what the cache holds; only the very last gives an output."""
        if not self.seq.n_computed:
            self._t_begin = self._t_begin or time.perf_counter()
            self.seq.match_prefix()
            self._n_cached = self.seq.n_cached
        chunks = []
        for seq in self.seqs:
            if budget:
                n = seq.cut(min(seq.n_left, budget))
                chunks.append(Chunk(seq, n, int(n == seq.n_left)))
                budget -= n
        return chunks

    def take(self, chunks: Seq[Chunk], rows: Rows) -> None:
        """Let each text go on by a token."""
        for answer, row in zip(self._sampled(chunks), rows, strict=True):
            answer.take(row)

    def histories(self, chunks: Seq[Chunk]) -> list[npt.NDArray[np.int32]]:
        """Return the tokens of the texts that go on by a token."""
        return [answer.seq.tokens for answer in self._sampled(chunks)]

    def _sampled(self, chunks: Seq[Chunk]) -> list[Answer]:
        """Return the text of each row that these chunks give."""
        with_output = {id(chunk.seq) for chunk in chunks if chunk.n_outputs}
        return [answer for answer in self.answers if id(answer.seq) in with_output]

    def completion(self) -> Completion:
        """Return the answer as far as it has come."""
        answer = self.answers[0]
        timings = Timings(
            self._n_prompt, self._n_cached, len(answer.token_ids),
            answer.t_first - self._t_begin if answer.t_first else 0.0, answer.t_last - answer.t_first,
        )  # fmt: skip
        return answer.completion(timings)
