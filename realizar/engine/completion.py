"""Completion: the answer to one prompt, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from realizar.sampling import Sampled


@dataclass(frozen=True)
class Timings:
    """What a request took.

    Attributes
    ----------
    n_prompt, n_cached, n_generated : int
        Tokens of the prompt; those of them found in the cache; tokens generated.
    prefill_s : float
        Seconds from the first step that worked on the prompt to the first token.
    decode_s : float
        Seconds from the first token to the last.
    """

    n_prompt: int
    n_cached: int
    n_generated: int
    prefill_s: float
    decode_s: float

    @property
    def prefill_tok_s(self) -> float:
        """Tokens of the prompt computed per second."""
        return (self.n_prompt - self.n_cached) / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tok_s(self) -> float:
        """Tokens after the first per second."""
        return (self.n_generated - 1) / self.decode_s if self.decode_s else 0.0


@dataclass(frozen=True)
class Completion:
    """The answer to one prompt.

    Attributes
    ----------
    text : str
        What was generated, without the stop string.
    token_ids : list of int
        The tokens generated, the one that ended the text included.
    finish_reason : {"stop", "length", "cancelled"}
        Whether the text came to an end, or to the end of max_tokens or the context, or was given up.
    stop_reason : int | str | None
        The token id or the stop string that ended it; None where its grammar lets nothing follow.
    logprobs : list of Sampled | None
        If asked for, each token's `token_id`, its `logprob` under the model, and the best in its place: `top`, pairs of
        id and logprob. Natural logarithms, before temperature, penalties and truncation.
    timings : Timings
    score : float | None
        What the text was ranked by, where there were others: sum of the logprobs / tokens ** length_penalty.
    others : tuple of Completion
        With n > 1, the n - 1 other answers to the prompt; ranked ones from the best to the worst.
    """

    text: str
    token_ids: list[int]
    finish_reason: Literal["stop", "length", "cancelled"]
    stop_reason: int | str | None
    logprobs: list[Sampled] | None
    timings: Timings
    score: float | None = None
    others: tuple[Completion, ...] = ()

    @property
    def outputs(self) -> tuple[Completion, ...]:
        """All n answers to the prompt, this one first."""
        return (self, *self.others)
