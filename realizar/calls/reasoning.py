"""Reasoning: what a model thinks before it answers, separated from the answer while it is streamed."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Literal, NamedTuple

from realizar.sampling import StopFilter
from realizar.sampling.grammar import Preamble

if TYPE_CHECKING:
    from realizar.tokenizer import Tokenizer
    from realizar.tokenizer.stream import StreamDecoder


class ReasoningFormat(NamedTuple):
    """The markers around the reasoning of a model, without white space."""

    opening: str
    closing: str

    def state_after(self, prompt: str) -> ReasoningState:
        """Return where in the reasoning a completion begins that follows this prompt."""
        end = prompt.rstrip()
        return "open" if end.endswith(self.opening) else "closed" if end.endswith(self.closing) else "possible"

    def parse(self, text: str) -> tuple[str, str | None] | None:
        """Return the reasoning and the answer of a message; None without reasoning, and as an answer not begun."""
        begun = text.lstrip()
        if not begun.startswith(self.opening):
            return None
        reasoning, closing, answer = begun[len(self.opening) :].partition(self.closing)
        return (reasoning.strip(), answer.lstrip()) if closing else (reasoning.lstrip(), None)

    def write(self, reasoning: str, answer: str | None) -> str:
        """Return the text of a message; None as an answer that is not begun."""
        begun = f"{self.opening}\n{reasoning}"
        return begun if answer is None else f"{begun}\n{self.closing}\n\n{answer}"


ReasoningState = Literal["open", "possible", "closed"]
"""The prompt opened the reasoning; the completion may open it; the prompt closed it, or began the answer."""


class Reasoning(NamedTuple):
    """The reasoning that one completion may have."""

    markers: ReasoningFormat
    state: ReasoningState

    @property
    def preamble(self) -> Preamble | None:
        """What may precede the text that a constraint describes: the reasoning is free."""
        if self.state == "closed":
            return None
        return Preamble(*self.markers, is_open=self.state == "open")

    def hidden_ids(self, tokenizer: Tokenizer) -> frozenset[int]:
        """Return the control tokens of the markers, which are not part of a text."""
        return frozenset(part for text in self.markers for part in tokenizer.parts(text) if isinstance(part, int))


class ReasoningSplitter:
    """Splits a streamed completion into reasoning and answer; neither depends on how it is cut into pieces.

    Reasoning is recognized only at the beginning of a completion. White space around the markers belongs to neither.

    Parameters
    ----------
    reasoning : Reasoning or None
        None if the model has none: all is answer.

    Attributes
    ----------
    is_closed : bool
        Whether the reasoning was closed.
    """

    def __init__(self, reasoning: Reasoning | None) -> None:
        self._opening, self._closing = ("", "") if reasoning is None else reasoning.markers
        self._find_closing = StopFilter([self._closing] if self._closing else ())
        begin = {"open": "reasoning", "possible": "begin", "closed": "answer"}
        self._state = "answer" if reasoning is None else begin[reasoning.state]
        self._is_first = True
        self._held = ""
        self.is_closed = False

    @property
    def is_reasoning(self) -> bool:
        """Whether the completion is within the reasoning."""
        return self._state == "reasoning"

    @property
    def is_over(self) -> bool:
        """Whether all that follows is the answer, or white space before it."""
        return self._state in ("after", "answer")

    @property
    def is_answer(self) -> bool:
        """Whether the answer has begun."""
        return self._state == "answer"

    def fork(self) -> ReasoningSplitter:
        """Return a splitter of the same text, for another continuation."""
        forked = copy(self)
        forked._find_closing = copy(self._find_closing)
        return forked

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece; return new reasoning, and new text of the answer."""
        if self._state == "answer":
            return "", piece
        if self._state == "after":
            return "", self._after_space(piece)
        if self._state == "begin":
            return self._begin(self._held + piece)
        return self._reason(piece)

    def flush(self) -> tuple[str, str]:
        """End the completion; return what was held back, as `push` does."""
        held, self._held = self._held, ""
        if self._state == "begin":
            return "", held
        if self._state != "reasoning":
            return "", ""
        return (held + self._find_closing.flush()).rstrip(), ""

    def _begin(self, text: str) -> tuple[str, str]:
        """Look for a marker at the beginning; a closing one alone is reasoning of nothing."""
        begun = text.lstrip()
        if begun.startswith(self._opening):
            self._state, self._held = "reasoning", ""
            return self._reason(begun[len(self._opening) :])
        if begun.startswith(self._closing):
            return self._close(begun[len(self._closing) :])
        if self._opening.startswith(begun) or self._closing.startswith(begun):
            self._held = text
            return "", ""
        self._state, self._held = "answer", ""
        return "", text

    def _reason(self, piece: str) -> tuple[str, str]:
        text, hit = self._find_closing.push(piece)
        text = self._held + text
        if self._is_first:
            text = self._without_opening(text.lstrip())
        shown = "" if self._is_first and not hit and self._opening.startswith(text) else text.rstrip()
        self._held = "" if hit else text[len(shown) :]
        self._is_first &= not shown
        if not hit:
            return shown, ""
        return shown, self._close(self._find_closing.rest)[1]

    def _without_opening(self, text: str) -> str:
        """Return the beginning of the reasoning without a marker that the prompt has already."""
        return text[len(self._opening) :].lstrip() if text.startswith(self._opening) else text

    def _close(self, rest: str) -> tuple[str, str]:
        self._state, self._held, self.is_closed = "after", "", True
        return "", self._after_space(rest)

    def _after_space(self, piece: str) -> str:
        text = piece.lstrip()
        if text:
            self._state = "answer"
        return text


class ReasoningDecoder:
    """Decodes the tokens of a completion to its reasoning and its answer.

    Control tokens of the markers count as text until the reasoning is over.

    Parameters
    ----------
    decoder : StreamDecoder
    reasoning : Reasoning or None
        None if all is answer.
    tokenizer : Tokenizer
    """

    def __init__(self, decoder: StreamDecoder, reasoning: Reasoning | None, tokenizer: Tokenizer) -> None:
        self._decoder = decoder
        self._splitter = ReasoningSplitter(reasoning)
        self._n_tokens = self._n_closed = 0
        if reasoning is not None and not self._splitter.is_over:
            self._visible_after = decoder.visible_ids
            decoder.visible_ids |= reasoning.hidden_ids(tokenizer)

    @property
    def n_reasoning(self) -> int:
        """Tokens of the reasoning so far, with its markers and the white space after it."""
        return self._n_tokens if self._splitter.is_reasoning else self._n_closed

    def fork(self) -> ReasoningDecoder:
        """Return a decoder of the same tokens, for another continuation."""
        forked = copy(self)
        forked._decoder, forked._splitter = self._decoder.fork(), self._splitter.fork()
        return forked

    def push(self, token: int) -> tuple[str, str]:
        """Take the next token; return new reasoning, and new text of the answer."""
        piece, was_over = self._decoder.push(token), self._splitter.is_over
        if self._splitter.is_answer:
            return "", piece
        self._n_tokens += 1
        found = self._splitter.push(piece)
        if self._splitter.is_over and not was_over:
            self._decoder.visible_ids = self._visible_after
        if self._splitter.is_closed and (not was_over or piece.isspace()):
            self._n_closed = self._n_tokens
        return found

    def flush(self) -> tuple[str, str]:
        """End the completion; return what was held back, as `push` does."""
        first, last = self._splitter.push(self._decoder.flush()), self._splitter.flush()
        return first[0] + last[0], first[1] + last[1]
