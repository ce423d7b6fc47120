"""Command R+: an indented list of calls in a code block after "Action:"."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.notation import JsonNotation

FORMAT = ChatFormat(
    "command_r_plus",
    contains=("Action:", "```json", "tool_name"),
    arguments=JsonNotation(),
    closing="\n    }\n]```",
    marker="Action:\n```json",
)
