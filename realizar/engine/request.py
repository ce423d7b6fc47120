"""Request: what was asked of an engine; its sequences, what to compute of them next, and whether it is over."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from realizar.engine.sequence import Chunk
from realizar.errors import RealizarError, RequestError, told

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    from realizar.engine.sequence import Sequence



class Request(ABC):
    """What every request has: sequences that live in the cache, and a way to end.

    Parameters
    ----------
    seq : Sequence
        Its prompt.
    n_max : int
        Tokens that the cache has to hold for it at most.

    Attributes
    ----------
    output : str
        Which value of the program the request goes on with.
    n_seqs_max : int
        Sequences that it may come to have at once.
    deadline : float
        When it is to end, done or not, by `time.perf_counter`; endless by default.
    error : BaseException | None
        Why it ended before its time: what whoever waits for it is to be told.
    """

    output = "logits"
    n_seqs_max = 1
    deadline = math.inf

    def __init__(self, seq: Sequence, n_max: int) -> None:
        self.seq = seq
        self.n_max = min(n_max, seq.cache.n_ctx)
        self.cancelled = False
        self.error: BaseException | None = None

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether all that was asked for has come."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished or self.cancelled or self.error is not None

    def cancel(self) -> None:
        """Give the request up. Any thread may; the next step gives its memory back."""
        self.cancelled = True

    def fail(self, error: BaseException, what: str = "a request's own code") -> None:
        """End it by an exception that came out of its own code (a sampler, say), and leave all others alone.

        A RealizarError is kept as it is, and so is what is no Exception: KeyboardInterrupt and SystemExit are raised in
        the thread that waits for the request. All else becomes the cause of a RequestError.

        Where the main thread steps (`Engine.step`), what is no Exception is raised at once: a signal handler's, most
        likely, which has nothing to do with the request.
        """
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise error
        if isinstance(error, Exception) and not isinstance(error, RealizarError):
            cause, error = error, RequestError(f"{what} failed: {told(error)}")
            error.__cause__ = cause
        if self.error is None:
            self.error = error

    def expire(self) -> None:
        """End it, as far as it has come; called where its deadline has passed."""
        self.cancel()

    @property
    def seqs(self) -> Seq[Sequence]:
        """The sequences that are still computed."""
        return (self.seq,)

    @property
    def is_prefilling(self) -> bool:
        """Whether some of its sequences lack more than their last token."""
        return any(seq.n_left > 1 for seq in self.seqs)

    def blocks_needed(self) -> list[int]:
        """Blocks of each cache group that the request holds at most."""
        return self.seq.cache.blocks_needed(self.n_max, len(self.seq.source))

    def free(self) -> None:
        """Give back what it holds of the cache."""
        self.seq.free()

    def source_chunk(self) -> Chunk:
        """Return the source as what to compute next; no output of it is wanted beside what is remembered."""
        return Chunk(self.seq, len(self.seq.source), 0, is_source=True)

    @abstractmethod
    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return what to compute next: some tokens of one sequence or several, in all at most `budget`.

        At least 1, or none where several must be computed together and the budget is too small for that. It may be
        asked again for the same ones, if a step was interrupted.
        """

    def settle(self) -> None:  # noqa: B027 - most have nothing to do
        """Make the sequences ready for the next step; called when the chunks of one are committed."""

    @abstractmethod
    def take(self, chunks: Seq[Chunk], rows: Any) -> None:
        """Go on with the outputs of some chunks, which are committed afterwards.

        Parameters
        ----------
        chunks : sequence of Chunk
            What `next_chunks` or `source_chunk` returned.
        rows : LogitRows [n_outputs, n_vocab], or float32 [n_outputs, n]
            The outputs of the chunks, at least one, in their order: LogitRows of "logits", else an array. Valid during
            the call.
        """
