"""ArchMetadata: the metadata of a file as one architecture reads it."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any

import numpy as np

from realizar.errors import GGUFError, shown
from realizar.gguf.metadata import Metadata

MAX_LAYERS = 4096
"""What a file may claim, since tables are made of it before its tensors are looked at; llama.cpp takes 512."""


class ArchMetadata:
    """Typed look-ups of `{arch}.{key}` in the metadata of a GGUF file; keys of the tokenizer are whole as they are.

    Parameters
    ----------
    metadata : Mapping[str, Any]
    arch : str
        `general.architecture`, the prefix of the keys.
    """

    def __init__(self, metadata: Mapping[str, Any], arch: str) -> None:
        self.metadata = metadata
        self.arch = arch

    def _find(self, key: str) -> Any:
        return self.metadata.get(self._whole(key))

    def _whole(self, key: str) -> str:
        return key if key.startswith("tokenizer.") else f"{self.arch}.{key}"

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; `GGUFError` when it is missing and there is no default, or when it is none."""
        value = self._find(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise GGUFError(self._wrong(key, value, "an integer"))
        return value

    def positive(self, key: str, default: int | None = None) -> int:
        """An integer of at least 1."""
        value = self.integer(key, default)
        if value < 1:
            raise GGUFError(self._wrong(key, value, "an integer >= 1"))
        return value

    def layers(self, key: str = "block_count", default: int | None = None) -> int:
        """How many layers there are: from 1 to 4096."""
        value = self.positive(key, default)
        if value > MAX_LAYERS:
            raise GGUFError(self._wrong(key, value, f"an integer from 1 to {MAX_LAYERS}"))
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._find(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
            raise GGUFError(self._wrong(key, value, "a finite number"))
        return float(value)

    def between(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number that a model can compute with: at least `low`, at most `high`."""
        value = self.number(key, default)
        if not low <= value <= high:
            raise GGUFError(self._wrong(key, value, f"a number from {low:g} to {high:g}"))
        return value

    def string(self, key: str, default: str) -> str:
        """A string."""
        value = self._find(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise GGUFError(self._wrong(key, value, "a string"))
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._find(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise GGUFError(self._wrong(key, value, "true or false"))
        return value

    def period_or_flags(self, key: str, period: int) -> int | tuple[bool, ...]:
        """A pattern over the layers: how often it repeats, or a flag for each layer."""
        value = self._find(key)
        if value is None or isinstance(value, int):
            return self.positive(key, period)
        flags = np.asarray(value)
        if flags.dtype.kind not in "biu" or flags.shape != (self.layers(),):
            raise GGUFError(self._wrong(key, value, "a number, or a flag for each layer,"))
        return tuple(bool(flag) for flag in flags)

    def per_layer(self, key: str) -> tuple[int, ...]:
        """An integer >= 0 for each layer: an array of the file, or one number for all of them."""
        n_layer, value = self.layers(), self._find(key)
        values = [value] * n_layer if isinstance(value, int) else value
        try:
            numbers = tuple(index(number) for number in values)
        except TypeError:
            numbers = ()
        if len(numbers) != n_layer or min(numbers) < 0:
            raise GGUFError(self._wrong(key, value, "an integer >= 0, or one for each layer,"))
        return numbers

    def n_vocab(self) -> int:
        """Number of tokens: the length of `tokenizer.ggml.tokens`, else `{arch}.vocab_size`."""
        key = "tokenizer.ggml.tokens"
        if key not in self.metadata:
            return self.positive("vocab_size")
        if isinstance(self.metadata, Metadata):  # counted in the header: decoding 150,000 strings takes 0.1 s
            return self.metadata.field(key).n
        return len(self.metadata[key])

    def _wrong(self, key: str, value: object, want: str) -> str:
        found = "it is missing" if value is None else f"found {shown(value)}"
        return f"{self._whole(key)}: {want} is needed, {found}; the file may be incomplete or of another architecture"
