"""Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5: <function=NAME> with one <parameter=KEY> for each argument."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

FORMAT = ChatFormat(
    "qwen3_coder",
    contains=("<tool_call>", "<function=", "<parameter="),
    arguments=TagNotation("<parameter={key}>{value}</parameter>", python_types=frozenset(("boolean", "null"))),
)
