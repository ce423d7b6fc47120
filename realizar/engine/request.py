"""Requests: the state of a request to an engine: its sequences, what to compute next, and whether it is over."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import NO_BLOCK
from realizar.engine.output import Timings
from realizar.engine.preemption import Recomputed, blocks_to_come
from realizar.errors import RealizarError, RequestError, describe_exception
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.cache.sequence import Sequence
    from realizar.engine.output import Completion, Event
    from realizar.engine.preemption import PreemptionCost, Swapped
    from realizar.engine.scoring import PromptLogprobs
    from realizar.params import SamplingParams
    from realizar.runtime.adapters import AdapterSet


class Request(ABC):
    """The base of all requests: sequences in the cache, and how a request ends.

    Parameters
    ----------
    seq : Sequence
        Its prompt.
    n_max : int
        Maximum number of tokens that it has in the cache.

    Attributes
    ----------
    output : str
        The output of the program that the request reads.
    program : str | None
        The program that computes it; by default the main one, after the encoder if the model has one.
    n_seqs_max : int
        Maximum number of its sequences at once.
    deadline : float
        Time at which it ends, finished or not, by `time.perf_counter`; none by default.
    is_paused : bool
        Whether it is not computed until its events are read.
    priority : int
        Requests with a higher priority are served first.
    number : int
        Its number in order of arrival.
    n_passed : int
        Number of later requests that were admitted before it.
    error : BaseException | None
        The error that ended it.
    adapters : AdapterSet | None
        Those of its sequences, held here so that the runner finds them by their number.
    """

    output = "logits"
    program: str | None = None
    n_seqs_max = 1
    deadline = math.inf
    is_paused = False
    priority = 0
    number = 0
    adapters: AdapterSet | None = None

    def __init__(self, seq: Sequence, n_max: int) -> None:
        self.seq = seq
        self._has_encoder_input = len(seq.encoder_tokens) > 0
        self.n_max = min(n_max, seq.cache.n_ctx)
        self.cancelled = False
        self.n_passed = 0
        self._recomputed: Recomputed | None = None
        self._swapped: Swapped | None = None
        self._n_swapped = 0
        self.error: BaseException | None = None

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether it is complete."""

    @property
    def is_over(self) -> bool:
        """Whether it is complete, cancelled or failed."""
        return self.finished or self.cancelled or self.error is not None

    def cancel(self) -> None:
        """Cancel the request. Any thread may call this; the next step frees its memory."""
        self.cancelled = True

    def fail(self, error: BaseException, what: str = "a request's own code") -> None:
        """End it with an exception of its own code (a sampler, for example); other requests continue.

        A RealizarError is kept as it is, and so are KeyboardInterrupt and SystemExit, which are raised in the thread
        that waits for the request. Any other exception becomes the cause of a RequestError.

        If the main thread steps (`Engine.step`), KeyboardInterrupt and SystemExit are raised at once: they most likely
        come from a signal handler and have nothing to do with the request.
        """
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise error
        if isinstance(error, Exception) and not isinstance(error, RealizarError):
            cause, error = error, RequestError(f"{what} failed: {describe_exception(error)}")
            error.__cause__ = cause
        if self.error is None:
            self.error = error

    def expire(self) -> None:
        """End it with the tokens it has; called when its deadline has passed."""
        self.cancel()

    @property
    def n_tokens(self) -> tuple[int, int, int]:
        """Prompt tokens, those of them found in the prefix cache, and generated tokens."""
        return 0, 0, 0

    def new_events(self) -> list[Event]:
        """Return the events since the last call."""
        return []

    def result(self) -> Completion | None:
        """Return the completion so far; None for requests without text."""
        return None

    @property
    def text_seqs(self) -> Seq[Sequence]:
        """The sequences of unfinished completions; each may be computed with others (`Sequence.together`)."""
        return (self.seq,)

    @property
    def seqs(self) -> list[Sequence]:
        """The sequences that are still computed."""
        return [seq for text in self.text_seqs for seq in text.together]

    @property
    def is_prefilling(self) -> bool:
        """Whether some of its sequences lack more than their last token."""
        for text in self.text_seqs:
            for seq in text.together:
                if seq.n_new > 1:
                    return True
        return False

    def blocks_needed(self) -> list[int]:
        """Blocks of each cache group that the request holds at most."""
        return self.seq.cache.blocks_needed(self.n_max, len(self.seq.encoder_tokens))

    def free(self) -> None:
        """Free its blocks and state slots."""
        self.seq.free()

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: requests are served in ascending order."""
        return -self.priority, self.number

    def blocks_to_come(self) -> list[int]:
        """Maximum number of blocks of each cache group that computing its present tokens allocates."""
        most = self.blocks_needed()
        if self._swapped is not None:
            n_seqs = len(self.seqs)
            return [min(n + n_seqs, m) for n, m in zip(self._swapped.n_blocks, most, strict=True)]
        n = sum(blocks_to_come(seq) for seq in self.seqs)
        cross = 0 if self._reads.encoder_computed else -(-len(self._reads.encoder_tokens) // BLOCK)
        return [min(cross if is_cross else n, m) for is_cross, m in zip(self.seq.cache.cross, most, strict=True)]

    @property
    def _reads(self) -> Sequence:
        """The sequence that reads the encoder input, if there is one, for all."""
        return self._recomputed.first if self._recomputed is not None else (self.text_seqs or (self.seq,))[0]

    def encoder_chunk(self) -> Chunk | None:
        """Return the encoder input as a chunk without outputs; None if there is none or it is computed."""
        if not self._has_encoder_input:
            return None
        seq = self._reads
        return None if seq.encoder_computed else Chunk(seq, len(seq.encoder_tokens), 0, is_encoder_input=True)

    def held_blocks(self, group: int) -> list[int]:
        """Return the blocks of a cache group that `free` would release, once for each reference."""
        seqs = self.seqs + ([] if self._recomputed is None else self._recomputed.trunks)
        return [block for seq in seqs for block in seq.tables[group] if block != NO_BLOCK]

    def next_or_recomputed(self, budget: int) -> list[Chunk]:
        """Return the next chunks: first those that a preemption discarded, then `next_chunks`."""
        if self._recomputed is not None:
            chunks = self._recomputed.next_chunks(budget)
            if not self._recomputed.is_done:
                return chunks
            self._recomputed = None
        return self.next_chunks(budget)

    def preempt(self, cost: PreemptionCost) -> None:
        """Free its cache blocks until `resume`."""
        seqs, cache = self.seqs, self.seq.cache
        held = [len(set(self.held_blocks(group))) for group in range(len(cache.pools))]
        n_bytes = cost.n_bytes(held, sum(seq.slot is not None for seq in seqs))
        n_tokens = sum(seq.n_computed for seq in seqs)
        if self._recomputed is None and n_tokens and cost.prefers_copy(n_tokens, n_bytes):
            self._swapped, self._n_swapped = cost.copied(cache, seqs), n_bytes
            cost.n_bytes_kept += n_bytes
            self.free()
        else:
            self.recompute()

    def recompute(self) -> None:
        """Free its sequences, which are then computed again; what they have in common once."""
        n = len(self.seqs)
        if self._recomputed is not None:
            self._recomputed.free()
        self.free()
        self._recomputed = Recomputed(self.text_seqs) if n > 1 else None

    def resume(self, cost: PreemptionCost) -> None:
        """Start, or continue after a preemption; there must be room for `blocks_to_come`."""
        if self._swapped is not None:
            self._swapped.restore()
            self._forget_copy(cost)

    def _forget_copy(self, cost: PreemptionCost) -> None:
        if self._swapped is not None:
            cost.n_bytes_kept -= self._n_swapped
            self._swapped = None

    def release(self, cost: PreemptionCost) -> None:
        """Free everything it holds; called when it is over."""
        if self._recomputed is not None:
            self._recomputed.free()
        self._forget_copy(cost)
        self.free()

    @abstractmethod
    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next chunks: tokens of one or several sequences, at most `budget` in all.

        There are none if several tokens must be computed together and the budget is too small for them. After a step
        that failed, the next call returns the same chunks.
        """

    def settle(self) -> None:  # noqa: B027 - most have nothing to do
        """Prepare the sequences for the next step; called after the chunks are committed."""

    @abstractmethod
    def take(self, chunks: Seq[Chunk], rows: Any) -> None:
        """Use the outputs of some chunks, which are committed afterwards.

        Parameters
        ----------
        chunks : sequence of Chunk
            What `next_chunks` or `encoder_chunk` returned.
        rows : LogitRows [n_outputs, n_vocab], or float32 [n_outputs, n]
            The outputs of the chunks, at least one, in their order: LogitRows of "logits", else an array. Valid during
            the call.
        """


class TextRequest(Request):
    """A prompt with one or several completions.

    Parameters
    ----------
    seq : Sequence
        The prompt; with an encoder, the decoder's first tokens.
    params : SamplingParams

    Attributes
    ----------
    prompt_text : str | None
        The text that was tokenized to the prompt, if it was text.
    prompt_logprobs : PromptLogprobs | None
        Logprobs of the prompt tokens, if requested; these need the whole prompt to be computed.
    """

    prompt_text: str | None = None
    prompt_logprobs: PromptLogprobs | None = None

    def __init__(self, seq: Sequence, params: SamplingParams) -> None:
        self.params = params
        most = 2**31 - 1 if params.context_shift else seq.cache.n_ctx
        self.max_tokens = most if params.max_tokens is None else params.max_tokens
        super().__init__(seq, seq.n_tokens + self.max_tokens - 1)
        self.n_seqs_max = params.n_sequences * len(seq.together)
        if params.max_time is not None:
            self.deadline = time.perf_counter() + params.max_time
        self._n_prompts = [own.n_tokens for own in seq.together]
        self._n_prompt = len(seq.encoder_tokens) or seq.n_tokens
        self._prompt_ids = (seq.encoder_tokens if len(seq.encoder_tokens) else seq.tokens).copy()
        self._n_cached = 0
        self._has_begun = False
        self._t_begin = 0.0

    def blocks_needed(self) -> list[int]:
        """Maximum number of blocks of each cache group that its sequences hold."""
        cache, n_encoder, n_seqs = self.seq.cache, len(self.seq.encoder_tokens), self.params.n_sequences
        each = (
            cache.blocks_needed(min(n + self.max_tokens - 1, cache.n_ctx), n_encoder, n_seqs, n)
            for n in self._n_prompts
        )
        return [sum(needed) for needed in zip(*each, strict=True)]

    def encoder_chunk(self) -> Chunk | None:
        """Return the encoder input, once."""
        chunk = super().encoder_chunk()
        if chunk is not None:
            self._t_begin = self._t_begin or time.perf_counter()
        return chunk

    def _match_prefix(self) -> None:
        """Match the prefix cache for sequences of which nothing is computed."""
        fresh = [seq for seq in self.text_seqs if not seq.n_computed]
        if not fresh:
            return
        self._t_begin = self._t_begin or time.perf_counter()
        if self.prompt_logprobs is None:
            for seq in fresh:
                seq.match_prefix()
        if not self._has_begun:
            self._has_begun, self._n_cached = True, self.seq.n_cached

    @property
    def is_reading(self) -> bool:
        """Whether the logprobs of the prompt are incomplete; generation begins after them."""
        return self.prompt_logprobs is not None and not self.prompt_logprobs.is_whole

    def histories(self, chunks: Seq[Chunk]) -> list[npt.NDArray[np.int32]]:
        """Return the tokens of the sequences that get a token in this step."""
        return [chunk.seq.history for chunk in chunks if chunk.n_outputs]

    def _timings(self, n_generated: int, t_first: float, t_last: float) -> Timings:
        """Return the timings of a completion with its first and last token at these times (0: none yet)."""
        prefill_s = t_first - self._t_begin if t_first else 0.0
        return Timings(self._n_prompt, self._n_cached, n_generated, prefill_s, t_last - t_first)

    def _joined(self, completions: Seq[Completion]) -> Completion:
        """Return the first of the completions with the others, all with the prompt and the id of the request."""
        ids = self._prompt_ids.tolist()
        first, *others = (
            replace(each, prompt=self.prompt_text, prompt_token_ids=ids, request_id=str(self.number))
            for each in completions
        )
        return replace(first, others=tuple(others)) if others else first

    def result(self) -> Completion:
        """Return the completion so far."""
        return self.completion()

    @abstractmethod
    def completion(self) -> Completion:
        """Return the completion so far, with the others if params.n is greater than 1."""
