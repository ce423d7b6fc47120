"""ToolCallParser: separates tool calls from text while a completion is streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realizar.calls.delta import CallReader, ToolCallDelta

if TYPE_CHECKING:
    from realizar.calls.tool import Tool, ToolCall
    from realizar.calls.tool_format import ToolCallFormat


class ToolCallParser:
    """Takes a completion in pieces and returns the text that is not part of a tool call.

    Everything after the beginning of the first call is tool calls. The result does not depend on how the text is cut
    into pieces.

    Parameters
    ----------
    tool_format : ToolCallFormat
    tools : sequence of Tool
        Those that may be called; with none, all is text.
    new_id : callable
        Maps the index of a call in the completion to its id, for formats without ids.
    calls_alone : bool
        Whether the completion consists of tool calls only.
    """

    def __init__(
        self,
        tool_format: ToolCallFormat,
        tools: Sequence[Tool],
        new_id: Callable[[int], str],
        calls_alone: bool = False,
    ) -> None:
        names = [tool.name for tool in tools]
        self._cleaner = tool_format.cleaner()
        self._find = tool_format.finder(names)
        self._begun = calls_alone
        self._written: list[str] = []
        self._has_late_ids = tool_format.has_late_ids
        first, following, closing = tool_format.patterns(names)
        by_name = {tool.name: tool for tool in tools}
        self._reader = CallReader(first, following, closing, tool_format.arguments, by_name, new_id)

    @property
    def written(self) -> Sequence[str]:
        """The pieces of the calls so far, as the model writes them; some are empty."""
        return self._written

    def push(self, piece: str) -> str:
        """Take the next piece; return the text that is certainly not part of a call."""
        text, calls = ("", piece) if self._begun else self._find.push(piece)
        self._begun |= bool(calls)
        self._written.append(calls)
        self._reader.push(calls)
        return self._cleaner.push(text)

    def flush(self) -> str:
        """End the completion; return the text that was held back and did not become a call."""
        self._has_late_ids = False
        return self._cleaner.push(self._find.flush()) + self._cleaner.flush()

    def take_deltas(self) -> list[ToolCallDelta]:
        """Return the deltas of tool calls since the last call.

        In formats that write a call's id after its arguments, all deltas come when the completion has ended.
        """
        return [] if self._has_late_ids else self._with_ids(self._reader.take())

    def _with_ids(self, deltas: list[ToolCallDelta]) -> list[ToolCallDelta]:
        """Return deltas with the ids that the calls have by now."""
        ids = dict(enumerate(self._reader.ids))
        return [delta if delta.id is None else delta._replace(id=ids[delta.number]) for delta in deltas]

    def calls(self) -> list[ToolCall]:
        """Return the tool calls whose arguments are complete."""
        return self._reader.calls()
