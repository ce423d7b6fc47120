"""DeepSeek V3.2 and V4: MiniMax M2's form with a mark in each tag, and whether a value is a string."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

_MARK = "\uff5cDSML\uff5c"

FORMAT = ChatFormat(
    "deepseek_dsml",
    contains=(_MARK, "invoke name="),
    arguments=TagNotation(f'<{_MARK}parameter name="{{key}}" string="{{is_string}}">{{value}}</{_MARK}parameter>'),
)
