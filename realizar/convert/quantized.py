"""Quantized checkpoints: which of them are understood, and the numbers that their weights stand for.

A weight of eight bits has a scale beside it, in one number, one for each row, or one for each block of the matrix; its
numbers are products of the two. What packs several numbers into one (GPTQ, AWQ, NVFP4, bitsandbytes), rotates them or
leaves some out is refused by name.

Schemes: https://github.com/vllm-project/compressed-tensors, `quantization_config` of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.convert.safetensors import FLOATS, Stored
from realizar.errors import TensorError, shown

Block = tuple[int, int]
EIGHT_BITS = ("I8", "F8_E4M3", "F8_E5M2")
PLAIN_FORMATS = ("int-quantized", "float-quantized", "naive-quantized")
ZERO_POINT, GROUP_INDEX = "_zero_point", "_g_idx"
KNOWN = "fp8, fbgemm_fp8, modelopt (FP8), compressed-tensors (8 bits, not packed) and mxfp4"


@dataclass(frozen=True)
class Scheme:
    """How the weights of a checkpoint are quantized.

    Attributes
    ----------
    name : str
        As errors call it.
    scale : str
        What the name of a scale has behind that of its weight.
    types : tuple of str
        Those that a quantized weight may have, in safetensors' words.
    blocks : tuple of (int, int)
        Rows and columns that may share a scale, beside whole rows and whole tensors.
    """

    name: str
    scale: str = "_scale"
    types: tuple[str, ...] = EIGHT_BITS
    blocks: tuple[Block, ...] = ()


def scheme_of(config: Mapping[str, Any]) -> Scheme | None:
    """The scheme that config.json names; None if it names none.

    Raises
    ------
    TensorError
        If it is none of those that are understood.
    """
    key = next((key for key in ("quantization_config", "compression_config") if config.get(key)), None)
    if key is None:
        return None
    found = config[key]
    method = found.get("quant_method") if isinstance(found, Mapping) else None
    make = _METHODS.get(method) if isinstance(method, str) else None
    if make is None:
        raise _refused(f"{key} says quant_method {shown(method)}")
    try:
        return make(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refused(f"{key} of {method} is not as that writes it ({error!r})") from error


def scale_of(stored: Mapping[str, Stored], name: str, scheme: Scheme | None) -> Stored | None:
    """The scale of a tensor; None if it holds the numbers themselves.

    Raises
    ------
    TensorError
        If it holds something else and its scale is missing, or is not of the scheme.
    """
    weight, scale = stored[name], None if scheme is None else stored.get(name + scheme.scale)
    if scheme is None or scale is None:
        if weight.type not in FLOATS:
            raise TensorError(
                f"{name} is of type {weight.type}, and {_missing(name, scheme)}; a checkpoint in F32, F16 or BF16, or "
                f"quantized as {KNOWN}, is needed"
            )
        return None
    if weight.type not in scheme.types:
        raise TensorError(f"{name} has a scale, but is of type {weight.type}; {scheme.name} has {_words(scheme.types)}")
    if name + GROUP_INDEX in stored:
        raise TensorError(f"{name}: its columns are in another order ({name}{GROUP_INDEX}), which is not understood")
    return scale


def numbers(stored: Mapping[str, Stored], name: str, scheme: Scheme | None) -> npt.NDArray[np.float32]:
    """The numbers that a tensor stands for, float32 [*shape].

    Raises
    ------
    TensorError
        As `scale_of`, or if the scale does not fit.
    """
    weight, scale = stored[name], scale_of(stored, name, scheme)
    out = weight.floats()
    if scheme is None or scale is None:
        return out
    if (zero := stored.get(name + ZERO_POINT)) is not None:
        out -= _spread(name + ZERO_POINT, zero.floats(), weight.shape, scheme)
    out *= _spread(name + scheme.scale, scale.floats(), weight.shape, scheme)
    return out


def beside(name: str, scheme: Scheme | None) -> tuple[str, ...]:
    """The names that a weight's scale and zero point would have."""
    return () if scheme is None else (name + scheme.scale, name + ZERO_POINT)


def _spread(
    name: str, scale: npt.NDArray[np.float32], shape: tuple[int, ...], scheme: Scheme
) -> npt.NDArray[np.float32]:
    """A scale as it meets a weight of this shape: of the same shape, or with ones in it."""
    if scale.size == 1:
        return scale.reshape((1,) * len(shape))
    of_rows: tuple[int, ...] = scale.shape + (1,) * (len(shape) - scale.ndim)
    if len(of_rows) == len(shape) and all(a in (1, b) for a, b in zip(of_rows, shape, strict=True)):
        return scale.reshape(of_rows)
    for size in scheme.blocks:
        grid = (*shape[:-2], *(-(-n // m) for n, m in zip(shape[-2:], size, strict=True)))
        if len(shape) >= 2 and scale.shape == grid:
            wide = scale.repeat(size[0], axis=-2).repeat(size[1], axis=-1)
            return wide[..., : shape[-2], : shape[-1]]  # the last blocks may be cut short
    sizes = ", ".join(f"{a} x {b}" for a, b in scheme.blocks)
    raise TensorError(
        f"{name} of shape {scale.shape} is no scale for {shape}; {scheme.name} has one for a tensor, for each row"
        + (f", or for each block of {sizes}" if sizes else "")
    )


def _fp8(config: Mapping[str, Any]) -> Scheme:
    if config.get("expert_dtype", "fp8") != "fp8":
        raise _refused(f"quantization_config says expert_dtype {shown(config['expert_dtype'])}")
    size = config.get("weight_block_size")
    blocks = () if size is None else (_block(size),)
    return Scheme("fp8", "_scale_inv", ("F8_E4M3", "F8_E5M2"), blocks)


def _modelopt(config: Mapping[str, Any]) -> Scheme:
    if config.get("quant_algo") != "FP8":
        raise _refused(f"quantization_config of modelopt says quant_algo {shown(config.get('quant_algo'))}")
    return Scheme("modelopt", types=("F8_E4M3",))


def _compressed(config: Mapping[str, Any]) -> Scheme:
    for key, harmless in (("sparsity_config", "dense"), ("transform_config", None)):
        more = config.get(key)
        if more and (harmless is None or more.get("format", harmless) != harmless):
            raise _refused(f"compressed-tensors with a {key} ({shown(more)})")
    blocks = []
    for group in config["config_groups"].values():
        kind, weights = group.get("format") or config["format"], group["weights"]
        if weights is None:  # a group that rounds activations alone
            continue
        what = f"{kind}, {weights['num_bits']} bits, strategy {weights['strategy']}"
        if kind not in PLAIN_FORMATS or weights["num_bits"] != 8:
            raise _refused(f"compressed-tensors ({what})")
        if weights["strategy"] == "group":
            blocks.append(_block((1, weights["group_size"])))
        elif weights["strategy"] == "block":
            blocks.append(_block(weights["block_structure"]))
        elif weights["strategy"] not in ("tensor", "channel"):
            raise _refused(f"compressed-tensors ({what})")
    return Scheme("compressed-tensors", blocks=tuple(blocks))


def _block(size: Sequence[int]) -> Block:
    rows, columns = size
    if min(rows, columns) < 1:
        raise ValueError(f"blocks of {rows} x {columns}")
    return rows, columns


_METHODS: dict[str, Callable[[Mapping[str, Any]], Scheme]] = {
    "fp8": _fp8,
    "fbgemm_fp8": lambda config: Scheme("fbgemm_fp8", types=("F8_E4M3",)),
    "modelopt": _modelopt,
    "compressed-tensors": _compressed,
    "mxfp4": lambda config: Scheme("mxfp4", types=()),  # blocks and scales are found by their names, in source.py
}


def _refused(what: str) -> TensorError:
    return TensorError(f"config.json: {what}, which is not understood; convert takes {KNOWN}, or unquantized weights")


def _missing(name: str, scheme: Scheme | None) -> str:
    if scheme is None:
        return "config.json has no quantization_config that says what it stands for"
    return f"there is no {name}{scheme.scale}, which {scheme.name} has beside it"


def _words(types: tuple[str, ...]) -> str:
    return " or ".join(types) or "none that has one"
