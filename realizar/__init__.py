"""realizar: GGUF language models on the CPU at the limit of the hardware.

Names are imported when first used, so that ``import realizar`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.arch.hookspecs import hookimpl
    from realizar.async_llm import AsyncLLM
    from realizar.engine.output import Completion
    from realizar.llm import LLM
    from realizar.params import SamplingParams

__version__ = "0.1.0"
__all__ = ["LLM", "AsyncLLM", "Completion", "SamplingParams", "__version__", "hookimpl"]

_HOME = {
    "LLM": "realizar.llm",
    "AsyncLLM": "realizar.async_llm",
    "SamplingParams": "realizar.params",
    "Completion": "realizar.engine.output",
    "hookimpl": "realizar.arch.hookspecs",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'realizar' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
