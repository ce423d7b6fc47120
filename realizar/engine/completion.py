"""Completion: the answer to one prompt, and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from realizar.calls import ToolCall
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
    n_drafted, n_accepted : int
        With speculation, tokens that were guessed and computed; those of them that are in the text.
    """

    n_prompt: int
    n_cached: int
    n_generated: int
    prefill_s: float
    decode_s: float
    n_drafted: int = 0
    n_accepted: int = 0

    @property
    def prefill_tok_s(self) -> float:
        """Tokens of the prompt computed per second."""
        return (self.n_prompt - self.n_cached) / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tok_s(self) -> float:
        """Tokens after the first per second."""
        return (self.n_generated - 1) / self.decode_s if self.decode_s else 0.0


FinishReason = Literal[
    "eos", "tool_calls", "stop_token", "stop_string", "grammar", "length", "context", "time", "cancelled"
]  # fmt: skip
"""Why a text ended: see Completion.finish_reason."""


@dataclass(frozen=True)
class Completion:
    """The answer to one prompt.

    Attributes
    ----------
    text : str
        What was generated, without the stop string and the calls of tools; with `echo`, the prompt's text in front.
    token_ids : list of int
        The tokens generated, the one that ended the text included; with `token_healing`, first the one that took the
        place of the prompt's last, of which the text has only what is new.
    finish_reason : str
        What ended the text: "eos", a token with which the model ends a text or a turn; "tool_calls", the same behind
        calls of tools; "stop_token", one of stop_token_ids; "stop_string", one of stop; "grammar", nothing can follow
        what a grammar allows; "length", max_tokens; "context", the model has no room for more; "time", max_time;
        "cancelled", it was given up.
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
    tool_calls : list of ToolCall
        The calls of tools whose arguments are complete.
    prompt_logprobs : list of Sampled | None
        If asked for, as `logprobs` for each token of the prompt; None for the first.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    stop_reason: int | str | None
    logprobs: list[Sampled] | None
    timings: Timings
    score: float | None = None
    others: tuple[Completion, ...] = ()
    tool_calls: list[ToolCall] = field(default_factory=list)
    prompt_logprobs: list[Sampled | None] | None = None

    @property
    def outputs(self) -> tuple[Completion, ...]:
        """All n answers to the prompt, this one first."""
        return (self, *self.others)

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message of the conversation that goes on."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [call.as_message() for call in self.tool_calls]
        return message
