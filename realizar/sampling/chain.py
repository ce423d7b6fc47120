"""SamplerChain: applies samplers in order to the candidates, then draws one of the remaining ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates
from realizar.errors import ParameterError, RealizarError, RequestError, describe_exception, short_repr
from realizar.params import SamplingParams, resolved
from realizar.runtime.logit_rows import LogitRow
from realizar.sampling.context import SamplerContext
from realizar.sampling.grammar import Constraint, ConstraintFactory, OptionalPreamble, Preamble
from realizar.sampling.logprobs import Sampled, best, load
from realizar.sampling.order import samplers
from realizar.sampling.sampler import ForkableSampler, History, Sampler, StatefulSampler
from realizar.sampling.token_bytes import TokenBytes


class SamplerChain:
    """Chooses the tokens of one sequence. Not thread-safe.

    Parameters
    ----------
    samplers : iterable of Sampler
        Applied in this order.
    n_vocab : int
        Number of logits for each token.
    seed : int
        A random number depends only on the seed (its low 64 bits), the position and the draw number: Philox4x32-10, a
        counter-based generator. So the same logits give the same token, regardless of what was sampled before and of
        other sequences in the batch.
    logprobs : int | None
        Number of the model's most probable tokens to report with each chosen token; 0: only the logprob of the chosen
        token; None: no logprobs.

    Attributes
    ----------
    n_healed : int
        Number of leading bytes of the first token that belong to the prompt (`token_healing`).
    """

    n_healed = 0

    def __init__(self, samplers: Iterable[Sampler], n_vocab: int, seed: int, logprobs: int | None = None) -> None:
        self.samplers = tuple(samplers)
        self._reset()
        self.seed = seed & (2**64 - 1)
        self.logprobs = logprobs
        self._candidates = Candidates(n_vocab)

    @classmethod
    def from_params(
        cls, params: SamplingParams, n_vocab: int, seed: int, token_bytes: TokenBytes | None = None, n_prompt: int = 0,
        end_ids: frozenset[int] = frozenset(), constraints: ConstraintFactory | None = None,
        healed_prefix: bytes = b"", suppressed: tuple[int, ...] = (), preamble: Preamble | None = None,
    ) -> SamplerChain:  # fmt: skip
        """Make the chain for these parameters (see `order.samplers`).

        Parameters
        ----------
        params : SamplingParams
            Unset parameters get the values of `params.sampling.DEFAULTS`.
        n_vocab, seed : int
            As for the class.
        token_bytes : TokenBytes, optional
            The bytes of each token; required by `bad_words`, `dry_sequence_breakers` and a few others.
        n_prompt : int
            Number of tokens in the history before the first sampled one.
        end_ids : frozenset of int
            Tokens that end a completion.
        constraints : ConstraintFactory, optional
            Required for structured output.
        healed_prefix : bytes
            What the first token must begin with (`token_healing`).
        suppressed : tuple of int
            Tokens that must never be sampled, according to the model file.
        preamble : Preamble, optional
            What may precede the structured output.

        Raises
        ------
        ParameterError, GrammarError, OutOfTimeError
            See `order.samplers`.
        """
        context = SamplerContext(
            n_vocab, token_bytes, n_prompt, end_ids, constraints, healed_prefix, suppressed, preamble
        )
        logprobs = 0 if params.logprobs is None and params.is_ranked else params.logprobs
        chain = cls(samplers(resolved(params), context), n_vocab, seed, logprobs)
        chain.n_healed = len(healed_prefix)
        return chain

    def reset_copy(self) -> SamplerChain:
        """Return a chain of the same samplers for another sequence; stateful samplers are reset."""
        other = copy(self)  # shares the candidates, which hold no state between two tokens
        other._reset()
        return other

    def fork(self) -> SamplerChain:
        """Return a chain in the same state, for a sequence that diverges here; needs samplers that can fork."""
        other = copy(self)
        other._set_live(_copied(s, s.fork) if isinstance(s, ForkableSampler) else s for s in self._live)
        return other

    def _reset(self) -> None:
        """Reset the stateful samplers."""
        self._set_live(_copied(s, s.reset_copy) if isinstance(s, StatefulSampler) else s for s in self.samplers)

    def _set_live(self, live: Iterable[Sampler]) -> None:
        self._live = tuple(live)
        self._stateful = tuple(s for s in self._live if isinstance(s, StatefulSampler))  # cached: slow
        self._constraints = tuple(s for s in self._live if isinstance(s, (Constraint, OptionalPreamble)))

    @property
    def is_over(self) -> bool:
        """Whether a constraint is complete and allows no further token; raises GrammarError if it was violated."""
        return any(constraint.is_over for constraint in self._constraints)

    def sample(self, logits: LogitRow | NDArray[np.float32], history: History, position: int, draw: int = 0) -> Sampled:
        """Draw the token for `position`.

        Parameters
        ----------
        logits : LogitRow or float32 [n_vocab]
            The model's logits; not modified.
        history : sequence of int, or int32 [position]
            The tokens before this position, prompt included.
        position : int
            Position of the token in the sequence.
        draw : int
            Draw number, which gives parallel samples of one prompt different random numbers.

        Raises
        ------
        RealizarError
            If a logit is NaN or +inf, all are -inf, or the samplers remove all candidates.
        RequestError
            If a sampler of a user or a plugin fails.
        ParameterError
            If the number of logits is not n_vocab, or the history contains an invalid token id.
        """
        row = _row(logits)
        candidates = self._candidates
        try:
            logprobs = self._load_with_logprobs(row)
        except ValueError as error:
            raise ParameterError(f"sampling at position {position}: {error}") from None
        candidates.key(self.seed, position, draw)
        last = self._apply(history, position)
        if last is not None:
            raise RealizarError(f"no token can be chosen: {short_repr(last)} removes all remaining candidates")
        token_id = candidates.draw()
        self.accept(token_id)
        if logprobs is None:
            return Sampled(token_id, None, [])
        return Sampled.of(row, token_id, *logprobs)

    def accept(self, token_id: int) -> None:
        """Update the stateful samplers with a token chosen outside `sample`, which does this itself."""
        for sampler in self._stateful:
            try:
                sampler.accept(self._candidates, token_id)
            except RealizarError:
                raise
            except Exception as error:
                raise _failure(sampler, error) from error

    def _apply(self, history: History, position: int) -> Sampler | None:
        """Apply the samplers; return the one that removed the last candidate, or None."""
        for sampler in self._live:
            try:
                sampler.apply(self._candidates, history)
            except RealizarError:
                raise
            except Exception as error:
                if isinstance(error, ValueError) and type(sampler).__module__.startswith("realizar."):
                    raise ParameterError(f"sampling at position {position}: {error}") from None
                raise _failure(sampler, error) from error
            if self._candidates.is_empty:
                return sampler
        return None

    def rank(
        self, logits: LogitRow | NDArray[np.float32], history: History, position: int, n: int
    ) -> list[tuple[Sampled, float]]:
        """Return at most n tokens for `position` with their scores, best first; fewer if samplers remove candidates.

        A score is a logprob: here samplers change logprobs instead of logits, as in the beam search of transformers, so
        afterwards the probabilities may not sum to 1. Other parameters and errors: see `sample`. Nothing is drawn.
        """
        row = _row(logits)
        candidates = self._candidates
        normalizer, top = self._load_with_logprobs(row) or (self._candidates.log_sum_exp(), [])
        load(candidates, LogitRow(row.values - np.float32(normalizer)))
        candidates.key(self.seed, position, 0)
        if self._apply(history, position) is not None:
            return []
        with_logprobs = self.logprobs is not None
        return [
            (Sampled.of(row, token, normalizer, top) if with_logprobs else Sampled(token, None, top), logprob)
            for token, logprob in candidates.ranked(n)
            if logprob > -np.inf
        ]

    def _load_with_logprobs(self, row: LogitRow) -> tuple[float, list[tuple[int, float]]] | None:
        """Load the candidates; if logprobs are requested, return log(sum(exp(logits))) and the best tokens."""
        load(self._candidates, row)
        if self.logprobs is None:
            return None
        found = best(self._candidates, self.logprobs)
        if self.logprobs:
            load(self._candidates, row)
        return found


def _row(logits: LogitRow | NDArray[np.float32]) -> LogitRow:
    return logits if isinstance(logits, LogitRow) else LogitRow(np.ascontiguousarray(logits, np.float32))


def _failure(sampler: Sampler, error: Exception) -> RequestError:
    return RequestError(f"samplers: {short_repr(sampler)} failed: {describe_exception(error)}")


def _copied(sampler: Sampler, make: Callable[[], Sampler]) -> Sampler:
    """Call a method of a sampler that returns a copy; RequestError if it fails."""
    try:
        return make()
    except RealizarError:
        raise
    except Exception as error:
        raise _failure(sampler, error) from error
