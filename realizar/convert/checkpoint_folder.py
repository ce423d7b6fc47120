"""Source: a folder as Hugging Face has it - config.json and safetensors - asked for what an architecture declares."""

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
    "language_model.model.", "language_model.",
)  # fmt: skip
"""What stands before the names of the base model: with its head on, or inside a model that sees as well."""
BLOCKS, SCALES = "_blocks", "_scales"
"""The two halves of experts in MXFP4, stored outputs first, where the floats of transformers have inputs first."""
FOLDER = "a folder as Hugging Face has it, with config.json, safetensors and the tokenizer's files,"
"""What errors ask for."""


class Source:
    """A checkpoint.

    Parameters
    ----------
    folder : Path
        Holds config.json and model.safetensors, or parts named in model.safetensors.index.json.

    Attributes
    ----------
    config : dict
        config.json; a text model inside another one is what counts.
    scheme : Scheme or None
        How the weights are quantized, as config.json says.
    used : set of str
        Names of the tensors that were asked for and found.

    Raises
    ------
    ModelNotFoundError
        If a file is missing, or the folder is a file.
    GGUFError
        If one cannot be read.
    TensorError
        If the weights are quantized in a way that is not understood.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_file():
            raise ModelNotFoundError(f"{folder}: {FOLDER} is needed, and this is a file")
        self.folder = folder
        self.config = {**(whole := read_json(folder / "config.json")), **whole.get("text_config", {})}
        self.config["architectures"] = whole.get("architectures", self.config.get("architectures", []))
        self.scheme = quantized.scheme_of(self.config)
        self.stored: dict[str, safetensors.Stored] = {}
        for path in _parts(folder):
            self.stored.update(safetensors.read(path))
        self.used: set[str] = set()
        self._prefix: str | None = None

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name (or of one of several, cut by |), `{e}` standing for the experts."""
        return self._find(name.replace("{e}", "0")) is not None

    def array(self, name: str) -> Array:
        """A tensor by its name without prefix and ".weight", float32; of several experts, stacked."""
        if "{e}" not in name:
            found = self._find(name)
            if found is None:
                raise GGUFError(f"{self.folder}: no tensor {name}")
            if found.endswith(BLOCKS):
                scales = self.stored[found.removesuffix(BLOCKS) + SCALES]
                return safetensors.mxfp4(self.stored[found], scales).swapaxes(-1, -2)
            return quantized.numbers(self.stored, found, self.scheme)
        arrays: list[Array] = []
        while self.has(one := name.replace("{e}", str(len(arrays)))):
            arrays.append(self.array(one))
        return np.stack(arrays)

    def settle_prefix(self, name: str) -> None:
        """Looks for the prefix under which the base model lies, given the name of a tensor that every file has."""
        self._prefix = next((p for p in PREFIXES for one in name.split("|") if f"{p}{one}.weight" in self.stored), "")

    def mark(self, name: str) -> None:
        """Notes that a tensor (or those of all experts) will be asked for. Raises as `quantized.scale_of`."""
        e = 0
        while (found := self._find(name.replace("{e}", str(e)))) is not None:
            if found.endswith(BLOCKS):
                self.used.update((found, found.removesuffix(BLOCKS) + SCALES))
            else:
                quantized.scale_of(self.stored, found, self.scheme)
                self.used.update((found, *quantized.beside(found, self.scheme)))
            if "{e}" not in name:
                return
            e += 1

    def _find(self, name: str) -> str | None:
        for one in name.split("|"):
            for prefix in (self._prefix or "", ""):
                for ending in ("", ".weight", BLOCKS):
                    if f"{prefix}{one}{ending}" in self.stored:
                        return f"{prefix}{one}{ending}"
        return None


def read_json(path: Path) -> dict[str, Any]:
    """An object in a file.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    GGUFError
        If it holds anything else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file; {FOLDER} is needed") from None
    except (OSError, ValueError) as error:
        raise GGUFError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise GGUFError(f"{path}: a JSON object is needed, found {type(found).__name__}")
    return found


def _parts(folder: Path) -> list[Path]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        if not whole.is_file():
            raise ModelNotFoundError(f"{whole}: no such file; weights in other formats must be saved as safetensors")
        return [whole]
    names: Mapping[str, str] = read_json(index).get("weight_map", {})
    paths = [folder / name for name in sorted(set(names.values()))]
    for path in paths:
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file, but {index.name} names it; fetch all parts")
    return paths
