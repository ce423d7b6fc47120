"""Constraint: which tokens may come next, computed while the model runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from realizar.errors import GrammarError
from realizar.sampling.grammar.worker import Job, Worker

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

COMPILE_S = 5.0
"""Seconds that reading a grammar may take; those of people take milliseconds."""
STEP_S = 0.05
"""Seconds that one mask may take."""

# Where only one text can follow, its tokens shall be the model's choice: llguidance would force those of the tokenizer,
# and that of a SentencePiece model puts a space in front.
_OPTIONS = '%llguidance {"no_forcing": true}'
_EXCERPT = re.compile(r"\n\s*\d+ \| .*|<state>.*|<non-verbose/>", re.DOTALL)
_PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")

T = TypeVar("T")
Mask = NDArray[np.uint32]


class Constraint:
    """Follows one text through a grammar.

    After `advance` the next mask is computed in a thread of the constraint's own; `mask` waits for what is left of it.
    An error ends the constraint: each later call raises it again.

    Parameters
    ----------
    vocabulary : LLTokenizer
        The model's tokens.
    grammar : str
        In llguidance's Lark.
    n_vocab : int
        Token ids of the model.
    explain : callable
        From llguidance's reason for refusing the grammar to the text of the error.
    step_s : float
        Seconds of processor time that a mask may take.

    Raises
    ------
    GrammarError
        The grammar is refused.
    """

    def __init__(
        self, vocabulary: LLTokenizer, grammar: str, n_vocab: int,
        explain: Callable[[str], str] = str, step_s: float = STEP_S,
    ) -> None:  # fmt: skip
        self._n_words = -(-n_vocab // 32)
        self._step_s = step_s
        self._error: GrammarError | None = None
        self._worker = Worker()
        self._matcher = self._wait(self._worker.submit(partial(_matcher, vocabulary, grammar)), COMPILE_S)
        if self._matcher.is_error():
            raise self._fail(explain(_reason(self._matcher)))
        self._over: Job[bool] = self._worker.submit(self._matcher.is_stopped)
        self._mask: Job[bytes] = self._worker.submit(self._matcher.compute_bitmask)
        self._wait(self._mask, self._step_s)
        if self._matcher.is_error():  # a dead end at once, as root ::= root
            raise self._fail(explain("no text can match it"))

    def mask(self) -> Mask:
        """Return the tokens that may come next, and wait for them if need be.

        Returns
        -------
        uint32 [ceil(n_vocab / 32)]
            Bit i % 32 of word i // 32 is set if token i may come; those that end a text may where the text is whole.

        Raises
        ------
        GrammarError
            The mask took too long or the grammar became too complex.
        """
        bits = self._wait(self._mask, self._step_s)
        if self._matcher.is_error():
            raise self._fail(f"the grammar cannot be followed further: {_reason(self._matcher)}")
        return np.frombuffer(bits, np.uint32)[: self._n_words]

    def advance(self, token: int) -> None:
        """Go on by a token; whether the mask allowed it shows in `is_over`."""
        if self._error is not None:
            raise self._error
        self._over = self._worker.submit(partial(_consume, self._matcher, token))
        self._mask = self._worker.submit(self._matcher.compute_bitmask)

    @property
    def is_over(self) -> bool:
        """Whether the text is whole and nothing can follow it.

        Raises
        ------
        GrammarError
            The last token is none that the mask allowed, or took too long.
        """
        return self._wait(self._over, self._step_s)

    def _wait(self, job: Job[T], limit_s: float) -> T:
        if self._error is not None:
            raise self._error
        try:
            return job.result(limit_s)
        except TimeoutError:
            raise self._fail(
                f"the grammar needs more than {1e3 * limit_s:g} ms for one step; make it less ambiguous or smaller"
            ) from None
        except GrammarError as error:
            raise self._fail(str(error)) from None
        except Exception as error:
            raise self._fail(f"the grammar failed inside llguidance: {error}") from None

    def _fail(self, message: str) -> GrammarError:
        self._error = GrammarError(message)
        self._worker.close()
        return self._error


def _matcher(vocabulary: LLTokenizer, grammar: str) -> LLMatcher:
    from llguidance import LLMatcher, LLParserLimits

    text = LLMatcher.grammar_from_lark(f"{_OPTIONS}\n{grammar}")
    return LLMatcher(vocabulary, text, log_level=0, limits=LLParserLimits(verbose_errors=False))


def _consume(matcher: LLMatcher, token: int) -> bool:
    """Go on by a token and return whether that is the end; GrammarError if it is not allowed."""
    if not matcher.consume_token(token):
        raise GrammarError(f"token {token} is not allowed here: {_reason(matcher)}")
    return bool(matcher.is_stopped())


def _reason(matcher: LLMatcher) -> str:
    """Return why a matcher failed, on one line, without its inner state and our Lark."""
    text = " ".join(_PLACE.sub("", _EXCERPT.sub("", matcher.get_error())).split())
    return text if len(text) <= 300 else text[:297] + "..."
