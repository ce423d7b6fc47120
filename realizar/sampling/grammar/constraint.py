"""Constraint: a sampler that keeps the tokens a grammar allows next; masks are computed while the model runs."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.errors import GrammarError
from realizar.sampling.grammar.compiled import Compiled, Mask, as_mask, reason, within
from realizar.sampling.grammar.worker import Job, Workers
from realizar.sampling.sampler import History

if TYPE_CHECKING:
    from llguidance import LLMatcher

T = TypeVar("T")


class Constraint:
    """A stateful sampler that follows one sequence through a grammar and keeps the tokens that are allowed next.

    `accept` starts the computation of the next mask in another thread; the next `apply` waits until it is done. After
    an error, every later call raises it again.

    Parameters
    ----------
    compiled : Compiled
        The grammar.
    workers : Workers, optional
        The threads, which may be shared with other constraints. They are started here if necessary.

    Raises
    ------
    GrammarError
        If no thread can be started.
    """

    def __init__(self, compiled: Compiled, workers: Workers | None = None) -> None:
        self._workers = Workers() if workers is None else workers
        self._workers.start()
        self._compiled = compiled
        self._matcher = compiled.matcher.deep_copy()  # 7 µs now; later it might wait for another mask
        self._over: Job[bool] | None = None
        self._mask: Job[bytes] | None = None
        self._error: GrammarError | None = None

    def __repr__(self) -> str:
        return f"the constraint {self._compiled.name!r}"

    def reset_copy(self) -> Constraint:
        """Return a constraint for the same grammar, at its start."""
        return Constraint(self._compiled, self._workers)

    def fork(self) -> Constraint:
        """Return a copy in the same state; only between `mask` and `advance`, when no computation runs."""
        other = copy(self)
        other._matcher = self._matcher.deep_copy()
        return other

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the tokens that are not allowed; raises the errors of `mask`."""
        token_filters.keep_bits(candidates, self.mask())

    def accept(self, candidates: Candidates, token_id: int) -> None:
        """Advance by a token; raises the errors of `advance`."""
        self.advance(token_id)

    def mask(self) -> Mask:
        """Return the tokens that are allowed next; waits for the computation.

        Returns
        -------
        uint32 [ceil(n_vocab / 32)]
            Bit i % 32 of word i // 32 is set if token i is allowed. End tokens are allowed if the text is complete.

        Raises
        ------
        GrammarError
            The mask took too long, or the grammar became too complex.
        """
        self._check()
        if self._mask is None:
            return self._compiled.mask
        bits = self._wait(self._mask)
        if self._matcher.is_error():
            message = f"{self._compiled.name}: the text cannot be continued: {reason(self._matcher)}"
            raise self._fail(GrammarError(message))
        return as_mask(bits, 32 * len(self._compiled.mask))

    def advance(self, token_id: int) -> None:
        """Advance by a token; if the mask did not allow it, `is_over` raises the error."""
        self._check()
        if self._mask is not None:
            self._wait(self._mask)  # usually done: only one thread at a time may use the matcher
        self._over = Job(partial(_consume, self._matcher, token_id))
        self._mask = Job(self._matcher.compute_bitmask)
        self._workers.submit_all((self._over, self._mask))

    @property
    def is_over(self) -> bool:
        """Whether the text is complete and nothing can follow it.

        Raises
        ------
        GrammarError
            The last token was not allowed, or took too long.
        """
        self._check()
        return self._over is not None and self._wait(self._over)

    def _wait(self, job: Job[T]) -> T:
        try:
            return within(self._compiled.step_s, job, self._compiled.name)
        except GrammarError as error:
            raise self._fail(error) from None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _fail(self, error: GrammarError) -> GrammarError:
        self._error = error
        return error


def _consume(matcher: LLMatcher, token: int) -> bool:
    """Advance by a token and return whether that ends the text; GrammarError if it is not allowed."""
    if not matcher.consume_token(token):
        raise GrammarError(f"token {token} is not allowed here: {reason(matcher)}")
    return bool(matcher.is_stopped())
