"""Tokenizers and chat templates, built from GGUF metadata.

Start with tokenizer.py; there is one module per tokenizer model (gpt2.py, llama.py, ...). Heavy packages are imported
on first use.
"""

from realizar.tokenizer.chat import ChatTemplate
from realizar.tokenizer.stream import StreamDecoder
from realizar.tokenizer.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer"]
