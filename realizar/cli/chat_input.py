"""What the user types in `realizar chat`: with history and several lines in a terminal, else line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
_HINT = "(Ctrl-D or /exit ends the conversation)"


def is_interactive() -> bool:
    """Whether both standard input and standard output are terminals."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def questions(commands: Sequence[str]) -> Iterator[str]:
    """Yield what the user enters, without the space after it, until the end of the input.

    In a terminal, Ctrl-C discards what is being typed.

    Parameters
    ----------
    commands : sequence of str
        What the tab key completes at the beginning of a line.
    """
    if not is_interactive():
        yield from _piped_lines()
        return
    try:
        session = _session(commands)
    except ImportError:
        session = None
        print("(history and several lines need the extra: pip install 'realizar[cli]')", file=sys.stderr)
        with suppress(ImportError):  # Windows has line editing without it
            import readline  # noqa: F401  (line editing for input())
    while True:
        try:
            text = _typed_lines() if session is None else session.prompt(PROMPT)
        except KeyboardInterrupt:
            print(_HINT, file=sys.stderr)
            continue
        except EOFError:
            print()
            return
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if text.strip():
            yield text.rstrip()


def _piped_lines() -> Iterator[str]:
    """Yield the UTF-8 lines of standard input. In text mode, a decoding error would lose all buffered lines."""
    while line := sys.stdin.buffer.readline():
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            says = f"(skipped a line that is not UTF-8: {error.reason} at byte {error.start})"
            print(says, file=sys.stderr)
            continue
        if text.strip():
            yield text.rstrip()


def _typed_lines() -> str:
    """Return a line, and those that follow while one ends with a backslash."""
    lines = [input(PROMPT)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input("  "))
    return "\n".join(lines)


def history_path() -> Path:
    """Return the file with what was typed in earlier conversations, in the user's folder for state."""
    from platformdirs import user_state_path

    return user_state_path("realizar", appauthor=False) / "chat_history"


def _session(commands: Sequence[str]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory

    history: History
    path = history_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        os.close(handle)
        path.chmod(0o600)
        history = FileHistory(path)
    except OSError as error:
        print(f"(no history: {error})", file=sys.stderr)
        history = InMemoryHistory()
    return PromptSession(
        history=history, multiline=True, key_bindings=_keys(), prompt_continuation="  ",
        completer=WordCompleter(list(commands), sentence=True), complete_while_typing=False,
        enable_suspend=os.name == "posix", enable_open_in_editor=True,
    )  # fmt: skip


def _keys() -> KeyBindings:
    """Return what differs from prompt_toolkit's keys for several lines, in which Enter begins a new one."""
    from prompt_toolkit.filters import is_searching
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching)
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
