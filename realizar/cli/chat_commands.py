"""The commands of `realizar chat`, such as /save: each changes the conversation or says something about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from realizar.cli.conversation import Conversation
from realizar.errors import ParameterError

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
HELP = """\
/help         this list
/system TEXT  system message; "" removes it
/system       show it
/clear        forget all turns
/regenerate   answer the last question again
/save FILE    write the conversation
/load FILE    go on with another one
/exit         end, like Ctrl-D
Ctrl-J, Alt-Enter or \\ Enter: a new line.
Ctrl-C stops an answer.
Text that begins with / needs a space first."""


class ChatCommands:
    """Carries out commands.

    Parameters
    ----------
    conversation : Conversation
    model : str
        Name of the model, which files have.
    show : callable
        Shows the user a text.
    """

    def __init__(self, conversation: Conversation, model: str, show: Callable[[str], None]) -> None:
        self._conversation = conversation
        self._model = model
        self._show = show
        self._known: dict[str, Callable[[str], str | None]] = {
            "help": self._help, "system": self._system, "clear": self._clear, "regenerate": self._regenerate,
            "save": self._save, "load": self._load, "exit": self._exit,
        }  # fmt: skip

    @property
    def names(self) -> list[str]:
        """All commands, with their slash."""
        return [f"/{name}" for name in self._known]

    def question(self, text: str) -> str | None:
        """Return a text that is no command; else carry it out, and return the question to answer again, if any.

        Raises
        ------
        EOFError
            If the conversation is to end.
        """
        match = _COMMAND.fullmatch(text)
        if match is None:
            return text.strip()
        name, argument = match[1], (match[2] or "").strip()
        run = self._known.get(name)
        if run is None:
            self._show(f"no command /{name}; /help lists them")
            return None
        try:
            return run(argument)
        except ParameterError as error:
            self._show(str(error))
            return None

    def _help(self, _: str) -> None:
        self._show(HELP)

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = _unquoted(text) or None
        system = self._conversation.system
        self._show("no system message" if system is None else f"system message: {system}")

    def _clear(self, _: str) -> None:
        self._conversation.turns.clear()
        self._show("forgot all turns")

    def _regenerate(self, _: str) -> str | None:
        question = self._conversation.take_question()
        if question is None:
            self._show("no question to answer again")
        return question

    def _save(self, name: str) -> None:
        path = _path(name, "/save")
        self._conversation.save(path, self._model)
        self._show(f"saved {len(self._conversation.turns)} messages to {path}")

    def _load(self, name: str) -> None:
        path = _path(name, "/load")
        self._conversation.load(path)
        self._show(f"loaded {len(self._conversation.turns)} messages from {path}")

    def _exit(self, _: str) -> None:
        raise EOFError


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _path(name: str, command: str) -> Path:
    if not name:
        raise ParameterError(f"{command} needs the name of a file")
    try:
        return Path(_unquoted(name)).expanduser()
    except RuntimeError as error:  # unknown user in ~user
        raise ParameterError(f"{command} {name}: {error}") from None
