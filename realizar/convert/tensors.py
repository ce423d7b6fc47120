"""The tensors of a converted file: what the architecture declares, each with the function that makes it."""

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
from realizar.arch.architecture import Shape, Weight, expand
from realizar.arch.checkpoint import IGNORED, NAMES, Array, Checkpoint, Names
from realizar.arch.checkpoint import Source as Origin
from realizar.convert.checkpoint_folder import Source
from realizar.errors import TensorError
from realizar.gguf import GGMLType
from realizar.quants import FORMATS, quantize

# Matrices that llama.cpp's converter keeps in float32: small, and added or compared rather than multiplied with.
EXACT = (
    "ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "token_types", "attn_rel_b", "ssm_conv1d", "ssm_a", "ssm_d",
)  # fmt: skip


@dataclass(frozen=True)
class Output:
    """A tensor to be written: its name, shape and type, and what makes its bytes."""

    name: str
    shape: Shape
    type: GGMLType
    data: Callable[[], npt.NDArray[np.uint8]]


def outputs(source: Source, architecture: Architecture, hp: Any, type_name: str) -> Iterator[Output]:
    """Everything that the architecture declares and the checkpoint has.

    Raises
    ------
    TensorError
        If a tensor is missing, or turns out to have another shape (when it is made).
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    names, tied = {**NAMES, **checkpoint.names}, checkpoint.tied(source.config)
    source.settle_prefix(str(_name(names["token_embd"])))
    if tied:  # where files are never tied, the output matrix is written as a copy
        names["output"] = names["token_embd"]
    for name, weight in expand(architecture.tensors(hp), hp.n_layer).items():
        if not _expected(source, names, name, weight) or (tied and weight.alias is not None):
            continue
        table = weight.split(name) if weight.parts and _in_parts(source, names, name, weight) else {name: weight}
        for part, w in table.items():
            found = list(_weight(source, _origin(names, part), part, w, hp, type_name))
            yield from found
            if found and w.bias is not False:
                yield from _bias(source, names, part, w, hp)


def unused(source: Source, architecture: Architecture, hp: Any) -> tuple[str, ...]:
    """The tensors of a checkpoint that nothing has asked for, all of them known not to be needed.

    Raises
    ------
    TensorError
        If it holds one that is not: computed without it, the model would give wrong answers.
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    n_draft = int(source.config.get("num_nextn_predict_layers") or 0)
    drafts = [f"*layers.{i}.*" for i in range(hp.n_layer, hp.n_layer + n_draft)]
    tied = [f"*{name}.weight" for name in ("lm_head", "embed_out")] if checkpoint.tied(source.config) else []
    known = re.compile("|".join(map(fnmatch.translate, (*IGNORED, *checkpoint.ignored, *drafts, *tied))))
    left = sorted(set(source.stored) - source.used)
    if unknown := [name for name in left if not known.match(name)]:
        first = ", ".join(unknown[:8])
        raise TensorError(
            f"{first}{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}: {source.folder} holds what "
            f"architecture {architecture.name} does not know; the answers would be wrong without it. The model may be "
            "of a later kind than config.json says, or a plugin's Checkpoint have no row for it"
        )
    return tuple(left)


def _expected(source: Source, names: Names, name: str, weight: Weight) -> bool:
    """Whether a weight belongs into this file, where that depends on another tensor of the layer."""
    folder = name[: name.rfind(".") + 1]

    def there(other: str) -> bool:
        origin = _origin(names, folder + other)
        if callable(origin):
            return origin(source.config) is not None
        theirs = _name(origin)
        return theirs is not None and source.has(theirs)

    return (weight.where is None or there(weight.where)) and (weight.unless is None or not there(weight.unless))


def _in_parts(source: Source, names: Names, name: str, weight: Weight) -> bool:
    """Whether the checkpoint holds a weight in parts: it has all of them, or the table has no name for the whole."""
    theirs = [_name(_origin(names, part)) for part in weight.split(name)]
    return _origin(names, name) is None or all(part is not None and source.has(part) for part in theirs)


def _origin(names: Names, name: str) -> Origin | None:
    """Where a tensor comes from: the row of its own name, or that of all layers with its number written in."""
    layer = re.search(r"\.(\d+)\.", name)
    if name in names or layer is None:
        return names.get(name)
    origin = names.get(name.replace(layer[0], ".{i}.", 1))
    if isinstance(origin, str):
        return origin.replace("{i}", layer[1])
    return (origin[0].replace("{i}", layer[1]), origin[1]) if isinstance(origin, tuple) else origin


def _name(origin: Origin | None) -> str | None:
    """The name in the checkpoint; None for what is made of config.json."""
    return origin if isinstance(origin, str) else origin[0] if isinstance(origin, tuple) else None


def _weight(
    source: Source, origin: Origin | None, name: str, weight: Weight, hp: Any, type_name: str
) -> Iterator[Output]:
    theirs = _name(origin)
    full = name + weight.suffix
    if callable(origin):
        made = origin(source.config)
        if made is not None:
            yield Output(full, weight.shape, GGMLType.F32, partial(_bytes, full, weight.shape, lambda: made, "F32"))
            return
    if theirs is None or not source.has(theirs):
        if weight.optional or weight.alias is not None:
            return
        looked = f"as {theirs}" if theirs else "under no name: the plugin's Checkpoint has no row for it"
        raise TensorError(f"{full}: the architecture needs it; {source.folder} was looked through {looked}")
    source.mark(theirs)
    kind = _type(name, weight.shape, type_name)
    make = partial(_made, source, origin, hp)
    yield Output(full, weight.shape, GGMLType[kind], partial(_bytes, full, weight.shape, make, kind))


def _bias(source: Source, names: Names, name: str, weight: Weight, hp: Any) -> Iterator[Output]:
    full = f"{name}.bias"
    origin = _origin(names, full) or _beside(_origin(names, name))
    theirs = _name(origin)
    if theirs is None or not source.has(theirs):
        if weight.bias:
            raise TensorError(f"{full}: the architecture needs it, but {source.folder} has no {theirs}")
        return
    source.mark(theirs)
    shape = weight.bias_shape
    make = partial(_made, source, origin, hp)
    yield Output(full, shape, GGMLType.F32, partial(_bytes, full, shape, make, "F32"))


def _beside(origin: Origin | None) -> Origin | None:
    """Where the bias beside a weight lies."""
    theirs = _name(origin)
    if theirs is None:
        return None
    bias = "|".join(f"{name}.bias" for name in theirs.split("|"))
    return (bias, origin[1]) if isinstance(origin, tuple) else bias


def _made(source: Source, origin: Origin | None, hp: Any) -> Array:
    if isinstance(origin, tuple):
        return origin[1](source.array(origin[0]), hp)
    return source.array(str(origin))


def _type(name: str, shape: Shape, wanted: str) -> str:
    """The type of a weight: vectors and `EXACT` stay float32, rows that have no whole blocks float16."""
    last = name.rpartition(".")[2]
    if len(shape) == 1 or last in EXACT or last.endswith("_norm"):
        return "F32"
    return "F16" if shape[-1] % FORMATS[wanted].n_elements else wanted


def _bytes(name: str, shape: Shape, make: Callable[[], Array], kind: str) -> npt.NDArray[np.uint8]:
    try:
        array = make()
    except (KeyError, ValueError) as error:  # what numpy says of shapes that do not go together
        raise TensorError(f"{name}: cannot be made of what the checkpoint holds for it: {error}") from error
    if _wide(array.shape) == _wide(shape):  # a depthwise convolution's (channels, 1, taps), decays as a column
        array = array.reshape(shape)
    if array.shape != shape:
        raise TensorError(
            f"{name}: config.json and the architecture ask for {shape}, the checkpoint gives {array.shape}"
        )
    return quantize(np.ascontiguousarray(array, np.float32), kind)


def _wide(shape: tuple[int, ...]) -> list[int]:
    """The dimensions of more than one element."""
    return [n for n in shape if n > 1]
