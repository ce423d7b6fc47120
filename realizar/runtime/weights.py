"""The tensors of a file held against what an architecture declares, as views and as references for its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realizar.arch.architecture import Shape, Weight, WeightRef, Weights, WeightTable, expand
from realizar.errors import TensorError
from realizar.gguf import GGUFFile
from realizar.quants import FORMATS, dequantize


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes
    ----------
    name : str
    type : str
        Name of its format, for example "Q4_K".
    shape : tuple[int, ...]
        Rows first.
    data : uint8 [n_rows, row_bytes]
        View of the mapped file.
    """

    name: str
    type: str
    shape: Shape
    data: npt.NDArray[np.uint8]

    def floats(self) -> npt.NDArray[np.float32]:
        """The numbers, float32 [*shape]."""
        return dequantize(self.data, self.type).reshape(self.shape)


def collect(file: GGUFFile, table: WeightTable, n_layer: int) -> tuple[Weights, dict[str, Tensor]]:
    """Holds a file against the declaration of an architecture.

    Returns
    -------
    weights : Weights
        What `build` is given.
    tensors : dict[str, Tensor]
        By GGUF name, ".weight" and ".bias" included.

    Raises
    ------
    TensorError
        If a tensor is missing, has another shape or a type that has no kernels.
    """
    if n_layer > len(file.tensors):  # before anything is made for each layer
        raise TensorError(
            f"{file.path.name}: its metadata speak of {n_layer} layers, but it has only {len(file.tensors)} tensors"
        )
    refs: dict[str, WeightRef | None] = {}
    tensors: dict[str, Tensor] = {}
    for name, weight in expand(table, n_layer).items():
        if not _expected(file, name, weight):
            refs[name] = None
        elif weight.parts is None:
            refs[name] = _reference(file, name, weight, tensors)
        elif _is_whole(file, name, weight):
            refs.update(_cut(file, name, weight, tensors))
        else:
            refs.update({part: _reference(file, part, w, tensors) for part, w in weight.split(name).items()})
    return Weights(refs), tensors


def _is_whole(file: GGUFFile, name: str, weight: Weight) -> bool:
    """Whether the file holds a weight that has parts as one; a part may bear the name of the whole."""
    parts = (f"{part}.weight" in file.tensors for part in weight.split(name))
    return f"{name}.weight" in file.tensors and not all(parts)


def _expected(file: GGUFFile, name: str, weight: Weight) -> bool:
    """Whether a weight belongs into this file, where that depends on another tensor of the layer."""
    folder = name[: name.rfind(".") + 1]
    return (weight.where is None or f"{folder}{weight.where}.weight" in file.tensors) and (
        weight.unless is None or f"{folder}{weight.unless}.weight" not in file.tensors
    )


def _reference(file: GGUFFile, name: str, weight: Weight, tensors: dict[str, Tensor]) -> WeightRef | None:
    """One weight of the file, its tensors added to `tensors`; None for one that may be left out and is."""
    source, suffix = name, weight.suffix
    if name + suffix not in file.tensors and weight.alias is not None:
        source = weight.alias
    if source + suffix not in file.tensors:
        if not weight.optional:
            raise TensorError(f"{name}{suffix}: the architecture needs it, but {file.path.name} has no such tensor")
        return None
    tensors[source + suffix] = _tensor(file, source + suffix, weight.shape)
    return WeightRef(source, weight.shape, _bias(file, source, weight, tensors), suffix)


def _cut(file: GGUFFile, name: str, weight: Weight, tensors: dict[str, Tensor]) -> dict[str, WeightRef]:
    """The parts of a weight that the file holds whole: its rows as they lie there, and copies of its bias."""
    found: dict[str, Tensor] = {}
    bias = _bias(file, name, weight, found)
    whole = _tensor(file, f"{name}.weight", weight.shape)
    refs, start = {}, 0
    for part, w in weight.split(name).items():
        rows = slice(start, start + w.shape[0])
        tensors[f"{part}.weight"] = Tensor(f"{part}.weight", whole.type, w.shape, whole.data[rows])
        if bias is not None:
            data = found[bias].floats()[rows].view(np.uint8)[None]
            tensors[f"{part}.bias"] = Tensor(f"{part}.bias", "F32", w.shape[:1], data)
        refs[part] = WeightRef(part, w.shape, None if bias is None else f"{part}.bias")
        start = rows.stop
    return refs


def _bias(file: GGUFFile, name: str, weight: Weight, tensors: dict[str, Tensor]) -> str | None:
    bias = f"{name}.bias"
    if weight.bias is False or (weight.bias is None and bias not in file.tensors):
        return None
    if bias not in file.tensors:
        raise TensorError(f"{bias}: the architecture needs it, but {file.path.name} has no such tensor")
    tensors[bias] = _tensor(file, bias, weight.bias_shape)
    return bias


def _tensor(file: GGUFFile, name: str, shape: Shape) -> Tensor:
    info = file.tensors[name]
    if tuple(info.shape) not in (shape, shape[1:] if shape[0] == 1 else shape):  # a matrix of one row may be a vector
        raise TensorError(
            f"{name}: shape {tuple(info.shape)} in {file.path.name}, but its metadata and architecture ask for {shape}"
        )
    if info.type.name not in FORMATS:
        raise TensorError(f"{name}: type {info.type.name} has no kernels; known are {', '.join(FORMATS)}")
    return Tensor(name, info.type.name, shape, file.data(name))


def floats(tensors: Mapping[str, Tensor], name: str) -> npt.NDArray[np.float32]:
    """A small tensor (norm, bias, factors) as contiguous float32 [n]."""
    return np.ascontiguousarray(tensors[name].floats().reshape(-1))


def heads_of(
    tensor: Tensor, n_head: int, rows: tuple[int, int] | None, transposed: bool
) -> tuple[str, list[npt.NDArray[np.uint8]]]:
    """The matrix of each head as `linear_heads` takes it: its format, and uint8 [n_out, row_bytes] for each head.

    Views of the file; float32 copies where rows and columns are exchanged, since blocks lie along rows.
    """
    data = tensor.data.reshape(n_head, -1, tensor.data.shape[-1])
    heads = list(data[:, slice(*rows)] if rows else data)
    if not transposed:
        return tensor.type, heads
    return "F32", [np.ascontiguousarray(dequantize(head, tensor.type).T).view(np.uint8) for head in heads]
