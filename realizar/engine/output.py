"""The output of a request: its completion, events and timings, and the processor that makes text of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from realizar.sampling import StopFilter

if TYPE_CHECKING:
    from realizar.calls import ToolCall, ToolCallDelta, ToolUse
    from realizar.engine.cache.sequence import Sequence
    from realizar.params import SamplingParams
    from realizar.sampling import Sampled
    from realizar.tokenizer import Tokenizer


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
        The generated text, without the stop string and the tool calls; with `echo`, the prompt's text in front.
    token_ids : list of int
        The tokens generated, the one that ended the text included; with `token_healing`, first the one that replaced
        the last token of the prompt; the text has only its new part.
    finish_reason : str
        What ended the text: "eos", a token with which the model ends a text or a turn; "tool_calls", the same after
        tool calls; "stop_token", one of stop_token_ids; "stop_string", one of stop; "grammar", nothing can follow
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


class TokensEvent(NamedTuple):
    """Tokens of one of the texts, by its number; their logprobs, if the params ask for them."""

    number: int
    token_ids: list[int]
    logprobs: list[Sampled] | None


class TextEvent(NamedTuple):
    """A piece of one of the texts: never half a character, and nothing of a stop string or a call."""

    number: int
    text: str


class ToolCallEvent(NamedTuple):
    """A piece of what one of the texts writes of tool calls: as the model writes it, and what it adds to which call."""

    number: int
    text: str
    deltas: list[ToolCallDelta]


class FinishEvent(NamedTuple):
    """The end of a request: all of it, in what `generate` returns; None where it writes no text."""

    completion: Completion | None


class ErrorEvent(NamedTuple):
    """The end of a request by an error."""

    error: BaseException


Event = TokensEvent | TextEvent | ToolCallEvent | FinishEvent | ErrorEvent
"""Events of a request in their order: those of each step, and one of the last two at the end."""


def end_ids(params: SamplingParams, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that end a text."""
    return frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else tokenizer.eog_ids)


def ended_by(token: int, params: SamplingParams) -> FinishReason:
    """Return the reason that a token of `end_ids` is for a text to end."""
    return "stop_token" if token in params.stop_token_ids else "eos"


class OutputProcessor:
    """Makes text of the tokens of one answer: detokenizes, takes tool calls out, and finds stop strings.

    Parameters
    ----------
    seq : Sequence
        The prompt.
    params : SamplingParams
        stop and echo.
    tokenizer : Tokenizer
    n_known : int
        Bytes at the beginning that the prompt has already (token healing).
    tools : ToolUse, optional
        What the answer may call.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, tokenizer: Tokenizer, n_known: int, tools: ToolUse | None
    ) -> None:
        self._calls = None if tools is None else tools.reader(seq.history)
        self._stops = StopFilter(params.stop)
        self._pieces: list[str] = []
        self._n_taken = self._n_calls_taken = 0
        visible_ids = frozenset[int]() if tools is None else tools.delimiter_ids
        if params.echo:
            self._decoder = tokenizer.stream(visible_ids=visible_ids)
            self._add("".join(map(self._decoder.push, seq.tokens.tolist())))
        else:
            last = None if len(seq.encoder_tokens) else seq.last_token
            self._decoder = tokenizer.stream(after=last, n_known=n_known, visible_ids=visible_ids)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def calls(self) -> list[ToolCall]:
        """Return the calls whose arguments are complete."""
        return [] if self._calls is None else self._calls.calls()

    def push(self, token: int) -> str | None:
        """Take the next token; return the stop string that it completed."""
        return self._show(self._without_calls(self._decoder.push(token)))

    def flush(self) -> str | None:
        """End the text; return the stop string that what was held back completed."""
        rest = self._without_calls(self._decoder.flush())
        hit = self._show(rest if self._calls is None else rest + self._calls.flush())
        if hit is None:
            self._add(self._stops.flush())
        return hit

    def take_new(self) -> str:
        """Return the text that came since this was last asked for."""
        new = "".join(self._pieces[self._n_taken :])
        self._n_taken = len(self._pieces)
        return new

    def take_new_calls(self) -> str:
        """Return what was written of calls since this was last asked for, as the model writes it."""
        if self._calls is None:
            return ""
        new = "".join(self._calls.written[self._n_calls_taken :])
        self._n_calls_taken = len(self._calls.written)
        return new

    def take_call_deltas(self) -> list[ToolCallDelta]:
        """Return what was added to the calls since this was last asked for."""
        return [] if self._calls is None else self._calls.take_deltas()

    def _without_calls(self, piece: str) -> str:
        return piece if self._calls is None else self._calls.push(piece)

    def _show(self, piece: str) -> str | None:
        """Add text, less what may become a stop string; return the stop string it completed."""
        text, hit = self._stops.push(piece)
        self._add(text)
        return hit

    def _add(self, text: str) -> None:
        if text:
            self._pieces.append(text)
