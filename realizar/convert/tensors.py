"""The tensors of a converted file: those that the architecture declares, each with a function that makes its data."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import Architecture
from realizar.arch.architecture import Shape, Weight, WeightTable, expand
from realizar.arch.checkpoint import IGNORED, Array, Checkpoint, Names
from realizar.arch.checkpoint import Source as TensorSource
from realizar.convert.checkpoint_folder import CheckpointFolder
from realizar.errors import TensorError
from realizar.gguf import GGMLType
from realizar.quants import FORMATS, quantize

# Matrices that llama.cpp's converter keeps in float32: they are small, or not used in matrix products.
KEPT_FLOAT32 = (
    "ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "token_types", "attn_rel_b", "ssm_conv1d", "ssm_a", "ssm_d",
    "conv",
)  # fmt: skip


@dataclass(frozen=True)
class OutputTensor:
    """A tensor to write: name, shape, type, and a function that makes its bytes."""

    name: str
    shape: Shape
    type: GGMLType
    data: Callable[[], npt.NDArray[np.uint8]]


def output_tensors(
    folder: CheckpointFolder, architecture: Architecture, hp: Any, type_name: str
) -> Iterator[OutputTensor]:
    """Yield the tensors that the architecture declares and the checkpoint has.

    Raises
    ------
    TensorError
        If a tensor is missing, or (when its data is made) has another shape.
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    names, tied = dict(checkpoint.all_names(folder.config)), checkpoint.tied(folder.config)
    folder.detect_prefix(str(name_of(names["token_embd"])))
    if tied:  # architectures whose GGUF files are never tied get a copy as the output matrix
        names["output"] = names["token_embd"]
    yield from declared_tensors(folder, names, expand(architecture.tensors(hp), hp.n_layer), hp, type_name, tied)


def declared_tensors(
    folder: CheckpointFolder, names: Names, table: WeightTable, hp: Any, type_name: str, tied: bool = False
) -> Iterator[OutputTensor]:
    """Yield the tensors of a table with each layer's by itself; raises as `output_tensors`."""
    for name, weight in table.items():
        if not _expected(folder, names, name, weight) or (tied and weight.alias is not None):
            continue
        parts = weight.split(name) if weight.parts and _in_parts(folder, names, name, weight) else {name: weight}
        for part, w in parts.items():
            found = list(_weight(folder, source_of(names, part), part, w, hp, type_name))
            yield from found
            if found and w.bias is not False:
                yield from _bias(folder, names, part, w, hp)


def layer_numbers(folder: CheckpointFolder, architecture: Architecture, n_layer: int) -> dict[str, list[float]]:
    """Return the metadata that the checkpoint stores as tensors with one number: key -> those of the layers.

    Raises
    ------
    TensorError
        If one is missing, or has several numbers.
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    folder.detect_prefix(str(name_of(checkpoint.all_names(folder.config)["token_embd"])))
    out: dict[str, list[float]] = {}
    for key, name in checkpoint.numbers.items():
        names = [name.replace("{i}", str(i)) for i in range(n_layer)]
        if missing := [name for name in names if not folder.has(name)]:
            raise TensorError(f"{key}: the architecture needs it, but {folder.folder} has no {missing[0]}")
        arrays = [folder.array(name) for name in names]
        if wrong := [(name, array.shape) for name, array in zip(names, arrays, strict=True) if array.size != 1]:
            raise TensorError(f"{wrong[0][0]}: must have one number, found shape {wrong[0][1]}")
        for name in names:
            folder.mark_used(name)
        out[key] = [float(array.reshape(-1)[0]) for array in arrays]
    return out


def unused_tensors(folder: CheckpointFolder, architecture: Architecture, hp: Any) -> tuple[str, ...]:
    """Return the tensors of the checkpoint that were not used; all are known to be unnecessary.

    Raises
    ------
    TensorError
        If an unknown tensor was not used: without it, the model would give wrong results.
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    n_draft = int(folder.config.get("num_nextn_predict_layers") or 0)
    drafts = [f"*layers.{i}.*" for i in range(hp.n_layer, hp.n_layer + n_draft)]
    tied = [f"*{name}.weight" for name in ("lm_head", "embed_out")] if checkpoint.tied(folder.config) else []
    known = re.compile("|".join(map(fnmatch.translate, (*IGNORED, *checkpoint.ignored, *drafts, *tied))))
    remaining = sorted(set(folder.stored) - folder.used)
    if unknown := [name for name in remaining if not known.match(name)]:
        first = ", ".join(unknown[:8])
        raise TensorError(
            f"{first}{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}: {folder.folder} has tensors that "
            f"architecture {architecture.name} does not know; results would be wrong without them. The model may be a "
            "newer variant of the architecture, or the plugin's Checkpoint lacks a row for them"
        )
    return tuple(remaining)


def _expected(folder: CheckpointFolder, names: Names, name: str, weight: Weight) -> bool:
    """Whether a weight is expected, given which other tensors of the layer exist (`where`, `unless`)."""
    layer_prefix = name[: name.rfind(".") + 1]

    def exists(other: str) -> bool:
        source = source_of(names, layer_prefix + other)
        if callable(source):
            return source(folder.config) is not None
        checkpoint_name = name_of(source)
        return checkpoint_name is not None and folder.has(checkpoint_name)

    return (weight.where is None or exists(weight.where)) and (weight.unless is None or not exists(weight.unless))


def _in_parts(folder: CheckpointFolder, names: Names, name: str, weight: Weight) -> bool:
    """Whether the checkpoint stores a weight as separate parts: all exist, or the table has no name for the whole."""
    checkpoint_name = [name_of(source_of(names, part)) for part in weight.split(name)]
    return source_of(names, name) is None or all(part is not None and folder.has(part) for part in checkpoint_name)


def source_of(names: Names, name: str) -> TensorSource | None:
    """Return a tensor's source: the row of its name, or the row for all layers with the layer index filled in."""
    layer = re.search(r"\.(\d+)\.", name)
    if name in names or layer is None:
        return names.get(name)
    source = names.get(name.replace(layer[0], ".{i}.", 1))
    if isinstance(source, str):
        return source.replace("{i}", layer[1])
    return (source[0].replace("{i}", layer[1]), source[1]) if isinstance(source, tuple) else source


def name_of(source: TensorSource | None) -> str | None:
    """Return a source's name in the checkpoint; None if it is made from config.json."""
    return source if isinstance(source, str) else source[0] if isinstance(source, tuple) else None


def _weight(
    folder: CheckpointFolder, source: TensorSource | None, name: str, weight: Weight, hp: Any, type_name: str
) -> Iterator[OutputTensor]:
    checkpoint_name = name_of(source)
    full = name + weight.suffix
    if callable(source):
        made = source(folder.config)
        if made is not None:
            yield OutputTensor(
                full, weight.shape, GGMLType.F32, partial(_bytes, full, weight.shape, lambda: made, "F32")
            )
            return
    if checkpoint_name is None or not folder.has(checkpoint_name):
        if weight.optional or weight.alias is not None:
            return
        reason = (
            f"{folder.folder} has no {checkpoint_name}"
            if checkpoint_name
            else "the plugin's Checkpoint has no row for it"
        )
        raise TensorError(f"{full}: the architecture needs it, but {reason}")
    folder.mark_used(checkpoint_name)
    kind = _type(name, weight.shape, type_name)
    make = partial(_load, folder, source, hp)
    yield OutputTensor(full, weight.shape, GGMLType[kind], partial(_bytes, full, weight.shape, make, kind))


def _bias(folder: CheckpointFolder, names: Names, name: str, weight: Weight, hp: Any) -> Iterator[OutputTensor]:
    full = f"{name}.bias"
    source = source_of(names, full) or _bias_source(source_of(names, name))
    checkpoint_name = name_of(source)
    if checkpoint_name is None or not folder.has(checkpoint_name):
        if weight.bias:
            raise TensorError(f"{full}: the architecture needs it, but {folder.folder} has no {checkpoint_name}")
        return
    folder.mark_used(checkpoint_name)
    shape = weight.bias_shape
    make = partial(_load, folder, source, hp)
    yield OutputTensor(full, shape, GGMLType.F32, partial(_bytes, full, shape, make, "F32"))


def _bias_source(source: TensorSource | None) -> TensorSource | None:
    """Return the source of a weight's bias."""
    checkpoint_name = name_of(source)
    if checkpoint_name is None:
        return None
    bias = "|".join(f"{name}.bias" for name in checkpoint_name.split("|"))
    return (bias, source[1]) if isinstance(source, tuple) else bias


def _load(folder: CheckpointFolder, source: TensorSource | None, hp: Any) -> Array:
    if isinstance(source, tuple):
        return source[1](folder.array(source[0]), hp)
    return folder.array(str(source))


def _type(name: str, shape: Shape, wanted: str) -> str:
    """Return the type of a weight: float32 for vectors and `KEPT_FLOAT32`, float16 if rows are not whole blocks."""
    last = name.rpartition(".")[2]
    if len(shape) == 1 or last in KEPT_FLOAT32 or last.endswith("_norm"):
        return "F32"
    return "F16" if shape[-1] % FORMATS[wanted].n_elements else wanted


def _bytes(name: str, shape: Shape, make: Callable[[], Array], kind: str) -> npt.NDArray[np.uint8]:
    try:
        array = make()
    except (KeyError, ValueError) as error:  # numpy raises these for shapes that do not match
        raise TensorError(f"{name}: cannot be made from the checkpoint's tensors: {error}") from error
    # Depthwise convolutions have shape (channels, 1, taps), decays are columns.
    if _without_ones(array.shape) == _without_ones(shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise TensorError(f"{name}: the architecture expects shape {shape}, but the checkpoint has {array.shape}")
    return quantize(np.ascontiguousarray(array, np.float32), kind)


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    """Return the dimensions without those of size one."""
    return [n for n in shape if n > 1]
