"""ReasoningStyle: how a model writes its reasoning, and how its chat template reads that of earlier messages.

A template that renders the reasoning of earlier messages shows both: we render a probe. Others are known by a text in
their source. A plugin's `ChatFormat` may declare further markers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.calls.messages import has_tool_calls
from realizar.calls.reasoning import ReasoningFormat
from realizar.errors import TemplateError
from realizar.tokenizer.messages import is_list

if TYPE_CHECKING:
    from realizar.tokenizer import ChatTemplate

Message = Mapping[str, Any]

KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of messages that have the reasoning, as DeepSeek's, vLLM's and Ollama's APIs name it."""
PARTS = "parts"
"""In place of a key: the reasoning is a part of the content (Mistral)."""

_THOUGHT, _ANSWER = "A thought in xyzzy words.", "An answer in xyzzy words."
_QUESTION = {"role": "user", "content": "A question."}
_TAG = r"(?:<[^<>\s]*(?:think|thought|reason)[^<>\s]*>|\[/?THINK\])"
_WRITTEN = re.compile(rf"({_TAG})\s*{re.escape(_THOUGHT)}\s*({_TAG})", re.IGNORECASE)
_KNOWN = {
    "<|channel|>analysis<|message|>": ReasoningFormat("<|channel|>analysis<|message|>", "<|end|>"),  # gpt-oss
    "<|open|>think<|sep|>": ReasoningFormat("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
    "<think:opensource>": ReasoningFormat("<think:opensource>", "</think:opensource>"),  # Hy3
    "to=self<|message|>": ReasoningFormat("to=self<|message|>", "<|eom|>"),  # Muse Glimmer
    "<seed:think>": ReasoningFormat("<seed:think>", "</seed:think>"),  # Seed-OSS
    "</think>": ReasoningFormat("<think>", "</think>"),  # DeepSeek, Qwen, GLM, SmolLM3, many others
    "[/THINK]": ReasoningFormat("[THINK]", "[/THINK]"),  # Magistral
    "<|END_THINKING|>": ReasoningFormat("<|START_THINKING|>", "<|END_THINKING|>"),  # Command R7B
    "<|inner_suffix|>": ReasoningFormat("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    "<channel|>": ReasoningFormat("<|channel>thought", "<channel|>"),  # Gemma 4
    "[BEGIN FINAL RESPONSE]": ReasoningFormat("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel
}
"""A text in the source of a chat template -> the markers of its model; the first that is found counts."""


class ReasoningStyle(NamedTuple):
    """How a model writes its reasoning, and how its chat template reads it.

    Attributes
    ----------
    markers : ReasoningFormat or None
        None if the model has no reasoning.
    key : str
        One of `KEYS`, or `PARTS`.
    """

    markers: ReasoningFormat | None
    key: str

    @classmethod
    def from_template(cls, template: ChatTemplate) -> ReasoningStyle:
        """Infer the style from a chat template."""
        known = next((markers for text, markers in _KNOWN.items() if text in template.source), None)
        for key in (*KEYS, PARTS):
            answer = with_reasoning({"role": "assistant", "content": _ANSWER}, _THOUGHT, key)
            try:
                rendered = template.render([_QUESTION, answer], add_generation_prompt=False)
            except TemplateError:
                continue
            written = _WRITTEN.search(rendered)
            if written is not None:
                return cls(ReasoningFormat(*written.groups()), key)
            if key != PARTS and _THOUGHT in rendered:
                return cls(known, key)
        return cls(known, KEYS[0])


def reasoning_of(message: Message) -> str | None:
    """Return the reasoning of a message: the first of `KEYS` that it has, or its parts of type "thinking"."""
    for key in KEYS:
        if isinstance(message.get(key), str) and message[key]:
            return str(message[key])
    content = message.get("content")
    thoughts = [_thought_in(part) for part in content] if isinstance(content, list) else []
    return "".join(thoughts) or None


def _thought_in(part: Any) -> str:
    """Return the reasoning in a part of a content; Mistral's API has a list of texts in it."""
    thought = part.get("thinking") if isinstance(part, Mapping) and part.get("type") == "thinking" else ""
    texts = (
        [text.get("text") for text in thought if isinstance(text, Mapping)] if isinstance(thought, list) else [thought]
    )
    return "".join(text for text in texts if isinstance(text, str))


def with_reasoning(message: Message, reasoning: str | None, key: str) -> dict[str, Any]:
    """Return a message with this reasoning and no other."""
    content = message.get("content")
    if isinstance(content, list):
        content = [p for p in content if not (isinstance(p, Mapping) and p.get("type") == "thinking")]
    plain = {**{name: value for name, value in message.items() if name not in KEYS}, "content": content}
    if reasoning is None:
        return plain
    if key != PARTS:
        return {**plain, key: reasoning}
    texts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
    return {**plain, "content": [{"type": "thinking", "thinking": reasoning}, *texts]}


def in_style(messages: Sequence[Message], key: str) -> Sequence[Message]:
    """Return messages whose reasoning is where the template reads it."""
    if not is_list(messages):
        return messages  # rendering raises the error
    return [_in_style(message, key) for message in messages]


def _in_style(message: Message, key: str) -> Message:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str) or role != "assistant":
        return message
    reasoning = reasoning_of(message)
    return message if reasoning is None else with_reasoning(message, reasoning, key)


def without_reasoning_beside_text(messages: Sequence[Message]) -> Sequence[Message] | None:
    """Return messages without the reasoning of those that have text and calls; None if there are none.

    gpt-oss's template refuses all three in one message.
    """
    if not is_list(messages):
        return None
    crowded = [_has_all(message) for message in messages]
    if not any(crowded):
        return None
    pairs = zip(messages, crowded, strict=True)
    return [with_reasoning(message, None, "") if has_all else message for message, has_all in pairs]


def _has_all(message: Message) -> bool:
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), (str, list)):
        return False
    return bool(message["content"] and has_tool_calls([message]) and reasoning_of(message))
