"""Answer: one text that is being written, token by token, and why it ended."""

from __future__ import annotations

import math
import time
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING

from realizar.engine.completion import Completion
from realizar.engine.sequence import NO_DRAFTS, Chunk
from realizar.sampling import StopFilter
from realizar.sampling.beam import score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.calls import ToolUse
    from realizar.engine.completion import FinishReason, Timings
    from realizar.engine.sequence import Sequence
    from realizar.engine.speculation.guess import Drafter
    from realizar.params import SamplingParams
    from realizar.runtime.logit_rows import LogitRow, LogitRows
    from realizar.sampling import Sampled, SamplerChain
    from realizar.tokenizer import Tokenizer



def end_ids(params: SamplingParams, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that end a text."""
    return frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else tokenizer.eog_ids)


def ended_by(token: int, params: SamplingParams) -> FinishReason:
    """Return the reason that a token of `end_ids` is for a text to end."""
    return "stop_token" if token in params.stop_token_ids else "eos"


class Answer:
    """A text behind a prompt.

    Parameters
    ----------
    seq : Sequence
        The prompt; behind a source, what the answer begins with.
    params : SamplingParams
    sampler : SamplerChain
        Chooses the tokens.
    tokenizer : Tokenizer
        Turns tokens into text and knows which ones end it.
    max_tokens : int
        Tokens that it may have.
    number : int
        Which of the texts behind the prompt this is; each draws other numbers.
    tools : ToolUse, optional
        What it may call.

    Attributes
    ----------
    pieces : deque of str
        Text that nobody has fetched yet.
    token_ids : list of int
        The tokens chosen, the one that ended the text included.
    logprobs : list of Sampled
        Those of the tokens, if the params ask for them.
    end : (reason, stop) | None
        As Completion's finish_reason and stop_reason; None while the text goes on.
    drafter : Drafter | None
        What guesses about the text go by; None if there are none.
    drafts : int32 [n]
        Tokens that the next step computes along with the last one: guesses of what follows.
    n_drafted, n_accepted : int
        Drafts that were computed; those of them that the text followed.
    t_first, t_last : float
        When the first and the last token came, by `time.perf_counter`; 0 before.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, sampler: SamplerChain, tokenizer: Tokenizer, max_tokens: int,
        number: int = 0, tools: ToolUse | None = None,
    ) -> None:  # fmt: skip
        self.seq = seq
        self.params = params
        self.pieces: deque[str] = deque()
        self.token_ids: list[int] = []
        self.logprobs: list[Sampled] = []
        self.end: tuple[FinishReason, int | str | None] | None = None
        self.drafter: Drafter | None = None
        self.drafts = NO_DRAFTS
        self.n_drafted = self.n_accepted = 0
        self.t_first = self.t_last = 0.0
        self._sampler = sampler
        self._max_tokens = max_tokens
        self._number = number
        self._calls = None if tools is None else tools.reader(seq.tokens)
        self._stops = StopFilter(params.stop)
        self._end_ids = end_ids(params, tokenizer)
        self._text: list[str] = []
        shown = frozenset() if tools is None else tools.shown
        if params.echo:
            self._decoder = tokenizer.stream(shown=shown)
            self._add("".join(map(self._decoder.push, seq.tokens.tolist())))
        else:
            last = None if len(seq.source) else int(seq.tokens[-1])
            self._decoder = tokenizer.stream(after=last, n_known=sampler.n_known, shown=shown)

    @property
    def n_left(self) -> int:
        """Tokens that there is room for, in max_tokens and the context."""
        return min(self._max_tokens - len(self.token_ids), self.seq.cache.n_ctx + 1 - self.seq.n_tokens)

    @property
    def may_draft(self) -> bool:
        """Whether drafts of it can be computed in the next step: it has begun, and lacks its last token alone."""
        return self.drafter is not None and self.end is None and bool(self.token_ids) and self.seq.n_left == 1

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, at most `budget`; the very last gives an output, and so does each draft behind it."""
        chunks = self.seq.chunks(budget)
        drafts = self.drafts[: budget - 1]
        if len(drafts) and self.may_draft:
            (last,) = chunks
            n = len(drafts)
            return [last._replace(n_tokens=last.n_tokens + n, n_outputs=last.n_outputs + n, drafts=drafts)]
        return chunks

    def take(self, rows: LogitRows, drafts: npt.NDArray[np.int32] = NO_DRAFTS) -> None:
        """Go on by a token, and by one more for each draft that turns out right.

        Each is sampled as it would be without drafts, from the same logits behind the same tokens; the first one that
        is not as drafted makes the rows behind it void.

        Parameters
        ----------
        rows : LogitRows [1 + n_drafts, n_vocab]
        drafts : int32 [n_drafts]
        """
        n = len(self.token_ids)
        for row, draft in zip_longest(rows, drafts.tolist()):
            self._sample(row)
            if self.end is not None or self.token_ids[-1] != draft:
                break
        if self.drafter is not None:
            taken = self.token_ids[n:]
            self.drafter.learn(taken)
            self.drafts = NO_DRAFTS
            self.n_drafted += len(drafts)
            self.n_accepted += sum(token == draft for token, draft in zip(taken, drafts.tolist(), strict=False))

    def _sample(self, logits: LogitRow) -> None:
        """Sample a token, add it to the text, and see whether that ends it."""
        sampled = self._sampler.sample(logits, self.seq.tokens, self.seq.n_tokens, self._number)
        token = sampled.token_id
        if sampled.logprob is not None:
            self.logprobs.append(sampled)
        self.t_last = time.perf_counter()
        self.t_first = self.t_first or self.t_last
        self.token_ids.append(token)
        if token in self._end_ids:
            self._finish(ended_by(token, self.params), token)
            return
        self.seq.append(token)
        hit = self._emit(self._decoder.push(token))
        if hit is not None:
            self._finish("stop_string", hit)
        elif self._sampler.is_over:
            self._finish("grammar", None)
        elif len(self.token_ids) == self._max_tokens:
            self._finish("length", None)
        elif self.seq.is_full:
            self._finish("context", None)

    def expire(self) -> None:
        """End the text where it is, since its time is over."""
        self._finish("time", None)

    def _emit(self, piece: str) -> str | None:
        """Pass a piece on, less calls of tools; return the stop string it completed."""
        return self._show(piece if self._calls is None else self._calls.push(piece))

    def _show(self, piece: str) -> str | None:
        """Pass text on, less what may become a stop string; return the stop string it completed."""
        text, hit = self._stops.push(piece)
        self._add(text)
        return hit

    def _add(self, text: str) -> None:
        if text:
            self._text.append(text)
            self.pieces.append(text)

    def _finish(self, reason: FinishReason, stop: int | str | None) -> None:
        """End the text; what was held back, as half a character or half a stop string, comes out now."""
        if not isinstance(stop, str):
            rest = self._decoder.flush()
            if self._calls is not None:
                rest = self._calls.push(rest) + self._calls.flush()
            hit = self._show(rest)
            if hit is None:
                self._add(self._stops.flush())
            else:
                reason, stop = "stop_string", hit
        self.end = (reason, stop)
        del self._sampler  # its candidates are megabytes, and the answer may be kept

    def score(self) -> float:
        """What the text is ranked by; the sampler must have given the logprobs."""
        total = sum(sampled.logprob or 0.0 for sampled in self.logprobs)
        return score(total, len(self.logprobs), self.params.length_penalty) if self.logprobs else -math.inf

    def free(self) -> None:
        """Give back what it holds of the cache."""
        self.seq.free()
        if self.drafter is not None:
            self.drafter.free()

    def completion(self, timings: Timings, score: float | None = None) -> Completion:
        """Return the answer as far as it has come."""
        reason, stop = self.end or ("cancelled", None)
        calls = [] if self._calls is None else self._calls.calls()
        if calls and reason in ("eos", "grammar"):
            reason = "tool_calls"
        logprobs = None if self.params.logprobs is None else self.logprobs
        text = "".join(self._text)
        return Completion(text, self.token_ids, reason, stop, logprobs, timings, score, tool_calls=calls)
