"""Tokenizers, read from GGUF metadata, and chat templates.

Start with tokenizer.py; one module per kind (gpt2.py, llama.py). Nothing heavy is imported before it is used.
"""

from realizar.tokenizer.chat import ChatTemplate
from realizar.tokenizer.stream import StreamDecoder
from realizar.tokenizer.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer"]
