"""Generation: a request for the continuation of a prompt."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from realizar.engine.answer import Answer
from realizar.engine.completion import Timings
from realizar.engine.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.completion import Completion
    from realizar.engine.sequence import Chunk, Sequence
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
        Chooses the tokens; with the logprobs of those where the texts are ranked (best_of).
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
        chains = (sampler if i == 0 else sampler.another() for i in range(params.n_texts))
        self.answers = [Answer(seq, params, chain, tokenizer, max_tokens, i) for i, chain in enumerate(chains)]
        self.n_seqs_max = params.n_texts
        self._n_shared = seq.n_tokens
        if params.max_time is not None:
            self.deadline = time.perf_counter() + params.max_time
        self._n_prompt = len(seq.source) or seq.n_tokens
        self._n_cached = 0
        self._t_begin = 0.0

    @property
    def finished(self) -> bool:
        """Whether every text has come to its end."""
        return all(answer.end is not None for answer in self.answers)

    @property
    def seqs(self) -> Seq[Sequence]:
        """The sequences of the texts that go on; until their first token it is the same one."""
        return list(dict.fromkeys(answer.seq for answer in self.answers if answer.end is None))

    def blocks_needed(self) -> list[int]:
        """Blocks of each cache group that its texts hold at most."""
        return self.seq.cache.blocks_needed(self.n_max, len(self.seq.source), len(self.answers), self._n_shared)

    def free(self) -> None:
        """Give back what every text holds."""
        for answer in self.answers:
            answer.free()

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
        for answer in {answer.seq: answer for answer in self.answers if answer.end is None}.values():
            if budget:
                chunks.append(answer.next_chunk(budget))
                budget -= chunks[-1].n_tokens
        return chunks

    def take(self, chunks: Seq[Chunk], rows: Rows) -> None:
        """Let each text go on; those that had the prompt alone go their own ways from here."""
        for chunk in chunks:
            texts = [answer for answer in self.answers if answer.seq is chunk.seq] if chunk.n_outputs else []
            for other in texts[1:]:
                other.seq = chunk.fork()
            for answer in texts:
                answer.take(rows[: chunk.n_outputs], chunk.drafts)
            rows = rows[chunk.n_outputs :]

    def histories(self, chunks: Seq[Chunk]) -> list[npt.NDArray[np.int32]]:
        """Return the tokens of the texts that go on by a token."""
        return [chunk.seq.tokens for chunk in chunks if chunk.n_outputs]

    def completion(self) -> Completion:
        """Return the answer as far as it has come, with the others where several are asked for."""
        ranked = self.params.is_ranked
        answers = sorted(self.answers, key=Answer.score, reverse=True) if ranked else self.answers
        first, *others = (
            answer.completion(self._timings(answer), answer.score() if ranked else None)
            for answer in answers[: self.params.n]
        )
        return replace(first, others=tuple(others)) if others else first

    def _timings(self, answer: Answer) -> Timings:
        return Timings(
            self._n_prompt, self._n_cached, len(answer.token_ids),
            answer.t_first - self._t_begin if answer.t_first else 0.0, answer.t_last - answer.t_first,
            answer.n_drafted, answer.n_accepted,
        )  # fmt: skip
