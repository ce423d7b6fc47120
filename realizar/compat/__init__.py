"""Classes with the names, parameters and results of llama-cpp-python (docs/migrating.md).

llama.py            Llama: loading, tokens, completions, conversations, embeddings
llama_options.py    its constructor's options; llama_sampling.py: grammars, processors, and how tokens are sampled
llama_shapes.py     the dicts of its results
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.compat.llama import Llama
    from realizar.compat.llama_options import LlamaPromptLookupDecoding
    from realizar.compat.llama_sampling import LlamaGrammar, LogitsProcessorList, StoppingCriteriaList

__all__ = ["Llama", "LlamaGrammar", "LlamaPromptLookupDecoding", "LogitsProcessorList", "StoppingCriteriaList"]

_HOME = {
    "Llama": "llama",
    "LlamaGrammar": "llama_sampling",
    "LlamaPromptLookupDecoding": "llama_options",
    "LogitsProcessorList": "llama_sampling",
    "StoppingCriteriaList": "llama_sampling",
}
_CACHE = "beginnings of prompts are cached without it; leave it out"
_HINTS = {
    "LlamaCache": _CACHE,
    "LlamaRAMCache": _CACHE,
    "LlamaDiskCache": _CACHE,
    "LlamaState": "states cannot be saved here",
    "LlamaTokenizer": "use the methods tokenize and detokenize of Llama",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        from realizar.errors import did_you_mean

        hint = f"; {_HINTS[name]}" if name in _HINTS else did_you_mean(name, __all__)
        raise AttributeError(f"module 'realizar.compat' has no attribute {name!r}{hint}")
    value = getattr(import_module(f"realizar.compat.{_HOME[name]}"), name)
    globals()[name] = value
    return value
