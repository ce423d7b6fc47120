"""Generation: a request for the continuation of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from realizar.engine.answer import Answer
from realizar.engine.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.calls import ToolUse
    from realizar.engine.completion import Completion, Timings
    from realizar.engine.sequence import Chunk, Sequence
    from realizar.params import SamplingParams
    from realizar.runtime.logit_rows import LogitRows
    from realizar.sampling import SamplerChain
    from realizar.tokenizer import Tokenizer



class Generation(Writing):
    """A prompt to be continued, or a source to be answered, by texts that are drawn token by token.

    Parameters
    ----------
    seq : Sequence
        The prompt; behind a source, what the answer begins with.
    params : SamplingParams
    sampler : SamplerChain
        Chooses the tokens; with the logprobs of those where the texts are ranked (best_of).
    tokenizer : Tokenizer
    tools : ToolUse, optional
        What the texts may call.

    Attributes
    ----------
    answers : list of Answer
        The texts that are written.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer,
        tools: ToolUse | None = None,
    ) -> None:  # fmt: skip
        super().__init__(seq, params)
        chains = (sampler if i == 0 else sampler.another() for i in range(params.n_texts))
        self.answers = [
            Answer(seq, params, chain, tokenizer, self.max_tokens, i, tools) for i, chain in enumerate(chains)
        ]

    @property
    def finished(self) -> bool:
        """Whether every text has come to its end."""
        return all(answer.end is not None for answer in self.answers)

    @property
    def seqs(self) -> Seq[Sequence]:
        """The sequences of the texts that go on; until their first token it is the same one."""
        own = dict.fromkeys(answer.seq for answer in self.answers if answer.end is None)
        return [seq for first in own for seq in first.together]

    def free(self) -> None:
        """Give back what every text holds."""
        for answer in self.answers:
            answer.free()

    def expire(self) -> None:
        """End the texts that go on."""
        for answer in self.answers:
            if answer.end is None:
                answer.expire()

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after taking over what the cache holds; only the very last gives an output."""
        self._match_prefix()
        if self.likelihood is not None and not self.likelihood.is_whole:
            return [self.likelihood.next_chunk(self.seq, budget)]
        chunks: list[Chunk] = []
        for answer in {answer.seq: answer for answer in self.answers if answer.end is None}.values():
            if budget:
                own = answer.next_chunks(budget)
                budget -= sum(chunk.n_tokens for chunk in own)
                chunks += own
        return chunks

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Let each text go on; those that had the prompt alone go their own ways from here."""
        if self.likelihood is not None and not self.likelihood.is_whole:
            self.likelihood.take(chunks[0], rows)
            return
        for chunk in chunks:
            texts = [answer for answer in self.answers if answer.seq is chunk.seq] if chunk.n_outputs else []
            for other in texts[1:]:
                other.seq = chunk.fork()
            for answer in texts:
                answer.take(rows[: chunk.n_outputs], chunk.drafts)
            rows = rows[chunk.n_outputs :]

    def completion(self) -> Completion:
        """Return the answer as far as it has come, with the others where several are asked for."""
        ranked = self.params.is_ranked
        answers = sorted(self.answers, key=Answer.score, reverse=True) if ranked else self.answers
        first, *others = (
            answer.completion(self._timings_of(answer), answer.score() if ranked else None)
            for answer in answers[: self.params.n]
        )
        if self.likelihood is not None:
            first = replace(first, prompt_logprobs=[None, *self.likelihood.found])
        return replace(first, others=tuple(others)) if others else first

    def _timings_of(self, answer: Answer) -> Timings:
        timings = self._timings(len(answer.token_ids), answer.t_first, answer.t_last)
        return replace(timings, n_drafted=answer.n_drafted, n_accepted=answer.n_accepted)
