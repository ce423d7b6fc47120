"""realizar: GGUF language models on the CPU at the limit of the hardware.

Names are imported when first used, so that ``import realizar`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from realizar.arch.hookspecs import hookimpl
    from realizar.async_llm import AsyncLLM
    from realizar.engine.output import Completion
    from realizar.llm import LLM
    from realizar.params import Embeddings, SamplingParams, StructuredOutputsParams, Tokens

__version__ = "0.1.0"
__all__ = [
    "LLM", "AsyncLLM", "Completion", "Embeddings", "SamplingParams", "StructuredOutputsParams", "Tokens", "__version__",
    "hookimpl",
]  # fmt: skip

_HOME = {
    "LLM": "realizar.llm",
    "AsyncLLM": "realizar.async_llm",
    "SamplingParams": "realizar.params",
    "StructuredOutputsParams": "realizar.params",
    "Tokens": "realizar.params",
    "Embeddings": "realizar.params",
    "Completion": "realizar.engine.output",
    "hookimpl": "realizar.arch.hookspecs",
}


class _Module(ModuleType):
    """The type of this module, so that calling it says what to call."""

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("realizar is a module, which cannot be called; a model is loaded by realizar.LLM('smollm2')")


sys.modules[__name__].__class__ = _Module


def __getattr__(name: str) -> object:
    if name == "compat":
        return import_module("realizar.compat")
    if name not in _HOME:
        from realizar.errors import did_you_mean

        meant = did_you_mean(name, __all__) or f"; it has {', '.join(__all__)}"
        if name in import_module("realizar.compat").__all__:
            meant = f"; it is realizar.compat.{name}"
        raise AttributeError(f"module 'realizar' has no attribute {name!r}{meant}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
