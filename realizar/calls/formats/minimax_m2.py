"""MiniMax M2: <invoke name="NAME"> with one <parameter name="KEY"> for each argument."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

FORMAT = ChatFormat(
    "minimax_m2",
    contains=("<minimax:tool_call>", "<invoke name=", "<parameter name="),
    arguments=TagNotation('<parameter name="{key}">{value}</parameter>'),
)
