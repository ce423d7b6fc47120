"""LoRA adapters and control vectors in GGUF files: reading and writing them.

Formats: llama.cpp, convert_lora_to_gguf.py and src/llama-adapter.cpp.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.errors import AdapterError, short_repr
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter, ValueType
from realizar.quants import dequantize
from realizar.runtime.adapters import Adapter, Factors, checked, place_of
from realizar.runtime.side_ops import EMBEDDING

F32 = npt.NDArray[np.float32]
A, B = ".lora_a", ".lora_b"
"""Suffixes of the names of a weight's factors."""
INVOCATION = "adapter.alora.invocation_tokens"
VECTORS = "controlvector"
"""general.architecture of control vectors."""


def array_of(file: GGUFFile, name: str) -> npt.NDArray[Any]:
    """Return a tensor: a view of the file for F32 and F16, float32 values for other types."""
    info, data = file.tensors[name], file.data(name)
    if info.type in (GGMLType.F32, GGMLType.F16):
        return data.view(np.float32 if info.type is GGMLType.F32 else np.float16).reshape(info.shape)
    return dequantize(data, info.type.name).reshape(info.shape)


def is_adapter(file: GGUFFile) -> bool:
    """Whether a file has an adapter and not a model."""
    return file.metadata.get_str("general.type", "") == "adapter"


def read_lora(file: GGUFFile, architecture: str) -> Adapter:
    """Read a LoRA adapter for a model of an architecture. F32 and F16 factors are views of the file.

    Raises
    ------
    AdapterError
        If the file has none, or one for another architecture; if a factor is missing, two do not fit, or values are not
        finite.
    GGUFError
        If the metadata are invalid.
    """
    name = file.path.name
    if not is_adapter(file):
        raise AdapterError(f"{name}: is not an adapter (general.type = adapter); a LoRA adapter is needed")
    kind = file.metadata.get_str("adapter.type", "")
    if kind != "lora":
        raise AdapterError(f"{name}: adapter.type is {kind!r}; only lora is supported")
    if file.architecture != architecture:
        raise AdapterError(
            f"{name}: is for architecture {file.architecture}, but the model is of architecture {architecture}; use "
            "the adapter with the model for which it was trained"
        )
    weights = dict.fromkeys(tensor.removesuffix(A).removesuffix(B) for tensor in file.tensors)
    alpha = file.metadata.get_float("adapter.lora.alpha", 0.0)
    if not math.isfinite(alpha):
        raise AdapterError(f"{name}: adapter.lora.alpha is {alpha}; a finite number is needed")
    factors = {weight: _factors(file, weight, alpha) for weight in weights}
    if not factors:
        raise AdapterError(f"{name}: has no factors (tensors NAME.weight{A} and {B})")
    return checked(Adapter("lora", factors, str(file.path), _invocation(file)))


def _invocation(file: GGUFFile) -> tuple[int, ...]:
    if INVOCATION not in file.metadata:
        return ()
    found = np.asarray(file.metadata[INVOCATION])
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise AdapterError(
            f"{file.path.name}: {INVOCATION} is {short_repr(found.tolist())}; a list of tokens is needed"
        )
    return tuple(found.tolist())


def _factors(file: GGUFFile, weight: str, alpha: float) -> Factors:
    for suffix in (A, B):
        if weight + suffix not in file.tensors:
            raise AdapterError(f"{file.path.name}: {weight}: {weight + suffix} is missing; the file is incomplete")
    a, b = array_of(file, weight + A), array_of(file, weight + B)
    if weight == EMBEDDING:  # a row of A for each token, and B [n_embd, rank]
        a, b = b.swapaxes(-1, -2), a
    if a.ndim < 2 or a.ndim != b.ndim or a.shape[-2] != b.shape[-1] or a.shape[:-2] != b.shape[:-2]:
        raise AdapterError(f"{file.path.name}: {weight}: factors of shapes {a.shape} and {b.shape} do not fit together")
    if a.dtype != b.dtype:
        a, b = a.astype(np.float32), b.astype(np.float32)
    return Factors(a, b, alpha / b.shape[-1] if alpha else 1.0)


def read_control_vector(file: GGUFFile, architecture: str) -> Adapter:
    """Read a control vector for a model of an architecture.

    Raises
    ------
    AdapterError
        If the file has none, or one for another architecture, or a vector is not of float32 or not finite.
    """
    name = file.path.name
    if file.architecture != VECTORS:
        raise AdapterError(f"{name}: general.architecture is {file.architecture}; a {VECTORS} file is needed")
    hint = file.metadata.get_str(f"{VECTORS}.model_hint", architecture)
    if hint != architecture:
        raise AdapterError(f"{name}: is for architecture {hint}, but the model is of architecture {architecture}")
    factors: dict[str, Factors] = {}
    for tensor, info in file.tensors.items():
        layer = re.fullmatch(r"direction\.(\d+)", tensor)
        if layer is None or info.type is not GGMLType.F32 or len(info.shape) != 1:
            raise AdapterError(f"{name}: {tensor} {info.type.name} {info.shape}; direction.LAYER F32 [n] is needed")
        factors[place_of(int(layer[1]))] = Factors(None, array_of(file, tensor).reshape(-1, 1))
    if not factors:
        raise AdapterError(f"{name}: has no vectors (tensors direction.LAYER)")
    return checked(Adapter("control vector", factors, str(file.path)))


def open_lora(path: str | os.PathLike[str], architecture: str) -> Adapter:
    """Read a LoRA adapter from a GGUF file; raises as `read_lora`, and GGUFError if it is damaged."""
    with GGUFFile(path) as file:
        return read_lora(file, architecture)


def open_control_vector(path: str | os.PathLike[str], architecture: str) -> Adapter:
    """Read a control vector from a GGUF file; raises as `read_control_vector`, and GGUFError if it is damaged."""
    with GGUFFile(path) as file:
        return read_control_vector(file, architecture)


def write_lora(path: str | os.PathLike[str], adapter: Adapter, architecture: str) -> None:
    """Write a LoRA adapter as a GGUF file. Scales that one alpha cannot express are multiplied into B."""
    alphas = [factors.scale * factors.b.shape[-1] for factors in adapter.factors.values()]
    alpha = float(np.float32(max(set(alphas), key=alphas.count)))
    writer = GGUFWriter(path)
    for key, value in {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "general.name": Path(adapter.path).name,
        "adapter.lora.alpha": alpha,
    }.items():
        writer.add(key, value)
    if adapter.invocation:
        writer.add(INVOCATION, list(adapter.invocation), ValueType.UINT32)
    for weight, factors in adapter.factors.items():
        if factors.a is None:
            raise AdapterError(f"{adapter.path}: {weight}: has no factor A; it is a control vector")
        b, ratio = factors.b, factors.scale * factors.b.shape[-1] / alpha if alpha else 1.0
        if abs(ratio - 1.0) > 1e-6:
            b = (b * np.float32(ratio)).astype(b.dtype)
        a, b = (b, factors.a.T) if weight == EMBEDDING else (factors.a, b)
        for suffix, array in ((A, a), (B, b)):
            kind = GGMLType.F16 if array.dtype == np.float16 else GGMLType.F32
            writer.add_tensor(weight + suffix, np.ascontiguousarray(array).view(np.uint8), array.shape, kind)
    writer.write()


def write_control_vector(path: str | os.PathLike[str], vectors: Mapping[int, F32], architecture: str) -> None:
    """Write a control vector as a GGUF file; `vectors` has float32 [n_embd] by layer."""
    writer = GGUFWriter(path)
    writer.add("general.architecture", VECTORS)
    writer.add(f"{VECTORS}.model_hint", architecture)
    writer.add(f"{VECTORS}.layer_count", len(vectors), ValueType.INT32)
    for layer, vector in vectors.items():
        writer.add_tensor(place_of(layer), vector.view(np.uint8), vector.shape, GGMLType.F32)
    writer.write()
