"""Compiled: a grammar that llguidance has read, ready to be followed by any number of texts."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from realizar.errors import GrammarError, RealizarError
from realizar.sampling.grammar.worker import Job, Workers

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

COMPILE_S = 5.0
"""Seconds that reading a grammar may take; those of people take milliseconds."""
STEP_S = 0.05
"""Seconds that one mask may take."""
MAX_SYMBOLS = 65_525
"""What a grammar may be made of in llguidance, which numbers it with 16 bits."""
MAX_PLACES = 1_000_000
"""Places of a grammar that a text may be at together; before that many are reached the time for a mask is over."""

_EXCERPT = re.compile(r"\n\s*\d+ \| .*|<state>.*|<non-verbose/>|<backtrace>.*", re.DOTALL)
_TOO_LARGE = re.compile(r"(panic: assertion failed: grammar\.symbols|grammar size \(number of symbols).*", re.DOTALL)
_PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")

T = TypeVar("T")
Mask = NDArray[np.uint32]


class OutOfTimeError(RealizarError):
    """The time of a request is over while its constraint is read.

    Parameters
    ----------
    name : str
        The parameter that it comes from.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: max_time was over before it was read; make it smaller, or give it more time")


@dataclass(frozen=True)
class Compiled:
    """A grammar at its start.

    Attributes
    ----------
    name : str
        The parameter that it came from.
    matcher : LLMatcher
        Only to be copied. All copies share what llguidance's lexer has learned, and a lock on it.
    mask : uint32 [ceil(n_vocab / 32)]
        The tokens that a text may begin with.
    step_s : float
        Seconds of processor time that a mask may take.
    """

    name: str
    matcher: LLMatcher
    mask: Mask
    step_s: float

    @classmethod
    def read(
        cls, prepare: Callable[[], tuple[LLTokenizer, str]], n_vocab: int, name: str = "grammar",
        explain: Callable[[str], str] = str, step_s: float = STEP_S, wall_s: float = math.inf,
    ) -> Compiled:  # fmt: skip
        """Read a grammar, in a thread that is left behind if it takes too long.

        Parameters
        ----------
        prepare : callable
            Returns the model's tokens and the grammar in llguidance's Lark; called in the thread.
        n_vocab : int
            Token ids of the model.
        name : str
            The parameter that it comes from.
        explain : callable
            From llguidance's reason for refusing the grammar to the text of the error.
        step_s : float
            Seconds of processor time that a mask may take.
        wall_s : float
            Seconds that its request has (`max_time`).

        Raises
        ------
        GrammarError
            The grammar is refused, or no text can match it.
        OutOfTimeError
            It is not read after `wall_s`. The thread goes on alone; of what it makes, the model's tokens are kept.
        """
        t_end = time.monotonic() + wall_s
        worker = Workers(n_threads=1)  # of its own: this may take seconds
        worker.start()
        vocabulary, grammar = _prepared(worker.submit(prepare), name, wall_s)
        matcher = within(
            COMPILE_S, worker.submit(partial(_matcher, vocabulary, grammar)), name, t_end - time.monotonic()
        )
        if matcher.is_error():
            raise GrammarError(explain(reason(matcher)))
        bits = within(step_s, worker.submit(matcher.compute_bitmask), name, t_end - time.monotonic())
        if matcher.is_error():  # a dead end at once, as root ::= root
            raise GrammarError(explain("no text can match it"))
        return cls(name, matcher, as_mask(bits, n_vocab), step_s)


def within(limit_s: float, job: Job[T], name: str, wall_s: float = math.inf) -> T:
    """Return what a job returns.

    Raises
    ------
    GrammarError
        It fails, or takes more than `limit_s`; the error has the name of the parameter.
    OutOfTimeError
        It is not done after `wall_s`.
    """
    t_end = time.monotonic() + wall_s
    try:
        return job.result(limit_s, wall_s)
    except TimeoutError:
        job.give_up()
        if time.monotonic() >= t_end:
            raise OutOfTimeError(name) from None
        message = f"needs more than {1e3 * limit_s:g} ms for one step; make it less ambiguous, or smaller"
    except GrammarError as error:
        message = str(error)
    except Exception as error:
        message = f"failed inside llguidance: {error}"
    raise GrammarError(f"{name}: {message}")


def _prepared(job: Job[T], name: str, wall_s: float) -> T:
    """Return what a job in Python returns, which has limits of its own; OutOfTimeError as `within`."""
    try:
        return job.result(math.inf, wall_s)
    except TimeoutError:
        job.give_up()
        raise OutOfTimeError(name) from None
    except RuntimeError as error:  # nested too deeply, or forked
        raise GrammarError(f"{name}: {error}") from error


def as_mask(bits: bytes, n_vocab: int) -> Mask:
    """Return llguidance's bits, one for each token, as uint32 [ceil(n_vocab / 32)]."""
    return np.frombuffer(bits, np.uint32)[: -(-n_vocab // 32)]


def reason(matcher: LLMatcher) -> str:
    """Return why a matcher failed, on one line, without its inner state and our Lark."""
    text = " ".join(_PLACE.sub("", _EXCERPT.sub("", matcher.get_error())).split())
    text = _TOO_LARGE.sub(f"it is made of more than {MAX_SYMBOLS} symbols; make it smaller", text)
    return text if len(text) <= 300 else text[:297] + "..."


def _matcher(vocabulary: LLTokenizer, grammar: str) -> LLMatcher:
    from llguidance import LLMatcher, LLParserLimits

    text = LLMatcher.grammar_from_lark(grammar)
    limits = LLParserLimits(verbose_errors=False, max_items_in_row=MAX_PLACES, step_max_items=MAX_PLACES)
    return LLMatcher(vocabulary, text, log_level=0, limits=limits)
