"""Calls in Python's syntax, [f(a=1), g(b='text')]: Llama 4, Olmo 3, LFM2.5, where the template writes them."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.python_notation import PythonNotation

FORMAT = ChatFormat("pythonic", arguments=PythonNotation())
