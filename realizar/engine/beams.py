"""Beams: a request for beam search, which keeps the most probable continuations of all beams."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realizar.calls.reasoning import ReasoningDecoder
from realizar.engine.output import Completion, end_ids, ended_by
from realizar.engine.request import TextRequest
from realizar.engine.token_logprobs import TokenLogprobs
from realizar.errors import RealizarError
from realizar.sampling import BeamParams, BeamSearch, StopFilter

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    from realizar.calls import Reasoning
    from realizar.engine.cache.chunk import Chunk
    from realizar.engine.cache.sequence import Sequence
    from realizar.engine.output import FinishReason
    from realizar.params import SamplingParams
    from realizar.runtime.logit_rows import LogitRows
    from realizar.sampling import BeamStep, FinishedBeam, SamplerChain
    from realizar.tokenizer import Tokenizer


class StopCheck:
    """Finds stop strings in the answer of a beam, each token of which is decoded once.

    Parameters
    ----------
    decoder : ReasoningDecoder
    stops : StopFilter
    """

    def __init__(self, decoder: ReasoningDecoder, stops: StopFilter) -> None:
        self._decoder = decoder
        self._stops = stops

    def fork(self) -> StopCheck:
        """Return a check of the same text, for another continuation."""
        return StopCheck(self._decoder.fork(), copy(self._stops))

    def push(self, token: int) -> bool:
        """Take the next token; return whether a stop string is complete."""
        return self._stops.push(self._decoder.push(token)[1])[1] is not None


@dataclass(eq=False)
class Line:
    """A live beam: its sequence, its sampler chain, and what finds its stop strings if there are any."""

    seq: Sequence
    sampler: SamplerChain
    stops: StopCheck | None

    def fork(self) -> Line:
        """Return a beam with the same history, for another continuation."""
        sampler = self.sampler.fork()  # first: it may be a user's, and fail
        return Line(self.seq.fork(), sampler, self.stops and self.stops.fork())

    def append(self, token: int) -> None:
        """Append a token."""
        self.seq.append(token)
        self.sampler.accept(token)
        if self.stops is not None:
            self.stops.push(token)

    def completes_stop(self, token: int) -> bool:
        """Whether a token would complete a stop string."""
        return self.stops is not None and self.stops.fork().push(token)


class Beams(TextRequest):
    """A beam search for the most probable continuations of a prompt.

    `BeamSearch` chooses which beams stay live; this class computes them. Beams with a common prefix share its KV cache
    blocks: a beam with two continuations is forked, and its last block is copied on write.

    Parameters
    ----------
    seq : Sequence
        The prompt; with an encoder, the first tokens of the answer.
    params : SamplingParams
    sampler : SamplerChain
        Ranks the next tokens of a beam.
    tokenizer : Tokenizer
    reasoning : Reasoning, optional
        What may precede the answers.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer,
        reasoning: Reasoning | None = None,
    ) -> None:  # fmt: skip
        super().__init__(seq, params)
        # The last token of a completion is never computed.
        room = seq.room
        self._limit: FinishReason = "context" if room < self.max_tokens else "length"
        beam_params = BeamParams(
            params.n_beams, params.n_beam_groups, params.diversity_penalty, params.length_penalty,
            params.early_stopping, min(self.max_tokens, room),
        )  # fmt: skip
        self._search = BeamSearch(beam_params)
        self._steps: list[BeamStep] = []
        self._tokenizer = tokenizer
        self._reasoning = reasoning
        self._after = None if len(seq.encoder_tokens) else seq.last_token
        self._end_ids = end_ids(params, tokenizer)
        stops = StopCheck(self._decoder(), StopFilter(params.stop)) if params.stop else None
        self._lines = [Line(seq, sampler, stops)] * params.n_beam_groups
        self._t_first = self._t_last = 0.0

    @property
    def finished(self) -> bool:
        """Whether no beam is live."""
        return not self._search.live

    @property
    def text_seqs(self) -> Seq[Sequence]:
        """The sequences of the live beams."""
        return [line.seq for line in self._own_lines()]

    def _own_lines(self) -> list[Line]:
        """Return each line once; until the first token all groups share the line of the prompt."""
        return list(dict.fromkeys(self._lines))

    def expire(self) -> None:
        """End the live beams."""
        self._limit = "time"
        self._search.end()

    def free(self) -> None:
        """Free the sequences of the live beams."""
        for line in self._own_lines():
            line.seq.free()

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens of the prompt, or after it the last token of each beam."""
        if not self._search.has_begun:
            self._match_prefix()
            return self.seq.chunks(budget)
        self.settle()  # a failed step may have interrupted it
        if len(self.seqs) > budget:
            return []
        chunks: list[Chunk] = []
        for line in self._own_lines():
            chunks += line.seq.chunks(budget - sum(chunk.n_tokens for chunk in chunks))
        return chunks

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Rank the next tokens of each beam, and choose the beams that stay live."""
        self._t_last = time.perf_counter()
        self._t_first = self._t_first or self._t_last
        n = self._search.n_ranked(len(self._end_ids))
        row_of = {chunk.seq: row for chunk, row in zip((c for c in chunks if c.n_outputs), rows, strict=True)}
        ranked = {
            line: line.sampler.rank(row_of[line.seq], line.seq.history, line.seq.n_tokens, n)
            for line in self._own_lines()
        }
        lines = self._lines
        self._steps = self._search.advance(
            [ranked[line] for line in lines], lambda i, token: token in self._end_ids or lines[i].completes_stop(token)
        )
        if self.finished and not self._search.best(1):
            raise RealizarError("beam search: the constraint and the samplers allow no next token for any beam")

    def settle(self) -> None:
        """Give each live beam a line: the one that it continues, or a fork if another beam has taken that."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        parents = [self._lines[step.parent] for step in steps]
        for line in self._own_lines():
            if line not in parents:
                line.seq.free()
        lines: list[Line] = []
        try:
            for line in parents:
                lines.append(line.fork() if line in lines else line)
        except BaseException:
            self._lines += lines  # to be freed
            raise
        self._lines = lines
        for line, step in zip(lines, steps, strict=True):
            line.append(step.token)

    def _decoder(self) -> ReasoningDecoder:
        """Return a decoder of the tokens after the prompt."""
        return ReasoningDecoder(self._tokenizer.stream(after=self._after), self._reasoning, self._tokenizer)

    def _texts(self, tokens: Seq[int]) -> tuple[str, str, int]:
        """Return the reasoning and the text of tokens, and the number of those that are reasoning."""
        decoder = self._decoder()
        parts = [*map(decoder.push, tokens), decoder.flush()]
        return "".join(part[0] for part in parts), "".join(part[1] for part in parts), decoder.n_reasoning

    def completion(self) -> Completion:
        """Return the best finished beam, with the next `n` - 1 as its `others`."""
        found = self._search.best(self.params.n)
        if not found:
            reason: FinishReason = self._limit if self.finished else "cancelled"
            return self._joined([Completion("", [], reason, None, None, self._timings(0, self._t_first, self._t_last))])
        return self._joined([self._completion(beam) for beam in found])

    def _completion(self, ended: FinishedBeam) -> Completion:
        chosen = ended.beam.chosen
        tokens = [sampled.token_id for sampled in chosen]
        by_token = tokens[-1] in self._end_ids
        reasoning, text, n_reasoning = self._texts(tokens[:-1] if by_token else tokens)
        stops = StopFilter(self.params.stop)
        text = stops.push(text)[0] + stops.flush()
        end: tuple[FinishReason, int | str | None] = (self._limit, None)
        if by_token:
            end = ended_by(tokens[-1], self.params), tokens[-1]
        elif stops.hit is not None:
            end = "stop_string", stops.hit
        timings = self._timings(len(tokens), self._t_first, self._t_last)
        logprobs = None
        if self.params.logprobs is not None:
            logprobs = [TokenLogprobs.of(sampled, self._tokenizer.token_bytes) for sampled in chosen]
        return Completion(
            text, tokens, *end, logprobs, timings, ended.score, reasoning=reasoning, n_reasoning=n_reasoning
        )
