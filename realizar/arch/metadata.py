"""ArchMetadata: typed access to the metadata of a file for one architecture."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any, TypeVar

import numpy as np

from realizar.errors import GGUFError, short_repr
from realizar.gguf.metadata import Metadata
from realizar.graph.rope import section_axes

T = TypeVar("T")

MAX_LAYERS = 4096
"""Most layers that a file may declare: tables are built from it before tensors are read. llama.cpp allows 512."""


UNPREFIXED = ("tokenizer.", "xielu.", "clip.")
"""Beginnings of the keys that files have without the architecture's name before them."""


class ArchMetadata:
    """Typed look-up of `{arch}.{key}` in the metadata of a GGUF file; keys in UNPREFIXED have no prefix.

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

    def _of_layers(self, key: str) -> list[Any] | None:
        """The values of the layers of a per-layer array, without those of draft blocks.

        Some converters write one value for each block, others one for each layer.
        """
        value = self._find(key)
        if value is None or isinstance(value, (str, bool, int, float)) or key.startswith("tokenizer."):
            return None
        n_layer = self.layers()
        if len(value) not in (n_layer, n_layer + self.draft_layers()):
            return None
        return list(np.asarray(value[:n_layer]).tolist())

    def with_draft(self, key: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of the layers, and that of the first draft block, if there is one.

        Files whose per-layer array has no value for it, or that have one number for all, have that of the last layer.
        """
        found, n_layer, n_draft = self._find(key), self.layers(), self.draft_layers()
        if not n_draft:
            return values
        n = 0 if found is None or isinstance(found, (str, bool, int, float)) else len(found)
        return (*values, type(values[-1])(found[n_layer]) if n == n_layer + n_draft else values[-1])

    def _same_for_all(self, key: str) -> Any:
        """A value of the file; of a per-layer array the value that all layers share."""
        values = self._of_layers(key)
        if not values:
            return self._find(key)
        if any(value != values[0] for value in values):
            raise GGUFError(
                f"{self._whole(key)}: differs from layer to layer ({short_repr(values)}), which is not supported: "
                f"architecture {self.arch} uses one value for all layers"
            )
        return values[0]

    def _whole(self, key: str) -> str:
        return key if key.startswith(UNPREFIXED) else f"{self.arch}.{key}"

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; GGUFError if it is missing without a default, or is not an integer.

        An array with equal numbers for all layers counts as that number; other arrays are an error.
        """
        value = self._same_for_all(key)
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

    def integer_between(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """An integer in [low, high]."""
        value = self.integer(key, default)
        if not low <= value <= high:
            raise GGUFError(self._wrong(key, value, f"an integer from {low} to {high}"))
        return value

    def layers(self, key: str = "block_count", default: int | None = None) -> int:
        """Number of layers, 1 to 4096, without the draft blocks that "block_count" includes."""
        found = self._find(key)
        value = default if found is None and default is not None else found
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LAYERS:
            raise GGUFError(self._wrong(key, value, f"an integer from 1 to {MAX_LAYERS}"))
        return value - self.draft_layers() if key == "block_count" else value

    def draft_layers(self) -> int:
        """Number of trailing blocks for multi-token prediction, which the decoder does not use.

        The key is "nextn_predict_layers"; `block_count` includes them.
        """
        key = "nextn_predict_layers"
        found, n_block = self._find(key), self._find("block_count")
        if found is None:
            return 0
        if isinstance(found, bool) or not isinstance(found, int) or not isinstance(n_block, int):
            raise GGUFError(self._wrong(key, found, "an integer >= 0"))
        if not 0 <= found < max(n_block, 1):
            raise GGUFError(self._wrong(key, found, f"an integer from 0 to {n_block - 1}, less than block_count,"))
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number, or a per-layer array of equal ones."""
        value = self._same_for_all(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
            raise GGUFError(self._wrong(key, value, "a finite number"))
        return float(value)

    def between(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number in [low, high]."""
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

    def choice(self, key: str, known: Mapping[Any, T], default: Any) -> T:
        """What a value stands for, of those that are known: a string or a number."""
        value = self._find(key)
        if value is None:
            return known[default]
        if not isinstance(value, (str, int)) or value not in known:
            raise GGUFError(self._wrong(key, value, f"one of {', '.join(map(str, known))}"))
        return known[value]

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty if it is missing."""
        value = self._find(key)
        if value is None:
            return ()
        if isinstance(value, (str, int, float)) or not all(isinstance(item, str) for item in value):
            raise GGUFError(self._wrong(key, value, "a list of strings"))
        return tuple(value)

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._find(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise GGUFError(self._wrong(key, value, "true or false"))
        return value

    def period_or_flags(self, key: str, period: int) -> int | tuple[bool, ...]:
        """A pattern over the layers: its period, or a flag for each layer."""
        value = self._find(key)
        if value is None or isinstance(value, int):
            return self.positive(key, period)
        return self._flags(key, "a number, or a flag for each layer,")

    def _flags(self, key: str, want: str) -> tuple[bool, ...]:
        flags = self._of_layers(key)
        if flags is None or not all(isinstance(flag, int) for flag in flags):
            raise GGUFError(self._wrong(key, self._find(key), want))
        return tuple(bool(flag) for flag in flags)

    def flags(self, key: str, default: bool | None = None) -> tuple[bool, ...]:
        """A flag for each layer; `default` for all of them if the key is missing."""
        value = self._find(key)
        if value is None and default is not None:
            return (default,) * self.layers()
        return self._flags(key, "a flag for each layer")

    def per_layer(self, key: str) -> tuple[int, ...]:
        """An integer >= 0 for each layer: a per-layer array, or one number for all layers."""
        value = self._find(key)
        values = [value] * self.layers() if isinstance(value, int) else self._of_layers(key)
        try:
            numbers = tuple(index(number) for number in values or ())
        except TypeError:
            numbers = ()
        if not numbers or min(numbers) < 0:
            raise GGUFError(self._wrong(key, value, "an integer >= 0, or one for each layer,"))
        return numbers

    def integers(self, key: str) -> tuple[int, ...]:
        """An array of integers that is not one of layers; empty if it is missing."""
        value = self._find(key)
        try:
            return tuple(index(number) for number in (() if value is None else value))
        except TypeError:
            raise GGUFError(self._wrong(key, value, "an array of integers")) from None

    def numbers_of(self, key: str, n: int) -> tuple[int, ...]:
        """An array of n integers >= 0 that is not one of layers."""
        numbers = self.integers(key)
        if len(numbers) != n or min(numbers) < 0:
            raise GGUFError(self._wrong(key, self._find(key), f"an array of {n} integers >= 0"))
        return numbers

    def numbers(self, key: str, default: float | None = None, finite: bool = True) -> tuple[float, ...]:
        """A number for each layer: a per-layer array, or one number for all; -inf only if it may be infinite."""
        found = self._find(key)
        value = default if found is None else found
        values = [value] * self.layers() if isinstance(value, (int, float)) else self._of_layers(key)
        most = float("inf")
        if not values or not all(
            isinstance(v, (int, float)) and v < most and not (finite and v == -most) for v in values
        ):
            what = "a finite number" if finite else "a number"
            raise GGUFError(self._wrong(key, value, f"{what}, or one for each layer,"))
        return tuple(float(v) for v in values)

    def n_vocab(self) -> int:
        """Number of tokens: the length of `tokenizer.ggml.tokens`, else `{arch}.vocab_size`."""
        key = "tokenizer.ggml.tokens"
        if key not in self.metadata:
            return self.positive("vocab_size")
        if isinstance(self.metadata, Metadata):  # counted in the header: decoding 150,000 strings takes 0.1 s
            return self.metadata.field(key).n
        return len(self.metadata[key])

    def _wrong(self, key: str, value: object, want: str) -> str:
        found = "it is missing" if value is None else f"found {short_repr(value)}"
        return f"{self._whole(key)}: {want} is needed, {found}; the file may be incomplete or for another architecture"


def mrope_axes(md: ArchMetadata, interleaved: bool = False) -> tuple[int, ...] | None:
    """The axis of each rotary frequency by the key "rope.dimension_sections", as `section_axes` orders them.

    None if at most one axis has frequencies. A text alone has the same position on every axis.
    """
    sections = [n for n in md.integers("rope.dimension_sections") if n > 0]
    return section_axes(sections, interleaved=interleaved) if len(sections) > 1 else None
