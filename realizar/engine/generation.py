"""Generation: a request for the continuation of a prompt, by one text or by several (parallel sampling)."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.cache.chunk import NO_DRAFTS, Chunk
from realizar.engine.cache.sequence import Sequence
from realizar.engine.output import (
    Completion,
    OutputProcessor,
    ReasoningEvent,
    TextEvent,
    TokensEvent,
    ToolCallEvent,
    end_ids,
    ended_by,
)
from realizar.engine.request import TextRequest
from realizar.engine.token_logprobs import TokenLogprobs
from realizar.sampling.beam import score

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.calls import Reasoning, ToolUse
    from realizar.engine.output import Event, FinishReason, Timings
    from realizar.engine.speculation.speculator import Drafter
    from realizar.params import SamplingParams
    from realizar.runtime.logit_rows import LogitRow, LogitRows
    from realizar.sampling import SamplerChain
    from realizar.tokenizer import Tokenizer


class Answer:
    """One completion of a prompt.

    Parameters
    ----------
    seq : Sequence
        The prompt; with an encoder, the decoder's first tokens.
    params : SamplingParams
    sampler : SamplerChain
        Chooses the tokens.
    tokenizer : Tokenizer
        Turns tokens into text and knows which ones end it.
    max_tokens : int
        Tokens that it may have.
    number : int
        Number of this text among those of the request; each draws other random numbers.
    tools : ToolUse, optional
        What it may call.
    reasoning : Reasoning, optional
        What it may think before.

    Attributes
    ----------
    output : OutputProcessor
        Detokenizes the tokens.
    token_ids : list of int
        The sampled tokens, including the one that ended the text.
    logprobs : list of TokenLogprobs
        Logprobs of the tokens, if the params request them.
    end : (reason, stop) | None
        finish_reason and stop_reason of the Completion; None while unfinished.
    drafter : Drafter | None
        Proposes its draft tokens; None without speculative decoding.
    drafts : int32 [n]
        Draft tokens, which the next step computes together with the last token.
    n_drafted, n_accepted : int
        Draft tokens that were computed; those that were accepted.
    t_first, t_last : float
        Times of the first and the last token, by `time.perf_counter`; 0 before.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer, max_tokens: int,
        number: int = 0, tools: ToolUse | None = None, reasoning: Reasoning | None = None,
    ) -> None:  # fmt: skip
        self.seq = seq
        self.params = params
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprobs] = []
        self.end: tuple[FinishReason, int | str | None] | None = None
        self.drafter: Drafter | None = None
        self.drafts = NO_DRAFTS
        self.n_drafted = self.n_accepted = 0
        self.t_first = self.t_last = 0.0
        self._sampler = sampler
        self._max_tokens = max_tokens
        self._n_reported = 0
        self._prompt = seq.history.copy()
        self._n_dropped = 0
        self._number = number
        self._end_ids = end_ids(params, tokenizer)
        self._bytes_of = tokenizer.token_bytes
        self.output = OutputProcessor(seq, params, tokenizer, sampler.n_healed, tools, reasoning)

    @property
    def n_left(self) -> int:
        """Number of tokens that max_tokens and the context still allow."""
        return min(self._max_tokens - len(self.token_ids), self.seq.room)

    @property
    def may_draft(self) -> bool:
        """Whether the next step can verify drafts: only the last token was never computed."""
        return self.drafter is not None and self.end is None and bool(self.token_ids) and self.seq.n_new == 1

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, at most `budget`; logits are requested for the last token and every draft."""
        chunks = self.seq.chunks(budget)
        n = min(len(self.drafts), budget - self.seq.n_left)
        if n > 0 and self.may_draft:
            (last,) = chunks
            drafts = self.drafts[:n]
            return [last._replace(n_tokens=last.n_tokens + n, n_outputs=last.n_outputs + n, drafts=drafts)]
        return chunks

    def take(self, rows: LogitRows, drafts: npt.NDArray[np.int32] = NO_DRAFTS) -> None:
        """Append a token, and one more for each draft that is accepted.

        Each token is sampled as without drafts, from the same logits after the same tokens. The rows after the first
        rejected draft are ignored.

        Parameters
        ----------
        rows : LogitRows [1 + n_drafts, n_vocab]
        drafts : int32 [n_drafts]
        """
        if self.drafter is None:
            self._sample(rows.row(0))
            return
        n = len(self.token_ids)
        for row, draft in zip_longest(rows, drafts.tolist()):
            self._sample(row)
            if self.end is not None or self.token_ids[-1] != draft:
                break
        taken = self.token_ids[n:]
        self.drafter.learn(taken)
        self.drafts = NO_DRAFTS
        self.n_drafted += len(drafts)
        self.n_accepted += sum(token == draft for token, draft in zip(taken, drafts.tolist(), strict=False))

    def _sample(self, logits: LogitRow) -> None:
        """Sample a token from float32 [n_vocab], append it, and check whether it ends the text."""
        history = self.history
        sampled = self._sampler.sample(logits, history, len(history), self._number)
        token = sampled.token_id
        if sampled.logprob is not None:
            self.logprobs.append(TokenLogprobs.of(sampled, self._bytes_of))
        self.t_last = time.perf_counter()
        self.t_first = self.t_first or self.t_last
        self.token_ids.append(token)
        if token in self._end_ids:
            self._finish(ended_by(token, self.params), token)
            return
        self.seq.append(token)
        hit = self.output.push(token)
        if hit is not None:
            self._finish("stop_string", hit)
        elif self._sampler.is_over:
            self._finish("grammar", None)
        elif len(self.token_ids) == self._max_tokens:
            self._finish("length", None)
        elif self.seq.is_full and not self.params.context_shift:
            self._finish("context", None)

    @property
    def history(self) -> npt.NDArray[np.int32]:
        """Prompt and generated tokens, including those dropped by context shifts: int32 [n]."""
        if not self._n_dropped:
            return self.seq.history
        return np.concatenate([self._prompt, np.array(self.token_ids, np.int32)])

    def make_room(self) -> None:
        """Where the context is full, continue from n_keep tokens and the last half of the others (context shifting).

        They are recomputed: rotated keys and learned positions cannot be moved exactly.
        """
        if self.end is None and self.seq.is_full:
            tokens, n_keep = self.seq.tokens, self.params.n_keep
            n_dropped = (len(tokens) - n_keep) // 2
            kept = np.concatenate([tokens[:n_keep], tokens[n_keep + n_dropped :]])
            self._n_dropped += n_dropped
            self.free()
            adapter, first = self.seq.adapter, self.seq.adapter_from
            first = min(first, max(n_keep, first - n_dropped))
            self.seq = Sequence(self.seq.cache, kept, adapter=adapter, adapter_from=first)

    def expire(self) -> None:
        """End the text because its deadline has passed."""
        self._finish("time", None)

    def _finish(self, reason: FinishReason, stop: int | str | None) -> None:
        """End the text and emit its held-back end: an incomplete character or a part of a stop string."""
        if not isinstance(stop, str):
            hit = self.output.flush()
            if hit is not None:
                reason, stop = "stop_string", hit
        self.end = (reason, stop)
        del self._sampler  # its candidates take megabytes, and the Answer may be kept

    def new_events(self) -> list[Event]:
        """Return the events since the last call."""
        n, self._n_reported = self._n_reported, len(self.token_ids)
        events: list[Event] = []
        if n < self._n_reported:
            logprobs = None if self.params.logprobs is None else self.logprobs[n : self._n_reported]
            events.append(TokensEvent(self._number, self.token_ids[n : self._n_reported], logprobs))
        if (thought := self.output.take_new_reasoning()) is not None:
            events.append(ReasoningEvent(self._number, *thought))
        if text := self.output.take_new():
            events.append(TextEvent(self._number, text))
        call, deltas = self.output.take_new_calls(), self.output.take_call_deltas()
        if call or deltas:
            events.append(ToolCallEvent(self._number, call, deltas))
        return events

    def score(self) -> float:
        """Return the score for ranking; the sampler must report logprobs."""
        total = sum(each.logprob for each in self.logprobs)
        return score(total, len(self.logprobs), self.params.length_penalty) if self.logprobs else -math.inf

    def free(self) -> None:
        """Free its blocks and state slots."""
        self.seq.free()
        self.drafts = NO_DRAFTS
        if self.drafter is not None:
            self.drafter.free()

    def completion(self, timings: Timings, score: float | None = None) -> Completion:
        """Return the completion so far."""
        reason, stop = self.end or ("cancelled", None)
        calls = self.output.calls()
        if calls and reason in ("eos", "grammar"):
            reason = "tool_calls"
        logprobs = None if self.params.logprobs is None else self.logprobs
        output, ids = self.output, list(self.token_ids)
        return Completion(
            output.text, ids, reason, stop, logprobs, timings, score, tool_calls=calls, reasoning=output.reasoning,
            n_reasoning=output.n_reasoning,
        )  # fmt: skip


class Generation(TextRequest):
    """A prompt with completions that are sampled token by token.

    Parameters
    ----------
    seq : Sequence
        The prompt; with an encoder, the decoder's first tokens.
    params : SamplingParams
    sampler : SamplerChain
        Samples the tokens; reports their logprobs if the completions are ranked (best_of).
    tokenizer : Tokenizer
    tools : ToolUse, optional
        The tools that may be called.
    reasoning : Reasoning, optional
        What may precede the answers.

    Attributes
    ----------
    answers : list of Answer
        The completions.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer,
        tools: ToolUse | None = None, reasoning: Reasoning | None = None,
    ) -> None:  # fmt: skip
        super().__init__(seq, params)
        chains = (sampler if i == 0 else sampler.reset_copy() for i in range(params.n_sequences))
        self.answers = [
            Answer(seq, params, chain, tokenizer, self.max_tokens, i, tools, reasoning)
            for i, chain in enumerate(chains)
        ]

    @property
    def finished(self) -> bool:
        """Whether every completion has ended."""
        return None not in [answer.end for answer in self.answers]

    @property
    def text_seqs(self) -> Seq[Sequence]:
        """The sequences of unfinished completions; until their first token they share one."""
        return list({answer.seq: None for answer in self.answers if answer.end is None})

    @property
    def n_tokens(self) -> tuple[int, int, int]:
        """Prompt tokens, those of them found in the prefix cache, and tokens of all completions."""
        return self._n_prompt, self._n_cached, sum(len(answer.token_ids) for answer in self.answers)

    def free(self) -> None:
        """Free the blocks and state slots of all completions."""
        for answer in self.answers:
            answer.free()

    def expire(self) -> None:
        """End the unfinished completions."""
        for answer in self.answers:
            if answer.end is None:
                answer.expire()

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after a prefix-cache match; only the very last gives an output."""
        self._match_prefix()
        if self.prompt_logprobs is not None and not self.prompt_logprobs.is_whole:
            return self.prompt_logprobs.next_chunks(self.seq, budget)
        chunks: list[Chunk] = []
        for answer in {answer.seq: answer for answer in self.answers if answer.end is None}.values():
            if budget:
                for chunk in answer.next_chunks(budget):
                    budget -= chunk.n_tokens
                    chunks.append(chunk)
        return chunks

    def take(self, chunks: Seq[Chunk], rows: LogitRows) -> None:
        """Append to each completion; those that share the prompt's sequence get forks of it."""
        if self.prompt_logprobs is not None and not self.prompt_logprobs.is_whole:
            self.prompt_logprobs.take(chunks[0], rows)
            return
        end = 0
        for chunk in chunks:
            begin, end = end, end + chunk.n_outputs
            texts = [answer for answer in self.answers if answer.seq is chunk.seq] if chunk.n_outputs else []
            for other in texts[1:]:
                other.seq = chunk.fork()
            for answer in texts:
                answer.take(rows[begin:end], chunk.drafts)

    def settle(self) -> None:
        """Free finished completions; shift the context of those that fill it, if the params allow this."""
        for answer in self.answers:
            if answer.end is not None and answer.seq.n_computed:
                answer.free()
            elif self.params.context_shift:
                answer.make_room()

    def new_events(self) -> list[Event]:
        """Return the events of all completions since the last call, one completion after another."""
        return [event for answer in self.answers for event in answer.new_events()]

    def completion(self) -> Completion:
        """Return the completion so far, with the others if params.n is greater than 1."""
        ranked = self.params.is_ranked
        answers = sorted(self.answers, key=Answer.score, reverse=True) if ranked else self.answers
        found = [
            answer.completion(self._timings_of(answer), answer.score() if ranked else None)
            for answer in answers[: self.params.n]
        ]
        if self.prompt_logprobs is not None:
            found[0] = replace(found[0], prompt_logprobs=[None, *self.prompt_logprobs.found])
        return self._joined(found)

    def _timings_of(self, answer: Answer) -> Timings:
        timings = self._timings(len(answer.token_ids), answer.t_first, answer.t_last)
        return replace(timings, n_drafted=answer.n_drafted, n_accepted=answer.n_accepted)
