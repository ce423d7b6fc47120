"""Messages: checked, and brought into the forms of content that a chat template takes.

OpenAI's clients write a content as a text or as a list of parts, and begin with a system message. Of the templates that
come with models some take texts alone, some take parts too (for all roles or for a few), and some know no system
message; none says so. What a template takes is learned by rendering probes, as llama.cpp does (common/jinja/caps.cpp).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realizar.errors import TemplateError, shown
from realizar.forks import cached_property

Message = Mapping[str, Any]
Messages = list[dict[str, Any]]

# What is looked for in the probes' prompts; no template has these words.
_WORDS = ("xyzzya", "xyzzyb")
_BOTH = re.compile(r"xyzzya\s*xyzzyb")


def checked(messages: Sequence[Message]) -> Messages:
    """Return a copy of messages; raises TemplateError that says which one is malformed and why."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise TemplateError(f"messages: needs a list of messages, found {type(messages).__name__}")
    if not messages:
        raise TemplateError('messages: the list is empty; give at least [{"role": "user", "content": "..."}]')
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, Mapping):
            raise TemplateError(f'{where}: needs {{"role": ..., "content": ...}}, found {type(message).__name__}')
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not role:
            raise TemplateError(f'{where}: "role" must be a text such as "user", found {shown(role)}')
        if content is None and not message.get("tool_calls"):
            raise TemplateError(f'{where}: has no "content" (role {shown(role)})')
        if not isinstance(content, (str, list, type(None))):
            raise TemplateError(f'{where}: "content" must be a text or a list of parts (dicts), found {shown(content)}')
        for part in content if isinstance(content, list) else ():
            _check_part(where, part)
    # What a client's library left empty is left out, as in transformers: templates look whether a key is there.
    return [
        {key: value for key, value in message.items() if value is not None or key == "content"} for message in messages
    ]


def _check_part(where: str, part: Any) -> None:
    if not isinstance(part, Mapping):
        raise TemplateError(f'{where}: "content" must be a text or a list of parts (dicts), found {shown(part)} in it')
    if part.get("type") != "text":
        raise TemplateError(
            f"{where}: a content part of type {shown(part.get('type'))}: this version takes 'text'; images, audio and "
            "files come with a later one"
        )
    if not isinstance(part.get("text"), str):
        raise TemplateError(f"{where}: a content part of type 'text' must have a \"text\", found {shown(part)}")


def joined(content: str | list[Any]) -> str:
    """Return a content as one text, its parts on lines of their own, as llama.cpp and vLLM join them."""
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


class Fitting:
    """Brings messages into the forms that one template takes; may be used by many threads at once.

    Parameters
    ----------
    render : callable
        From messages to the template's prompt; raises TemplateError.
    """

    def __init__(self, render: Callable[[Messages], str]) -> None:
        self._render = render
        self._forms: dict[str, tuple[bool, bool]] = {}

    def fit(self, messages: Messages) -> Messages:
        """Return messages with contents and roles that the template takes, as far as that is known.

        Warns where a system message becomes the beginning of the first user's.
        """
        fitted = [{**message, "content": self._content(message)} for message in messages]
        first, second = fitted[0], fitted[1] if len(fitted) > 1 else {}
        if first["role"] == "system" and second.get("role") == "user" and not self._takes_system:
            warnings.warn(
                "this model's chat template takes no system message: it was put in front of the first user message",
                stacklevel=2,
            )
            texts = [joined(message["content"] or "") for message in (first, second)]
            second["content"] = "\n".join(texts) if isinstance(second["content"], str) else _parts(*texts)
            del fitted[0]
        return fitted

    def _content(self, message: dict[str, Any]) -> Any:
        """Return the content of a message as a text or as parts."""
        content = message.get("content")
        if content is None:
            return None
        takes_text, takes_parts = self._takes(message["role"])
        if isinstance(content, str):
            return _parts(content) if takes_parts and not takes_text else content
        return content if takes_parts else joined(content)

    def _takes(self, role: str) -> tuple[bool, bool]:
        """Tell whether a role's content may be a text, and whether it may be parts."""
        if role not in self._forms:
            self._forms[role] = self._shows(role, "".join(_WORDS)), self._shows(role, _parts(*_WORDS))
        return self._forms[role]

    @cached_property
    def _takes_system(self) -> bool:
        if not any(self._takes("user")):  # nothing is known of a template that fails on everything
            return True
        return any(self._shows("system", content) for content in (" ".join(_WORDS), _parts(*_WORDS)))

    def _shows(self, role: str, content: str | list[Any]) -> bool:
        """Tell whether a message of this content gets into a prompt, with nothing between its two words."""
        probe = {"role": role, "content": content}
        user, answer = ({"role": name, "content": "A text."} for name in ("user", "assistant"))
        talk = {"system": [probe, user], "assistant": [user, probe, user], "tool": [user, answer, probe]}
        try:
            return _BOTH.search(self._render(talk.get(role, [probe]))) is not None
        except TemplateError:
            return False


def _parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]
