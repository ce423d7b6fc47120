"""summarize: the contents of a file as JSON-serializable data."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from realizar.gguf.file import GGUFFile
from realizar.gguf.metadata import Metadata
from realizar.gguf.types import GGMLType, TensorInfo

# Number of array elements to include.
N_SHOWN_ELEMENTS = 8


def summarize(file: GGUFFile) -> dict[str, Any]:
    """Return metadata, tensors and sizes of a file as dicts, lists, strings and finite numbers.

    Parameters
    ----------
    file : GGUFFile
        An open file.

    Returns
    -------
    dict
        path, version, n_bytes, architecture (None if missing), n_weights (elements of all tensors), tensor_bytes,
        bits_per_weight (None without tensors);
        metadata: key -> {type, value}, or {type: "ARRAY", element, n, first} for an array;
        types: name -> {n_tensors, n_weights, n_bytes, bits_per_weight}, sorted by bytes, descending;
        tensors: [{name, type, shape, n_bytes}] in file order.

    Raises
    ------
    GGUFError
        If an array cannot be decoded.
    """
    tensors = list(file.tensors.values())
    by_type: dict[GGMLType, list[TensorInfo]] = defaultdict(list)
    for info in tensors:
        by_type[info.type].append(info)
    types = {ggml_type.name: _sizes(infos) for ggml_type, infos in by_type.items()}
    total = _sizes(tensors)
    return {
        "path": str(file.path),
        "version": file.version,
        "n_bytes": file.n_bytes,
        "architecture": file.architecture if "general.architecture" in file.metadata else None,
        "n_weights": total["n_weights"],
        "tensor_bytes": total["n_bytes"],
        "bits_per_weight": total["bits_per_weight"],
        "metadata": {key: summarize_value(file.metadata, key) for key in file.metadata},
        "types": dict(sorted(types.items(), key=lambda item: -item[1]["n_bytes"])),
        "tensors": [
            {"name": t.name, "type": t.type.name, "shape": list(t.shape), "n_bytes": t.n_bytes} for t in tensors
        ],
    }


def _sizes(tensors: list[TensorInfo]) -> dict[str, Any]:
    n_weights = sum(info.n_elements for info in tensors)
    n_bytes = sum(info.n_bytes for info in tensors)
    return {
        "n_tensors": len(tensors),
        "n_weights": n_weights,
        "n_bytes": n_bytes,
        "bits_per_weight": 8 * n_bytes / n_weights if n_weights else None,
    }


def summarize_value(metadata: Metadata, key: str) -> dict[str, Any]:
    """Return {type, value} of a metadata value, or {type: "ARRAY", element, n, first} of an array."""
    field = metadata.field(key)
    if field.element is None:
        return {"type": field.type.name, "value": _plain(field.value)}
    first = [_plain(value) for value in metadata[key][:N_SHOWN_ELEMENTS]]
    return {"type": field.type.name, "element": field.element.name, "n": field.n, "first": first}


def _plain(value: Any) -> Any:
    """Convert a numpy value to Python; infinities and NaN, which JSON lacks, become strings."""
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
