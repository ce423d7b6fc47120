"""Checks the tensors of a file against an architecture's declarations, and makes references for its graph."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from realizar.arch import ArchMetadata
from realizar.arch.architecture import Shape, Weight, WeightRef, Weights, WeightTable, expand
from realizar.errors import ParameterError, TensorError
from realizar.gguf import GGUFFile
from realizar.graph import Graph, Rotation
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
        View of the mapped file; for a part of a fused tensor of experts, uint8 [n_expert, n_rows, row_bytes].
    scale : float | None
        Factor by which products with it are multiplied.
    expert_scales : str | None
        Name of the tensor with such a factor for each expert.
    rotation : Rotation | None
        Its basis, if it is stored in a rotated one.
    """

    name: str
    type: str
    shape: Shape
    data: npt.NDArray[np.uint8]
    scale: float | None = None
    expert_scales: str | None = None
    rotation: Rotation | None = None

    def floats(self) -> npt.NDArray[np.float32]:
        """Return the dequantized values, float32 [*shape]."""
        return dequantize(self.data, self.type).reshape(self.shape)


def collect(
    file: GGUFFile,
    table: WeightTable,
    n_layer: int,
    ignored: Sequence[str] = (),
    prefix: str = "",
    rotations: Mapping[str, Rotation] = MappingProxyType({}),
) -> tuple[Weights, dict[str, Tensor]]:
    """Check a file against the declarations of an architecture.

    Parameters
    ----------
    file : GGUFFile
    table : dict[str, Weight]
        The result of `Architecture.tensors`.
    n_layer : int
    ignored : sequence of str
        Patterns of names that need not be declared (`Architecture.ignored`).
    prefix : str
        Before the names of the tensors in the result, to which those of another file are to be added.
    rotations : Mapping[str, Rotation]
        Of those tensors of the file that are stored in a rotated basis, by name.

    Returns
    -------
    weights : Weights
        The argument of `build`.
    tensors : dict[str, Tensor]
        By GGUF name, including ".weight" or ".bias".

    Raises
    ------
    TensorError
        If a tensor is missing, has a wrong shape or a type without kernels, or if the file has a tensor that is neither
        declared nor ignored: without it, the results would be wrong.
    """
    if n_layer > len(file.tensors):  # before the loop over the layers
        raise TensorError(
            f"{file.path.name}: its metadata speak of {n_layer} layers, but it has only {len(file.tensors)} tensors"
        )
    whole = expand(table, n_layer)
    found = Collector(file, whole, rotations)
    for name, weight in whole.items():
        found.take(name, weight)
    if left := found.unused(ignored):
        more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
        raise TensorError(
            f"{', '.join(left[:MAX_NAMED])}{more}: {file.path.name} holds what its architecture does not declare; the "
            f"answers would be wrong without it. The file may be of a later model, or its metadata wrong "
            f"(architecture, number of layers)"
        )
    refs = {name: _prefixed(ref, prefix) for name, ref in found.refs.items()} if prefix else found.refs
    tensors = {prefix + name: _prefixed_tensor(tensor, prefix) for name, tensor in found.tensors.items()}
    return Weights(refs, n_layer), tensors


def _prefixed(ref: WeightRef | None, prefix: str) -> WeightRef | None:
    if ref is None:
        return None
    bias, scales = (None if name is None else prefix + name for name in (ref.bias, ref.expert_scales))
    return replace(ref, name=prefix + ref.name, bias=bias, expert_scales=scales)


def _prefixed_tensor(tensor: Tensor, prefix: str) -> Tensor:
    scales = None if tensor.expert_scales is None else prefix + tensor.expert_scales
    return replace(tensor, name=prefix + tensor.name, expert_scales=scales)


def check_drafts(file: GGUFFile, md: ArchMetadata) -> None:
    """Raise TensorError if a block that the metadata count as a draft block has only the tensors of a layer.

    It would be a layer that is not computed. A draft block has tensors ``blk.N.nextn.*``, or no tensors if it was
    removed from the file.
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


OTHER_SPECULATION = "use speculate='ngram', or draft= with a smaller model of the same family"
"""What an error proposes if there is no draft block."""


def need_draft_block(file: GGUFFile, md: ArchMetadata) -> None:
    """Raise ParameterError if a file has no draft block."""
    key, n = f"{md.arch}.nextn_predict_layers", md.draft_layers()
    name = f"blk.{md.layers()}.nextn.eh_proj.weight"
    if n == 0 or name not in file.tensors:
        found = f"{key} is {n}" if n else f"the key {key} is 0 or missing"
        lacks = f", but it has no tensor {name}" if n else ""
        raise ParameterError(
            f"speculate='mtp': {file.path.name} has no draft block ({found}{lacks}); {OTHER_SPECULATION}"
        )


MAX_NAMED = 8
"""Maximum number of tensors that an error names."""


class Collector:
    """Finds the declared weights of a file, one by one.

    Parameters
    ----------
    file : GGUFFile
    table : dict[str, Weight]
        All declared weights, each layer's by itself. A scale among them is a weight like the others, and no factor of
        products.
    rotations : Mapping[str, Rotation]
        As in `collect`.

    Attributes
    ----------
    refs : dict[str, WeightRef | None]
        By declared name.
    tensors : dict[str, Tensor]
        By GGUF name; parts of a fused tensor by the name of the part.
    """

    def __init__(
        self, file: GGUFFile, table: WeightTable, rotations: Mapping[str, Rotation] = MappingProxyType({})
    ) -> None:
        self.file, self.rotations = file, rotations
        self._declared = {name + weight.suffix for name, weight in table.items()}
        self.refs: dict[str, WeightRef | None] = {}
        self.tensors: dict[str, Tensor] = {}
        self._used: set[str] = set()

    def unused(self, ignored: Sequence[str] = ()) -> list[str]:
        """Return the tensors of the file that no weight has used so far, except those that match these patterns."""
        known = re.compile("|".join(map(fnmatch.translate, ignored)) or r"(?!)")
        return [name for name in self.file.tensors if name not in self._used and not known.match(name)]

    def take(self, name: str, weight: Weight) -> None:
        """Find the tensors of one declared weight; raises TensorError like `collect`."""
        if not self._expected(name, weight):
            self.refs[name] = None
        elif weight.parts is None:
            self.refs[name] = self._reference(name, weight)
        elif self._is_whole(name, weight):
            self._cut(name, weight)
        else:
            self._take_parts(weight.split(name))

    def _take_parts(self, parts: WeightTable) -> None:
        """Find all parts, even after a wrong one, so that the others do not count as unused."""
        errors = []
        for name, weight in parts.items():
            try:
                self.refs[name] = self._reference(name, weight)
            except TensorError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _expected(self, name: str, weight: Weight) -> bool:
        """Whether the file should have a weight whose presence depends on another tensor of the layer."""
        folder = name[: name.rfind(".") + 1]
        return (weight.where is None or f"{folder}{weight.where}.weight" in self.file.tensors) and (
            weight.unless is None or f"{folder}{weight.unless}.weight" not in self.file.tensors
        )

    def _is_whole(self, name: str, weight: Weight) -> bool:
        """Whether the file has a weight with parts as one fused tensor.

        A part may have the name of the fused tensor: then the number of rows decides, or else whether the file has the
        other parts.
        """
        info = self.file.tensors.get(f"{name}.weight")
        parts = weight.split(name)
        if info is None or all(f"{part}.weight" in self.file.tensors for part in parts):
            return False
        return name not in parts or tuple(info.shape) == weight.shape

    def _reference(self, name: str, weight: Weight) -> WeightRef | None:
        """Return the reference of one weight; None for an optional weight that the file lacks."""
        source, suffix = name, weight.suffix
        if name + suffix not in self.file.tensors and weight.alias is not None:
            source = weight.alias
        if source + suffix not in self.file.tensors:
            if not weight.optional:
                raise self._missing(name + suffix)
            return None
        scale = self._scale(source, source + suffix, weight.shape)
        per_expert = self._expert_scales(source, weight.shape)
        tensor = self._tensor(source + suffix, weight.shape)
        rotation = self.rotations.get(tensor.name)
        self.tensors[tensor.name] = replace(tensor, scale=scale, expert_scales=per_expert, rotation=rotation)
        bias = self._bias(name, weight)
        if bias is not None:
            self._add_bias(bias, scale)
        return WeightRef(source, weight.shape, None if bias is None else bias.name, suffix, scale, per_expert, rotation)

    def _cut(self, name: str, weight: Weight) -> None:
        """Return the parts of a fused weight: views of its rows, and copies of its bias."""
        whole = self._tensor(f"{name}.weight", weight.shape)
        scale, per_expert = self._scale(name, whole.name, whole.shape), self._expert_scales(name, whole.shape)
        has_part_bias = any(f"{part}.bias" in self.file.tensors for part in weight.split(name) if part != name)
        bias = None if has_part_bias else self._bias(name, weight)
        data = whole.data.reshape(*weight.shape[:-1], whole.data.shape[-1])
        rotation, start = self.rotations.get(whole.name), 0
        for part, w in weight.split(name).items():
            rows = slice(start, start + w.shape[-2])
            self.tensors[f"{part}.weight"] = Tensor(
                f"{part}.weight", whole.type, w.shape, data[..., rows, :], scale, per_expert, rotation
            )
            own = self._bias(part, w) if has_part_bias else None  # some files have one weight and three biases
            if bias is not None:
                own = vector(f"{part}.bias", bias.floats()[..., rows])
            if own is not None:
                self._add_bias(own, scale)
            self.refs[part] = WeightRef(
                part, w.shape, None if own is None else own.name, scale=scale, expert_scales=per_expert,
                rotation=rotation,
            )  # fmt: skip
            start = rows.stop

    def _bias(self, name: str, weight: Weight) -> Tensor | None:
        bias = f"{name}.bias"
        if weight.bias is False or (weight.bias is None and bias not in self.file.tensors):
            return None
        if bias not in self.file.tensors:
            raise self._missing(bias)
        return self._tensor(bias, weight.bias_shape)

    def _add_bias(self, bias: Tensor, scale: float | None) -> None:
        """Add a bias of the file, divided by the scale, because our products are scaled after the bias is added."""
        self.tensors[bias.name] = bias if scale is None else vector(bias.name, bias.floats() / np.float32(scale))

    def _expert_scales(self, name: str, shape: Shape) -> str | None:
        """Return the name of the tensor with a factor for each expert, or None; one number is for all experts."""
        key, n = f"{name}.scale", shape[0]
        info = self.file.tensors.get(key)
        if info is None or key in self._declared or len(shape) != 3 or info.n_elements not in (1, n):
            return None
        values = self._tensor(key, (info.n_elements,)).floats()
        if not np.isfinite(values).all():
            raise TensorError(f"{key}: a scale is not finite")
        self.tensors[key] = vector(key, np.broadcast_to(values, (n,)))
        return key

    def _scale(self, name: str, tensor: str, shape: Shape) -> float | None:
        """Return the factor for products with a tensor, or None, also if there is one for each expert."""
        key = f"{name}.scale"
        info = self.file.tensors.get(key)
        if info is None or key in self._declared or self._expert_scales(name, shape) is not None:
            return None
        if info.n_elements != 1:
            raise TensorError(
                f"{key}: shape {tuple(info.shape)}; one number for all of {tensor} is supported, or one for each "
                "expert, not one for each row"
            )
        scale = float(self._tensor(key, (1,)).floats()[0])
        if not np.isfinite(scale) or scale == 0:
            raise TensorError(f"{key}: {scale:g}; a product must be multiplied by a finite number other than 0")
        return scale

    def _tensor(self, name: str, shape: Shape) -> Tensor:
        info, data = self.file.tensors[name], self.file.data(name)
        self._used.add(name)
        is_convolution = len(info.shape) == 4 or (len(info.shape) == 3 and info.shape[-1] > 1)
        if is_convolution and (info.shape[0], prod(info.shape[1:])) == shape:
            data = data.reshape(shape[0], -1)  # a kernel multiplies flattened patches, or windows
        elif len(shape) == 1 and tuple(info.shape) == (*shape, 1):
            data = data.reshape(1, -1)  # biases of convolutions are columns
        elif _without_ones(info.shape) != _without_ones(shape):
            raise TensorError(
                f"{name}: shape {tuple(info.shape)} in {self.file.path.name}, but its metadata and architecture ask "
                f"for {shape}"
            )
        if info.type.name not in FORMATS:
            raise TensorError(f"{name}: type {info.type.name} has no kernels; known are {', '.join(FORMATS)}")
        return Tensor(name, info.type.name, shape, data)

    def _missing(self, name: str) -> TensorError:
        return TensorError(f"{name}: the architecture needs it, but {self.file.path.name} has no such tensor")


def _without_ones(shape: Sequence[int]) -> Shape:
    """The dimensions that matter: matrices of one row are vectors in some files, and convolutions have a dimension of
    one between channels and taps."""
    return (*(n for n in shape[:-1] if n != 1), *shape[-1:])


def vector(name: str, values: npt.NDArray[np.float32]) -> Tensor:
    """Return a tensor of floats that is not in the file."""
    rows = np.ascontiguousarray(values, np.float32)
    return Tensor(name, "F32", rows.shape, rows.reshape(-1, rows.shape[-1]).view(np.uint8))


def check_scales(graphs: Iterable[Graph], tensors: Mapping[str, Tensor]) -> None:
    """Raise TensorError if a tensor with a scale is used by an op that does not apply scales."""
    for node in (node for graph in graphs for node in graph.nodes):
        for name in node.weights:
            if tensors[name].scale is not None and not node.spec.takes_scale:
                raise TensorError(f"{name}: the file scales it by one number, which op {node.op!r} does not support")
            if tensors[name].expert_scales is not None and not node.spec.takes_expert_scales:
                raise TensorError(f"{name}: the file scales its parts, which op {node.op!r} does not support")
