"""SamplerChain: samplers in order over one array of candidates, then a draw among those left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates
from realizar.errors import ParameterError, RealizarError, RequestError, shown, told
from realizar.params import SamplingParams, resolved
from realizar.runtime.logit_rows import LogitRow
from realizar.sampling.grammar import Constraint, ConstraintFactory
from realizar.sampling.logprobs import Sampled, best, load
from realizar.sampling.order import samplers
from realizar.sampling.sampler import Branching, History, Learner, Sampler
from realizar.sampling.setting import Setting
from realizar.sampling.texts import TokenTexts


class SamplerChain:
    """Chooses tokens for one request; for one thread at a time.

    Parameters
    ----------
    samplers : iterable of Sampler
        Applied in this order.
    n_vocab : int
        Logits of each token.
    seed : int
        Draws are a function of seed (its low 64 bits), position and draw number alone: Philox4x32-10, a counter-based
        generator. So the same logits give the same token whatever was sampled before or is sampled beside.
    logprobs : int | None
        How many of the model's best tokens to report with each choice; 0: the logprob of the choice alone; None: none.

    Attributes
    ----------
    n_known : int
        So many bytes of the first token's text are the prompt's (`token_healing`).
    """

    n_known = 0

    def __init__(self, samplers: Iterable[Sampler], n_vocab: int, seed: int, logprobs: int | None = None) -> None:
        self.samplers = tuple(samplers)
        self._begin()
        self.seed = seed & (2**64 - 1)
        self.logprobs = logprobs
        self._candidates = Candidates(n_vocab)

    @classmethod
    def from_params(
        cls, params: SamplingParams, n_vocab: int, seed: int, texts: TokenTexts | None = None, n_prompt: int = 0,
        end_ids: frozenset[int] = frozenset(), constraints: ConstraintFactory | None = None,
        known: bytes = b"", suppressed: tuple[int, ...] = (),
    ) -> SamplerChain:  # fmt: skip
        """Make the chain of these parameters; sampling/order.py says what is in it.

        Parameters
        ----------
        params : SamplingParams
            What is unset in them is as `params.sampling.DEFAULTS` says.
        n_vocab, seed : int
            As for the class.
        texts : TokenTexts, optional
            What the tokens add to a text; `bad_words` and `dry_sequence_breakers` need it.
        n_prompt : int
            Tokens in the history before the first one that is sampled.
        end_ids : frozenset of int
            Tokens that end the text.
        constraints : ConstraintFactory, optional
            Makes what keeps the text to a grammar.
        known : bytes
            What the text of the first token begins with (`token_healing`).
        suppressed : tuple of int
            Tokens that the model's file says are never to be sampled.

        Raises
        ------
        ParameterError, GrammarError, OutOfTimeError
            As `order.samplers`.
        """
        setting = Setting(n_vocab, texts, n_prompt, end_ids, constraints, known, suppressed)
        logprobs = 0 if params.logprobs is None and params.is_ranked else params.logprobs
        chain = cls(samplers(resolved(params), setting), n_vocab, seed, logprobs)
        chain.n_known = len(known)
        return chain

    def another(self) -> SamplerChain:
        """Return a chain of the same samplers for a text beside this one's; what learns begins anew."""
        other = copy(self)  # with the same candidates, which hold nothing between two choices
        other._begin()
        return other

    def fork(self) -> SamplerChain:
        """Return a chain for a text that goes its own way from here; what learns must be `Branching`."""
        other = copy(self)
        other._follow(_made(s, s.fork) if isinstance(s, Branching) else s for s in self._live)
        return other

    def _begin(self) -> None:
        """Take new ones of those samplers that follow one text."""
        self._follow(_made(s, s.fresh) if isinstance(s, Learner) else s for s in self.samplers)

    def _follow(self, live: Iterable[Sampler]) -> None:
        self._live = tuple(live)
        self._learners = tuple(s for s in self._live if isinstance(s, Learner))  # a slow question
        self._constraints = tuple(s for s in self._live if isinstance(s, Constraint))

    @property
    def is_over(self) -> bool:
        """Whether the text so far is whole and its grammar lets nothing follow; GrammarError ends it otherwise."""
        return any(constraint.is_over for constraint in self._constraints)

    def sample(self, logits: LogitRow | NDArray[np.float32], history: History, position: int, draw: int = 0) -> Sampled:
        """Choose the token at `position`.

        Parameters
        ----------
        logits : LogitRow or float32 [n_vocab]
            The model's logits; not changed.
        history : sequence of int, or int32 [position]
            The tokens before it, prompt included.
        position : int
            Where the token will stand in the text.
        draw : int
            Tells apart several draws at one position (answers side by side).

        Raises
        ------
        RealizarError
            If a logit is NaN or +inf, or all are -inf, or the samplers leave no candidate.
        RequestError
            If a sampler of a user or of a plugin fails.
        ParameterError
            If there are not n_vocab logits, or the history holds what is no token.
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
            raise RealizarError(f"no token can be chosen: {shown(last)} leaves none of those before it")
        token_id = candidates.draw()
        self.learn(token_id)
        if logprobs is None:
            return Sampled(token_id, None, [])
        normalizer, top = logprobs
        return Sampled(token_id, float(row.values[token_id]) - normalizer, top)

    def learn(self, token_id: int) -> None:
        """Let the samplers know which token was chosen, as `sample` does of itself."""
        for learner in self._learners:
            try:
                learner.learn(self._candidates, token_id)
            except RealizarError:
                raise
            except Exception as error:
                raise _failure(learner, error) from error

    def _apply(self, history: History, position: int) -> Sampler | None:
        """Let the samplers narrow the candidates; return the one that leaves none, if one does."""
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
        """Return the n best tokens for `position`, best first; fewer, or none, where samplers leave no more.

        Each with the logprob by which it is ranked: here the samplers change logprobs in place of logits, as those of
        transformers do in beam search, and the sum of the probabilities may differ from 1 behind them. The other
        parameters and the errors are as for `sample`; nothing is drawn.
        """
        row = _row(logits)
        candidates = self._candidates
        normalizer, top = self._load_with_logprobs(row) or (self._candidates.log_sum_exp(), [])
        load(candidates, LogitRow(row.values - np.float32(normalizer)))
        candidates.key(self.seed, position, 0)
        if self._apply(history, position) is not None:
            return []
        wanted = self.logprobs is not None
        return [
            (Sampled(token, float(row.values[token]) - normalizer if wanted else None, top), logprob)
            for token, logprob in candidates.ranked(n)
            if logprob > -np.inf
        ]

    def _load_with_logprobs(self, row: LogitRow) -> tuple[float, list[tuple[int, float]]] | None:
        """Load the candidates; return log(sum(exp(logits))) and the best tokens if logprobs are wanted."""
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
    return RequestError(f"samplers: {shown(sampler)} failed: {told(error)}")


def _made(sampler: Sampler, make: Callable[[], Sampler]) -> Sampler:
    """Return what a sampler makes for another text; RequestError if it fails."""
    try:
        return make()
    except RealizarError:
        raise
    except Exception as error:
        raise _failure(sampler, error) from error
