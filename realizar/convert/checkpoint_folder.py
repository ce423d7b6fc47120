"""CheckpointFolder: the configuration and tensors of a Hugging Face checkpoint (config.json and safetensors)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from realizar.arch.checkpoint import Array
from realizar.convert import quantized, safetensors
from realizar.errors import GGUFError, ModelNotFoundError

PREFIXES = (
    "", "model.", "transformer.", "backbone.", "gpt_neox.", "bert.", "roberta.", "model.language_model.",
    "language_model.model.", "language_model.", "model.text_model.", "thinker.model.", "thinker.",
)  # fmt: skip
"""Prefixes of the base model's tensor names: inside a model with a head, or inside a multimodal model."""
BLOCKS, SCALES = "_blocks", "_scales"
"""Suffixes of MXFP4 expert tensors. They are stored [n_out, n_in], while transformers' floats are [n_in, n_out]."""
FOLDER = "a Hugging Face model folder with config.json, safetensors and the tokenizer's files"
"""For error messages."""


class CheckpointFolder:
    """A checkpoint.

    Parameters
    ----------
    folder : Path
        Contains config.json and model.safetensors, or the shards named in model.safetensors.index.json.

    Attributes
    ----------
    config : dict
        Content of config.json; for multimodal models, its text_config, for drafts of speculators, that of their layer.
    scheme : Scheme or None
        Quantization scheme of the weights.
    used : set of str
        Names of the tensors that the conversion uses.

    Raises
    ------
    ModelNotFoundError
        If a file is missing, or the folder is a file.
    GGUFError
        If a file cannot be read.
    TensorError
        If the quantization scheme is not supported.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_file():
            raise ModelNotFoundError(f"{folder}: needs {FOLDER}, but this is a file")
        self.folder = folder
        whole = read_json(folder / "config.json")
        outer = {**whole, **(whole.get("thinker_config") or {})}  # in Qwen 2.5 Omni, beside what makes speech
        self.config = {**outer, **(outer.get("text_config") or {}), **(outer.get("transformer_layer_config") or {})}
        self.config["architectures"] = whole.get("architectures", self.config.get("architectures", []))
        self.scheme = quantized.scheme_of(self.config)
        self.stored: dict[str, safetensors.StoredTensor] = {}
        for path in _shards(folder):
            self.stored.update(safetensors.read(path))
        self.used: set[str] = set()
        self._prefix: str | None = None

    def has(self, name: str) -> bool:
        """Whether a tensor exists; `name` may list alternatives separated by |, and `{e}` is the expert index."""
        return self._find(name.replace("{e}", "0")) is not None

    def array(self, name: str) -> Array:
        """Return a tensor as float32, by its name without prefix and ".weight"; experts are stacked."""
        name = self._alternative(name)
        if "{e}" not in name:
            found = self._find(name)
            if found is None:
                raise GGUFError(f"{self.folder}: no tensor {name}")
            if found.endswith(BLOCKS):
                scales = self.stored[found.removesuffix(BLOCKS) + SCALES]
                return safetensors.mxfp4(self.stored[found], scales).swapaxes(-1, -2)
            return quantized.dequantized(self.stored, found, self.scheme)
        arrays: list[Array] = []
        while self.has(one := name.replace("{e}", str(len(arrays)))):
            arrays.append(self.array(one))
        return np.stack(arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, named as for `array` and without experts."""
        found = self._find(name)
        if found is None:
            raise GGUFError(f"{self.folder}: no tensor {name}")
        return self.stored[found].shape

    def detect_prefix(self, name: str) -> None:
        """Determine the prefix of the base model's tensors from a tensor that every checkpoint has."""
        names = [f"{one}{ending}" for one in name.split("|") for ending in (".weight", "")]
        self._prefix = next((p for p in PREFIXES for one in names if f"{p}{one}" in self.stored), "")

    def mark_used(self, name: str) -> None:
        """Mark a tensor (or those of all experts) as used; raises the errors of `quantized.scale_of`."""
        name, e = self._alternative(name), 0
        while (found := self._find(name.replace("{e}", str(e)))) is not None:
            if found.endswith(BLOCKS):
                self.used.update((found, found.removesuffix(BLOCKS) + SCALES))
            else:
                quantized.scale_of(self.stored, found, self.scheme)
                self.used.update((found, *quantized.scale_names(found, self.scheme)))
            if "{e}" not in name:
                return
            e += 1

    def _alternative(self, name: str) -> str:
        """The first of the alternatives that exists, else all of them."""
        return next((one for one in name.split("|") if self.has(one)), name)

    def _find(self, name: str) -> str | None:
        own = self._prefix or ""
        outer = own.removesuffix("model.") if own.endswith(".model.") else own  # "language_model.": its head is there
        for one in name.split("|"):
            for prefix in (own, outer, ""):
                for ending in ("", ".weight", BLOCKS):
                    if f"{prefix}{one}{ending}" in self.stored:
                        return f"{prefix}{one}{ending}"
        return None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises
    ------
    ModelNotFoundError
        If the file does not exist.
    GGUFError
        If it does not contain a JSON object.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file; convert needs {FOLDER}") from None
    except (OSError, ValueError) as error:
        raise GGUFError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise GGUFError(f"{path}: must be a JSON object, found {type(found).__name__}")
    return found


def _shards(folder: Path) -> list[Path]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        if not whole.is_file():
            raise ModelNotFoundError(f"{whole}: no such file; convert weights in other formats to safetensors first")
        return [whole]
    names: Mapping[str, str] = read_json(index).get("weight_map", {})
    paths = [folder / name for name in sorted(set(names.values()))]
    for path in paths:
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file, but {index.name} lists it; download all shards")
    return paths
