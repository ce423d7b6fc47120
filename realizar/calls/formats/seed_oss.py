"""Seed-OSS: the elements of Qwen3-Coder, within <seed:tool_call>."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

FORMAT = ChatFormat(
    "seed_oss",
    contains=("<seed:tool_call>", "<function=", "<parameter="),
    arguments=TagNotation(
        "<parameter={key}>{value}</parameter>", python_types=frozenset(("boolean", "null", "array", "object"))
    ),
)
