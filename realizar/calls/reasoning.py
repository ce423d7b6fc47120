"""Reasoning: what a model thinks before it answers, and the markers that separate it from the answer."""

from __future__ import annotations

from typing import NamedTuple

from realizar.sampling import StopFilter


class ReasoningFormat(NamedTuple):
    """The markers around the reasoning of a model."""

    opening: str
    closing: str

    @classmethod
    def from_template(cls, source: str) -> ReasoningFormat | None:
        """Return the format whose closing marker a chat template contains, or None."""
        return next((known for known in _KNOWN if known.closing in source), None)

    def is_open(self, prompt: str) -> bool:
        """Whether a prompt ends with the opening marker, so that the completion begins within the reasoning."""
        return prompt.rstrip().endswith(self.opening)


_KNOWN = (
    ReasoningFormat("<think>", "</think>"),  # Qwen3, DeepSeek R1, QwQ, SmolLM3, Hunyuan, GLM 4.5, Nemotron
    ReasoningFormat("<seed:think>", "</seed:think>"),  # Seed-OSS
    ReasoningFormat("[THINK]", "[/THINK]"),  # Magistral, Mistral Small 4
)


class ReasoningSplitter:
    """Splits a streamed completion into reasoning and answer; neither depends on how it is cut into pieces.

    Reasoning is recognized only at the beginning of a completion. White space around the markers belongs to neither.

    Parameters
    ----------
    markers : ReasoningFormat or None
        None if the model has none: all is answer.
    is_open : bool
        Whether the prompt has already opened the reasoning.
    """

    def __init__(self, markers: ReasoningFormat | None, is_open: bool) -> None:
        self._opening = "" if markers is None else markers.opening
        self._closing = StopFilter(()) if markers is None else StopFilter([markers.closing])
        self._state = "answer" if markers is None else "reasoning" if is_open else "begin"
        self._held = ""
        self._is_first = True

    @property
    def is_reasoning(self) -> bool:
        """Whether the completion is within the reasoning."""
        return self._state == "reasoning"

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece; return new reasoning, and new text of the answer."""
        if self._state == "begin":
            piece = self._begin(piece)
        if self._state == "reasoning":
            return self._reason(piece)
        return "", self._after_space(piece) if self._state == "after" else piece if self._state == "answer" else ""

    def flush(self) -> tuple[str, str]:
        """End the completion; return what was held back, as `push` does."""
        if self._state == "begin":
            held, self._held = self._held, ""
            return "", held
        return ((self._held + self._closing.flush()).rstrip(), "") if self._state == "reasoning" else ("", "")

    def _begin(self, piece: str) -> str:
        """Look for the opening marker; return the text after it, or all of it if there is none."""
        text = self._held + piece
        begun = text.lstrip()
        if begun.startswith(self._opening):
            self._state, self._held = "reasoning", ""
            return begun[len(self._opening) :]
        if self._opening.startswith(begun):
            self._held = text
            return ""
        self._state, self._held = "answer", ""
        return text

    def _reason(self, piece: str) -> tuple[str, str]:
        text, hit = self._closing.push(piece)
        text = self._held + text
        text = text.lstrip() if self._is_first else text
        shown = text.rstrip()
        self._held = "" if hit else text[len(shown) :]
        self._is_first &= not shown
        if not hit:
            return shown, ""
        self._state = "after"
        return shown, self._after_space(self._closing.rest)

    def _after_space(self, piece: str) -> str:
        text = piece.lstrip()
        if text:
            self._state = "answer"
        return text
