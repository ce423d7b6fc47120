"""Validation of messages, and adaptation of their content to what a chat template supports.

OpenAI's clients send content as a text or as a list of parts, and may start with a system message. Some templates
support only text, some also parts (for all roles or only some), and some no system message; none declares it. We find
out by rendering probe messages, as llama.cpp does (common/jinja/caps.cpp).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realizar.errors import TemplateError, short_repr
from realizar.forks import cached_property

Message = Mapping[str, Any]
Messages = list[dict[str, Any]]

# Probe words, searched for in rendered prompts; no template contains them.
_WORDS = ("xyzzya", "xyzzyb")
MEDIA = ({"type": "image"}, {"type": "audio", "audio_url": ""})
"""The places of pictures and sounds, whose rows replace what the template writes."""
_BOTH = re.compile(r"xyzzya\s*xyzzyb")


def is_list(messages: object) -> bool:
    """Whether this can be a list of messages; `checked` raises the error for anything else."""
    return isinstance(messages, Sequence) and not isinstance(messages, (str, bytes))


def checked(messages: Sequence[Message]) -> Messages:
    """Return a validated copy of the messages; raises TemplateError that names the malformed one."""
    if not is_list(messages):
        raise TemplateError(f"messages: must be a list of messages, found {type(messages).__name__}")
    if not messages:
        raise TemplateError('messages: the list is empty; give at least [{"role": "user", "content": "..."}]')
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, Mapping):
            raise TemplateError(f'{where}: must be {{"role": ..., "content": ...}}, found {type(message).__name__}')
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not role:
            raise TemplateError(f'{where}: "role" must be a string such as "user", found {short_repr(role)}')
        if content is None and not message.get("tool_calls"):
            raise TemplateError(f'{where}: has no "content" (role {short_repr(role)})')
        if not isinstance(content, (str, list, type(None))):
            raise TemplateError(
                f'{where}: "content" must be a string or a list of parts (dicts), found {short_repr(content)}'
            )
        for part in content if isinstance(content, list) else ():
            _check_part(where, part)
    # Keys with the value None are dropped, as in transformers: templates test whether a key exists.
    return [
        {key: value for key, value in message.items() if value is not None or key == "content"} for message in messages
    ]


def _check_part(where: str, part: Any) -> None:
    if not isinstance(part, Mapping):
        raise TemplateError(
            f'{where}: "content" must be a string or a list of parts (dicts), found {short_repr(part)} in it'
        )
    if part in MEDIA:
        return
    if part.get("type") == "thinking" and isinstance(part.get("thinking"), str):
        return
    if part.get("type") != "text":
        raise TemplateError(
            f"{where}: a content part of type {short_repr(part.get('type'))}: only 'text', pictures "
            "('image_url') and sounds ('input_audio') are supported; files are not"
        )
    if not isinstance(part.get("text"), str):
        raise TemplateError(f"{where}: a content part of type 'text' must have a \"text\", found {short_repr(part)}")


def joined(content: str | list[Any]) -> str:
    """Return content as one text, its parts of text joined by newlines, as llama.cpp and vLLM do."""
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content if "text" in part)


class MessageAdapter:
    """Adapts messages to what one template supports. Thread-safe.

    Parameters
    ----------
    render : callable
        Renders messages to a prompt; raises TemplateError.
    """

    def __init__(self, render: Callable[[Messages], str]) -> None:
        self._render = render
        self._supported_forms: dict[str, tuple[bool, bool]] = {}

    def adapt(self, messages: Messages) -> Messages:
        """Return messages with contents and roles that the template supports, as far as known.

        Warns if a system message is merged into the first user message.
        """
        adapted = [{**message, "content": self._content(message)} for message in messages]
        first, second = adapted[0], adapted[1] if len(adapted) > 1 else {}
        if first["role"] == "system" and second.get("role") == "user" and not self._supports_system:
            warnings.warn(
                "this model's chat template has no system messages: it was prepended to the first user message",
                stacklevel=2,
            )
            texts = [joined(message["content"] or "") for message in (first, second)]
            second["content"] = "\n".join(texts) if isinstance(second["content"], str) else _parts(*texts)
            del adapted[0]
        return adapted

    def _content(self, message: dict[str, Any]) -> Any:
        """Return a message's content in a form that the template supports."""
        content = message.get("content")
        if content is None:
            return None
        supports_text, supports_parts = self._supports(message["role"])
        if isinstance(content, str):
            return _parts(content) if supports_parts and not supports_text else content
        return content if supports_parts else joined(content)

    def _supports(self, role: str) -> tuple[bool, bool]:
        """Whether content of this role may be text, and whether it may be parts."""
        if role not in self._supported_forms:
            self._supported_forms[role] = self._renders(role, "".join(_WORDS)), self._renders(role, _parts(*_WORDS))
        return self._supported_forms[role]

    @cached_property
    def _supports_system(self) -> bool:
        if not any(self._supports("user")):  # a template that fails on every probe
            return True
        return any(self._renders("system", content) for content in (" ".join(_WORDS), _parts(*_WORDS)))

    def _renders(self, role: str, content: str | list[Any]) -> bool:
        """Whether a message with this content is rendered, with both probe words adjacent."""
        probe = {"role": role, "content": content}
        user, answer = ({"role": name, "content": "A text."} for name in ("user", "assistant"))
        talk = {"system": [probe, user], "assistant": [user, probe, user], "tool": [user, answer, probe]}
        try:
            return _BOTH.search(self._render(talk.get(role, [probe]))) is not None
        except TemplateError:
            return False


def _parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]
