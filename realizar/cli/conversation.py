"""Conversation: the messages of `realizar chat`, and the files that `/save` writes and `/load` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realizar.atomic import atomic_write
from realizar.errors import ParameterError

Message = dict[str, str]
_ROLES = ("system", "user", "assistant")


class Conversation:
    """A system message, if any, and turns: questions and their answers.

    Attributes
    ----------
    system : str or None
    turns : list of dict
        Messages of the user and the assistant, oldest first.
    """

    def __init__(self, system: str | None = None) -> None:
        self.system = system
        self.turns: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """All messages, as `LLM.chat` takes them."""
        return [*([] if self.system is None else [{"role": "system", "content": self.system}]), *self.turns]

    def ask(self, text: str) -> None:
        """Add a message of the user."""
        self.turns.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """Add a message of the assistant."""
        self.turns.append({"role": "assistant", "content": text})

    def take_question(self) -> str | None:
        """Remove the last question and its answer, and return the question; None if there is none."""
        while self.turns:
            message = self.turns.pop()
            if message["role"] == "user":
                return message["content"]
        return None

    def drop_oldest(self) -> bool:
        """Remove the oldest question and its answer; return False if there is none but the last question."""
        n = next((i for i, message in enumerate(self.turns[1:], 1) if message["role"] == "user"), 0)
        del self.turns[:n]
        return n > 0

    def save(self, path: Path, model: str) -> None:
        """Write the conversation as a body of OpenAI's chat API.

        Raises
        ------
        ParameterError
            If the file is something else, or cannot be written.
        """
        if path.exists() and not _is_conversation(path):
            raise ParameterError(f"{path}: exists, and is no conversation; choose another name")
        text = json.dumps({"model": model, "messages": self.messages}, indent=2, ensure_ascii=False) + "\n"
        try:
            with atomic_write(path) as stream:
                stream.write(text.encode(errors="backslashreplace"))  # half of a surrogate pair is escaped, as in JSON
        except (OSError, ValueError) as error:
            raise ParameterError(f"{path}: cannot be written: {error}") from None

    def load(self, path: Path) -> None:
        """Replace the conversation by that of a file.

        Raises
        ------
        ParameterError
            If the file cannot be read, or is no conversation.
        """
        messages = _read(path)
        system = [message["content"] for message in messages if message["role"] == "system"]
        self.system = "\n".join(system) if system else None
        self.turns = [message for message in messages if message["role"] != "system"]


def _read(path: Path) -> list[Message]:
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: cannot be read as a conversation: {error}") from None
    messages = found.get("messages") if isinstance(found, dict) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise ParameterError(
            f'{path}: is no conversation; it must be JSON like {{"messages": [...]}}, as /save writes it'
        )
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _is_conversation(path: Path) -> bool:
    try:
        _read(path)
    except ParameterError:
        return False
    return True


def _is_message(found: Any) -> bool:
    return isinstance(found, dict) and found.get("role") in _ROLES and isinstance(found.get("content"), str)
