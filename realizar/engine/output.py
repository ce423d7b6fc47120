"""The output of a request: its completion, events and timings, and the processor that makes text of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from realizar.calls.reasoning import ReasoningDecoder
from realizar.engine.display import completion_html, completion_repr
from realizar.sampling import StopFilter

if TYPE_CHECKING:
    from realizar.calls import Reasoning, ToolCall, ToolCallDelta, ToolUse
    from realizar.engine.cache.sequence import Sequence
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.params import SamplingParams
    from realizar.tokenizer import Tokenizer


@dataclass(frozen=True)
class Timings:
    """Token counts and durations of a request.

    Attributes
    ----------
    n_prompt, n_cached, n_generated : int
        Prompt tokens; those of them found in the prefix cache; generated tokens.
    prefill_s : float
        Seconds from the first step that worked on the prompt to the first token.
    decode_s : float
        Seconds from the first token to the last.
    n_drafted, n_accepted : int
        With speculative decoding, draft tokens that were verified; those of them that were accepted.
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
        """Prompt tokens computed per second."""
        return (self.n_prompt - self.n_cached) / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tok_s(self) -> float:
        """Generated tokens after the first per second."""
        return (self.n_generated - 1) / self.decode_s if self.decode_s else 0.0


FinishReason = Literal[
    "eos", "tool_calls", "stop_token", "stop_string", "grammar", "length", "context", "time", "cancelled"
]  # fmt: skip
"""Why generation ended: see Completion.finish_reason."""


@dataclass(frozen=True, repr=False)
class Completion:
    """The completion of one prompt.

    Attributes
    ----------
    text : str
        The generated text without the stop string, the reasoning and the tool calls; with `echo`, it starts with the
        prompt's text.
    token_ids : list of int
        The generated tokens, including the one that ended the text. With `token_healing` the first one replaces the
        last token of the prompt, and the text has only its new part.
    finish_reason : str
        What ended the text: "eos", an end-of-generation token of the model; "tool_calls", the same after tool calls;
        "stop_token", one of stop_token_ids; "stop_string", one of stop; "grammar", the grammar allows no further
        token; "length", max_tokens; "context", the context is full; "time", max_time; "cancelled".
    stop_reason : int | str | None
        The token id or the stop string that ended the text; None for the other reasons.
    logprobs : list of TokenLogprobs | None
        If requested, the logprob of each token, and the most probable tokens at its position.
    timings : Timings
    score : float | None
        With best_of or beams, the score by which completions are ranked: sum of logprobs / tokens ** length_penalty.
    others : tuple of Completion
        With n > 1, the n - 1 other completions; if they are ranked, from best to worst.
    tool_calls : list of ToolCall
        Tool calls whose arguments are complete.
    prompt_logprobs : list of TokenLogprobs | None
        If requested, `logprobs` of the prompt tokens; None for the first.
    reasoning : str
        What the model thought before the text, in answers of `chat`; without its markers.
    n_reasoning : int
        Number of tokens, the first ones, that are the reasoning, its markers and the white space after it.
    prompt : str | None
        The text of the prompt; None if it was given as token ids or parts.
    prompt_token_ids : list of int
        The tokens of the prompt that were computed: after `truncate_prompt` and `token_healing`; 0 for embeddings.
    request_id : str
        The number of the request among those of its engine; the same for all n completions.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    stop_reason: int | str | None
    logprobs: list[TokenLogprobs] | None
    timings: Timings
    score: float | None = None
    others: tuple[Completion, ...] = ()
    tool_calls: list[ToolCall] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    prompt: str | None = None
    prompt_token_ids: list[int] = field(default_factory=list)
    request_id: str = ""
    reasoning: str = ""
    n_reasoning: int = 0

    @property
    def outputs(self) -> tuple[Completion, ...]:
        """All n completions of the prompt, this one first."""
        return (self, *self.others)

    @property
    def cumulative_logprob(self) -> float | None:
        """The sum of the logprobs of its tokens; None if they were not requested."""
        return None if self.logprobs is None else sum(each.logprob for each in self.logprobs)

    def __repr__(self) -> str:
        return completion_repr(self)

    def _repr_html_(self) -> str:
        return completion_html(self)

    @property
    def message(self) -> dict[str, Any]:
        """The completion as a message, to be appended to the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [call.as_message() for call in self.tool_calls]
        return message


class TokensEvent(NamedTuple):
    """New tokens of completion `number`; their logprobs, if the params request them."""

    number: int
    token_ids: list[int]
    logprobs: list[TokenLogprobs] | None


class ReasoningEvent(NamedTuple):
    """New text of the reasoning of completion `number`, which may be empty, and the tokens of its reasoning so far."""

    number: int
    text: str
    n_tokens: int


class TextEvent(NamedTuple):
    """New text of completion `number`: complete characters, without stop strings, reasoning and tool calls."""

    number: int
    text: str


class ToolCallEvent(NamedTuple):
    """New raw text of tool calls of completion `number`, and what it adds to which call."""

    number: int
    text: str
    deltas: list[ToolCallDelta]


class FinishEvent(NamedTuple):
    """The end of a request, with the completion that `generate` returns; None for requests without text."""

    completion: Completion | None


class ErrorEvent(NamedTuple):
    """The end of a request that failed."""

    error: BaseException


Event = TokensEvent | ReasoningEvent | TextEvent | ToolCallEvent | FinishEvent | ErrorEvent
"""Events of a request in order; the last one is a FinishEvent or an ErrorEvent."""


def end_ids(params: SamplingParams, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that end a text."""
    return frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else tokenizer.eog_ids)


def ended_by(token: int, params: SamplingParams) -> FinishReason:
    """Return the finish reason of a token of `end_ids`."""
    return "stop_token" if token in params.stop_token_ids else "eos"


class OutputProcessor:
    """Detokenizes the tokens of one completion, separates reasoning and tool calls from text, and finds stop strings.

    Parameters
    ----------
    seq : Sequence
        The prompt.
    params : SamplingParams
        stop and echo.
    tokenizer : Tokenizer
    n_healed : int
        Number of leading bytes that belong to the prompt (token healing).
    tools : ToolUse, optional
        The tools that may be called.
    reasoning : Reasoning, optional
        What may precede the text.
    """

    def __init__(
        self, seq: Sequence, params: SamplingParams, tokenizer: Tokenizer, n_healed: int, tools: ToolUse | None,
        reasoning: Reasoning | None = None,
    ) -> None:  # fmt: skip
        self._calls = None if tools is None else tools.reader(seq.history)
        self._stops = StopFilter(params.stop)
        self._pieces: list[str] = []
        self._thoughts: list[str] = []
        self._n_taken = self._n_calls_taken = self._n_thoughts_taken = 0
        self._n_reasoning_told = 0
        visible_ids = frozenset[int]() if tools is None else tools.delimiter_ids
        if params.echo:
            decoder = tokenizer.stream(visible_ids=visible_ids)
            self._add("".join(map(decoder.push, seq.tokens.tolist())))
        else:
            last = None if len(seq.encoder_tokens) else seq.last_token
            decoder = tokenizer.stream(after=last, n_healed=n_healed, visible_ids=visible_ids)
        self._decoder = ReasoningDecoder(decoder, reasoning, tokenizer)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._thoughts)

    @property
    def n_reasoning(self) -> int:
        """Tokens of the reasoning so far, with its markers and the white space after it."""
        return self._decoder.n_reasoning

    def calls(self) -> list[ToolCall]:
        """Return the tool calls whose arguments are complete."""
        return [] if self._calls is None else self._calls.calls()

    def push(self, token: int) -> str | None:
        """Append a token; return the stop string that it completed, or None."""
        return self._show(self._without_calls(self._answer_of(self._decoder.push(token))))

    def flush(self) -> str | None:
        """End the text; return the stop string that the remaining text completed, or None."""
        rest = self._without_calls(self._answer_of(self._decoder.flush()))
        hit = self._show(rest if self._calls is None else rest + self._calls.flush())
        if hit is None:
            self._add(self._stops.flush())
        return hit

    def take_new(self) -> str:
        """Return the text since the last call."""
        new = "".join(self._pieces[self._n_taken :])
        self._n_taken = len(self._pieces)
        return new

    def take_new_reasoning(self) -> tuple[str, int] | None:
        """Return the reasoning since the last call, and its tokens so far; None if it has not changed."""
        new, n_tokens = "".join(self._thoughts[self._n_thoughts_taken :]), self.n_reasoning
        if not new and n_tokens == self._n_reasoning_told:
            return None
        self._n_thoughts_taken, self._n_reasoning_told = len(self._thoughts), n_tokens
        return new, n_tokens

    def take_new_calls(self) -> str:
        """Return the raw text of tool calls since the last call."""
        if self._calls is None:
            return ""
        new = "".join(self._calls.written[self._n_calls_taken :])
        self._n_calls_taken = len(self._calls.written)
        return new

    def take_call_deltas(self) -> list[ToolCallDelta]:
        """Return what was added to the calls since this was last asked for."""
        return [] if self._calls is None else self._calls.take_deltas()

    def _answer_of(self, parts: tuple[str, str]) -> str:
        """Keep the reasoning; return what is not part of it."""
        reasoning, answer = parts
        if reasoning:
            self._thoughts.append(reasoning)
        return answer

    def _without_calls(self, piece: str) -> str:
        return piece if self._calls is None else self._calls.push(piece)

    def _show(self, piece: str) -> str | None:
        """Add text, except an end that may become a stop string; return the stop string it completed."""
        text, hit = self._stops.push(piece)
        self._add(text)
        return hit

    def _add(self, text: str) -> None:
        if text:
            self._pieces.append(text)
