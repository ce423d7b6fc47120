"""Kimi K3: elements of control tokens, <|open|>argument key="KEY" type="TYPE"<|sep|>VALUE<|close|>argument<|sep|>."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

_ELEMENT = '<|open|>argument key="{key}" type="{type}"<|sep|>{value}<|close|>argument<|sep|>'

FORMAT = ChatFormat(
    "kimi_k3",
    contains=("<|open|>", "<|close|>", "<|sep|>", "argument"),
    arguments=TagNotation(_ELEMENT, number_name="number"),
)
