"""LFM2 and LFM2.5: a list of calls in Python's syntax, which most of their templates do not write themselves."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.python_notation import PythonNotation
from realizar.calls.tool_format import ToolCallFormat

FORMAT = ChatFormat(
    "lfm2",
    contains=("List of tools: ", "<|im_start|>"),
    calls=ToolCallFormat("<|tool_call_start|>[", "(", "), ", ")]<|tool_call_end|>", PythonNotation()),
    writes_calls=True,
)
