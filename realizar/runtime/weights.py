"""The tensors of a file held against what an architecture declares, as views and as references for its graph."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from realizar.arch import ArchMetadata
from realizar.arch.architecture import Shape, Weight, WeightRef, Weights, WeightTable, expand
from realizar.errors import TensorError
from realizar.gguf import GGUFFile
from realizar.graph import Graph
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
        View of the mapped file; of a part of a fused tensor of experts uint8 [n_expert, n_rows, row_bytes].
    scale : float | None
        What products with it are multiplied by.
    """

    name: str
    type: str
    shape: Shape
    data: npt.NDArray[np.uint8]
    scale: float | None = None

    def floats(self) -> npt.NDArray[np.float32]:
        """The numbers, float32 [*shape]."""
        return dequantize(self.data, self.type).reshape(self.shape)


def collect(
    file: GGUFFile, table: WeightTable, n_layer: int, ignored: Sequence[str] = ()
) -> tuple[Weights, dict[str, Tensor]]:
    """Holds a file against the declaration of an architecture.

    Parameters
    ----------
    file : GGUFFile
    table : dict[str, Weight]
        As `Architecture.tensors` gives it.
    n_layer : int
    ignored : sequence of str
        Patterns of names that may be there without being declared (`Architecture.ignored`).

    Returns
    -------
    weights : Weights
        What `build` is given.
    tensors : dict[str, Tensor]
        By GGUF name, ".weight" and ".bias" included.

    Raises
    ------
    TensorError
        If a tensor is missing, has another shape or a type that has no kernels, or if the file holds one that is
        neither declared nor ignored: computed without it, the model would give wrong answers.
    """
    if n_layer > len(file.tensors):  # before anything is made for each layer
        raise TensorError(
            f"{file.path.name}: its metadata speak of {n_layer} layers, but it has only {len(file.tensors)} tensors"
        )
    whole = expand(table, n_layer)
    found = Collector(file, whole)
    for name, weight in whole.items():
        found.take(name, weight)
    if left := found.unused(ignored):
        more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
        raise TensorError(
            f"{', '.join(left[:MAX_NAMED])}{more}: {file.path.name} holds what its architecture does not declare; the "
            f"answers would be wrong without it. The file may be of a later model, or its metadata wrong "
            f"(architecture, number of layers)"
        )
    return Weights(found.refs), found.tensors


def check_drafts(file: GGUFFile, md: ArchMetadata) -> None:
    """Raise TensorError where a block that the metadata count as a draft block has the tensors of a layer only.

    Left out, it would be a layer that is not computed. A draft block has tensors ``blk.N.nextn.*``, or none at all
    where it has been taken out of the file.
    """
    if not (n_drafts := md.draft_layers()):
        return
    n_layer = md.layers()
    parts = [name.split(".") for name in file.tensors if re.match(r"blk\.\d+\.", name)]
    layers = {part[1] for part in parts} - {part[1] for part in parts if part[2] == "nextn"}
    for i in range(n_layer, n_layer + n_drafts):
        if str(i) in layers:
            raise TensorError(
                f"{md.arch}.nextn_predict_layers = {n_drafts} makes block {i} of {file.path.name} a draft block, but "
                f"the file has no tensor blk.{i}.nextn.*, which a draft block has; if it is an ordinary layer, the "
                "answers would be wrong without it. The key is wrong, or the file damaged"
            )


MAX_NAMED = 8
"""Tensors that an error names."""


class Collector:
    """Takes declared weights out of a file, one by one.

    Parameters
    ----------
    file : GGUFFile
    table : dict[str, Weight]
        All declared weights, each layer's by itself. A scale among them is a weight like the others, and no factor of
        products.

    Attributes
    ----------
    refs : dict[str, WeightRef | None]
        By declared name.
    tensors : dict[str, Tensor]
        By GGUF name; parts of a fused tensor by their own.
    """

    def __init__(self, file: GGUFFile, table: WeightTable) -> None:
        self.file = file
        self._declared = {name + weight.suffix for name, weight in table.items()}
        self.refs: dict[str, WeightRef | None] = {}
        self.tensors: dict[str, Tensor] = {}
        self._used: set[str] = set()

    def unused(self, ignored: Sequence[str] = ()) -> list[str]:
        """The tensors of the file that no weight taken so far has used, without those of these patterns."""
        known = re.compile("|".join(map(fnmatch.translate, ignored)) or r"(?!)")
        return [name for name in self.file.tensors if name not in self._used and not known.match(name)]

    def take(self, name: str, weight: Weight) -> None:
        """Finds the tensors of one declared weight; raises TensorError as `collect`."""
        if not self._expected(name, weight):
            self.refs[name] = None
        elif weight.parts is None:
            self.refs[name] = self._reference(name, weight)
        elif self._is_whole(name, weight):
            self._cut(name, weight)
        else:
            self._take_parts(weight.split(name))

    def _take_parts(self, parts: WeightTable) -> None:
        """All parts, also those behind one that is wrong, which would else count as unused."""
        errors = []
        for name, weight in parts.items():
            try:
                self.refs[name] = self._reference(name, weight)
            except TensorError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _expected(self, name: str, weight: Weight) -> bool:
        """Whether a weight belongs into this file, where that depends on another tensor of the layer."""
        folder = name[: name.rfind(".") + 1]
        return (weight.where is None or f"{folder}{weight.where}.weight" in self.file.tensors) and (
            weight.unless is None or f"{folder}{weight.unless}.weight" not in self.file.tensors
        )

    def _is_whole(self, name: str, weight: Weight) -> bool:
        """Whether the file holds a weight that has parts as one.

        A part may bear the name of the whole: rows tell which it is, or else the other parts, if they are there.
        """
        info = self.file.tensors.get(f"{name}.weight")
        parts = weight.split(name)
        if info is None or all(f"{part}.weight" in self.file.tensors for part in parts):
            return False
        return name not in parts or tuple(info.shape) == weight.shape

    def _reference(self, name: str, weight: Weight) -> WeightRef | None:
        """One weight of the file; None for one that may be left out and is."""
        source, suffix = name, weight.suffix
        if name + suffix not in self.file.tensors and weight.alias is not None:
            source = weight.alias
        if source + suffix not in self.file.tensors:
            if not weight.optional:
                raise self._missing(name + suffix)
            return None
        scale = self._scale(source, source + suffix)
        tensor = self._tensor(source + suffix, weight.shape)
        self.tensors[tensor.name] = replace(tensor, scale=scale)
        bias = self._bias(name, weight)
        if bias is not None:
            self._add_bias(bias, scale)
        return WeightRef(source, weight.shape, None if bias is None else bias.name, suffix, scale)

    def _cut(self, name: str, weight: Weight) -> None:
        """The parts of a weight that the file holds whole: its rows as they lie there, and copies of its bias."""
        whole = self._tensor(f"{name}.weight", weight.shape)
        scale = self._scale(name, whole.name)
        beside = any(f"{part}.bias" in self.file.tensors for part in weight.split(name) if part != name)
        bias = None if beside else self._bias(name, weight)
        data = whole.data.reshape(*weight.shape[:-1], whole.data.shape[-1])
        start = 0
        for part, w in weight.split(name).items():
            rows = slice(start, start + w.shape[-2])
            self.tensors[f"{part}.weight"] = Tensor(f"{part}.weight", whole.type, w.shape, data[..., rows, :], scale)
            own = self._bias(part, w) if beside else None  # some files have one weight and three biases
            if bias is not None:
                own = _vector(f"{part}.bias", bias.floats()[..., rows])
            if own is not None:
                self._add_bias(own, scale)
            self.refs[part] = WeightRef(part, w.shape, None if own is None else own.name, scale=scale)
            start = rows.stop

    def _bias(self, name: str, weight: Weight) -> Tensor | None:
        bias = f"{name}.bias"
        if weight.bias is False or (weight.bias is None and bias not in self.file.tensors):
            return None
        if bias not in self.file.tensors:
            raise self._missing(bias)
        return self._tensor(bias, weight.bias_shape)

    def _add_bias(self, bias: Tensor, scale: float | None) -> None:
        """Divides a bias by the scale that the product is multiplied by with it; the file's own is added behind."""
        self.tensors[bias.name] = bias if scale is None else _vector(bias.name, bias.floats() / np.float32(scale))

    def _scale(self, name: str, tensor: str) -> float | None:
        """The number that a product with a tensor is multiplied by."""
        key = f"{name}.scale"
        info = self.file.tensors.get(key)
        if info is None or key in self._declared:
            return None
        if info.n_elements != 1:
            raise TensorError(
                f"{key}: shape {tuple(info.shape)}; one number for all of {tensor} is supported, not one for each "
                "expert or row"
            )
        scale = float(self._tensor(key, (1,)).floats()[0])
        if not np.isfinite(scale) or scale == 0:
            raise TensorError(f"{key}: {scale:g}; a product must be multiplied by a finite number other than 0")
        return scale

    def _tensor(self, name: str, shape: Shape) -> Tensor:
        info = self.file.tensors[name]
        self._used.add(name)
        if tuple(info.shape) not in (shape, shape[1:] if shape[0] == 1 else shape):  # of one row: may be a vector
            raise TensorError(
                f"{name}: shape {tuple(info.shape)} in {self.file.path.name}, but its metadata and architecture ask "
                f"for {shape}"
            )
        if info.type.name not in FORMATS:
            raise TensorError(f"{name}: type {info.type.name} has no kernels; known are {', '.join(FORMATS)}")
        return Tensor(name, info.type.name, shape, self.file.data(name))

    def _missing(self, name: str) -> TensorError:
        return TensorError(f"{name}: the architecture needs it, but {self.file.path.name} has no such tensor")


def _vector(name: str, values: npt.NDArray[np.float32]) -> Tensor:
    """A tensor of floats in memory."""
    rows = np.ascontiguousarray(values, np.float32)
    return Tensor(name, "F32", rows.shape, rows.reshape(-1, rows.shape[-1]).view(np.uint8))


def check_scales(graphs: Iterable[Graph], tensors: Mapping[str, Tensor]) -> None:
    """Raises TensorError where an op that does not multiply by the scale of a tensor reads it."""
    for node in (node for graph in graphs for node in graph.nodes if not node.spec.takes_scale):
        for name in node.weights:
            if tensors[name].scale is not None:
                raise TensorError(f"{name}: the file scales it by one number, which op {node.op!r} does not support")
