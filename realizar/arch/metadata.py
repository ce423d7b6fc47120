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

    def _of_layers(self, key: str) -> list[Any] | None:
        """The values of the layers, where the file has an array of one for each block; those of draft blocks left out.

        Some converters write the array for all blocks, others for the layers alone.
        """
        value = self._find(key)
        if value is None or isinstance(value, (str, bool, int, float)) or key.startswith("tokenizer."):
            return None
        n_layer = self.layers()
        if len(value) not in (n_layer, n_layer + self.draft_layers()):
            return None
        return list(np.asarray(value[:n_layer]).tolist())

    def _same_for_all(self, key: str) -> Any:
        """A value of the file; of an array with one for each layer the one that all of them have."""
        values = self._of_layers(key)
        if not values:
            return self._find(key)
        if any(value != values[0] for value in values):
            raise GGUFError(
                f"{self._whole(key)}: differs from layer to layer ({shown(values)}), which is not supported: "
                f"architecture {self.arch} computes all its layers with one value"
            )
        return values[0]

    def _whole(self, key: str) -> str:
        return key if key.startswith("tokenizer.") else f"{self.arch}.{key}"

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; `GGUFError` when it is missing and there is no default, or when it is none.

        An array with the same number for each layer counts as that number; other arrays are an error.
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

    def layers(self, key: str = "block_count", default: int | None = None) -> int:
        """How many layers there are: from 1 to 4096. Draft blocks, which "block_count" includes, are not layers."""
        found = self._find(key)
        value = default if found is None and default is not None else found
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LAYERS:
            raise GGUFError(self._wrong(key, value, f"an integer from 1 to {MAX_LAYERS}"))
        return value - self.draft_layers() if key == "block_count" else value

    def draft_layers(self) -> int:
        """How many of the last blocks only draft tokens (multi-token prediction); the decoder does without them.

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
        """A finite number, or an array with the same one for each layer."""
        value = self._same_for_all(key)
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
        flags = self._of_layers(key)
        if flags is None or not all(isinstance(flag, int) for flag in flags):
            raise GGUFError(self._wrong(key, value, "a number, or a flag for each layer,"))
        return tuple(bool(flag) for flag in flags)

    def per_layer(self, key: str) -> tuple[int, ...]:
        """An integer >= 0 for each layer: an array of the file, or one number for all of them."""
        value = self._find(key)
        values = [value] * self.layers() if isinstance(value, int) else self._of_layers(key)
        try:
            numbers = tuple(index(number) for number in values or ())
        except TypeError:
            numbers = ()
        if not numbers or min(numbers) < 0:
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
