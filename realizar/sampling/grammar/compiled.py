"""Compiled: a grammar compiled by llguidance, which any number of sequences can follow."""

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

from realizar.errors import GrammarError, MissingExtraError, RealizarError
from realizar.sampling.grammar.worker import Job, Workers

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

COMPILE_S = 5.0
"""Limit for compiling a grammar, in seconds; usual grammars take milliseconds."""
STEP_S = 0.05
"""Limit for one mask, in seconds."""
MAX_SYMBOLS = 65_525
"""llguidance's limit on the symbols of a grammar, which it numbers with 16 bits."""
MAX_PARSER_ITEMS = 1_000_000
"""Limit on llguidance's parser items for one text; the time limit for a mask is reached first."""

_EXCERPT = re.compile(r"\n\s*\d+ \| .*|<state>.*|<non-verbose/>|<backtrace>.*", re.DOTALL)
_UNDECIDED = "Unable to determine if regex is empty"
_TOO_LARGE = re.compile(r"(panic: assertion failed: grammar\.symbols|grammar size \(number of symbols).*", re.DOTALL)
_PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")

T = TypeVar("T")
Mask = NDArray[np.uint32]


class OutOfTimeError(RealizarError):
    """The time of a request ended while its constraint was compiled.

    Parameters
    ----------
    name : str
        The parameter that contained the grammar.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: max_time ended before it was compiled; make it smaller, or allow more time")


@dataclass(frozen=True)
class Compiled:
    """A grammar at its start.

    Attributes
    ----------
    name : str
        The parameter that contained it.
    matcher : LLMatcher
        Only to be copied. All copies share the cache of llguidance's lexer, and its lock.
    mask : uint32 [ceil(n_vocab / 32)]
        The tokens allowed first.
    step_s : float
        Limit for one mask, in seconds of CPU time.
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
        """Compile a grammar in llguidance's Lark, in a thread that is abandoned if it takes too long.

        Parameters
        ----------
        prepare : callable
            Returns the model's tokens and the grammar in llguidance's Lark; called in the thread.
        n_vocab : int
            Number of token ids of the model.
        name : str
            The parameter that contained it.
        explain : callable
            Converts llguidance's reason for rejecting the grammar to our error message.
        step_s : float
            Limit for one mask, in seconds of CPU time.
        wall_s : float
            Remaining time of the request, in seconds (`max_time`).

        Raises
        ------
        GrammarError
            llguidance rejects the grammar, it takes too long, or no text can match it.
        OutOfTimeError
            It is not compiled within `wall_s`. The thread continues; the vocabulary that it prepares is kept.
        MissingExtraError
            llguidance is not installed.
        """
        _need_llguidance(name)
        t_end = time.monotonic() + wall_s
        worker = Workers(n_threads=1)  # a separate thread, because this may take seconds
        worker.start()
        vocabulary, grammar = _prepared(worker.submit(prepare), name, wall_s)
        matcher = within(
            COMPILE_S, worker.submit(partial(_matcher, vocabulary, grammar)), name, t_end - time.monotonic()
        )
        if matcher.is_error():
            raise GrammarError(explain(reason(matcher)))
        bits = within(step_s, worker.submit(matcher.compute_bitmask), name, t_end - time.monotonic())
        if matcher.is_error():  # no token is allowed, for example root ::= root
            raise GrammarError(explain("no text can match it"))
        return cls(name, matcher, as_mask(bits, n_vocab), step_s)


def _need_llguidance(name: str) -> None:
    """Raise MissingExtraError if llguidance is not installed."""
    try:
        import llguidance  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: structured output needs llguidance, which realizar's wheels for musl (Alpine) do not require "
            f"because it has none: pip install 'llguidance>=1.9,<2', which needs a Rust compiler ({error})"
        ) from None


def within(limit_s: float, job: Job[T], name: str, wall_s: float = math.inf) -> T:
    """Return the result of a job.

    Raises
    ------
    GrammarError
        The job failed or took more than `limit_s`; the error names the parameter.
    OutOfTimeError
        The job is not done within `wall_s`.
    """
    t_end = time.monotonic() + wall_s
    try:
        return job.result(limit_s, wall_s)
    except TimeoutError:
        job.abandon()
        if time.monotonic() >= t_end:
            raise OutOfTimeError(name) from None
        message = f"needs more than {1e3 * limit_s:g} ms for one step; make it less ambiguous, or smaller"
    except GrammarError as error:
        message = str(error)
    except Exception as error:
        message = f"failed inside llguidance: {error}"
    raise GrammarError(f"{name}: {message}")


def _prepared(job: Job[T], name: str, wall_s: float) -> T:
    """Return the result of a Python job, which has its own limits; OutOfTimeError as for `within`."""
    try:
        return job.result(math.inf, wall_s)
    except TimeoutError:
        job.abandon()
        raise OutOfTimeError(name) from None
    except RuntimeError as error:  # nested too deeply, or forked
        raise GrammarError(f"{name}: {error}") from error


def as_mask(bits: bytes, n_vocab: int) -> Mask:
    """Return llguidance's mask, one bit per token, as uint32 [ceil(n_vocab / 32)]."""
    return np.frombuffer(bits, np.uint32)[: -(-n_vocab // 32)]


def reason(matcher: LLMatcher) -> str:
    """Return the reason for which a matcher failed, on one line, without its internal state and our Lark."""
    text = " ".join(_PLACE.sub("", _EXCERPT.sub("", matcher.get_error())).split())
    if text.startswith(_UNDECIDED):  # followed by the whole expression
        return "llguidance cannot decide whether a text matches; make strings shorter, or omit pattern beside enum"
    text = _TOO_LARGE.sub(f"it has more than {MAX_SYMBOLS} symbols; make it smaller", text)
    return text if len(text) <= 300 else text[:297] + "..."


def _matcher(vocabulary: LLTokenizer, grammar: str) -> LLMatcher:
    from llguidance import LLMatcher, LLParserLimits

    text = LLMatcher.grammar_from_lark(grammar)
    limits = LLParserLimits(verbose_errors=False, max_items_in_row=MAX_PARSER_ITEMS, step_max_items=MAX_PARSER_ITEMS)
    return LLMatcher(vocabulary, text, log_level=0, limits=limits)
