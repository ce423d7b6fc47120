"""Hy3: GLM's elements with a suffix in each tag."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

_KEY = "<arg_key:opensource>{key}</arg_key:opensource>"
_VALUE = "<arg_value:opensource>{value}</arg_value:opensource>"

FORMAT = ChatFormat(
    "hunyuan",
    contains=("arg_key", "opensource"),
    arguments=TagNotation(_KEY + _VALUE),
)
