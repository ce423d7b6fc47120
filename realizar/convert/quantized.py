"""Quantized checkpoints: the supported schemes, and dequantization of their weights.

An 8-bit weight has a scale tensor: one scale per tensor, per row, or per quantization block of the matrix. Schemes that
pack several values into one element (GPTQ, AWQ, NVFP4, bitsandbytes), rotate weights or are sparse raise an error.

Schemes: https://github.com/vllm-project/compressed-tensors, `quantization_config` of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.convert.safetensors import FLOATS, StoredTensor
from realizar.errors import TensorError, short_repr

BlockShape = tuple[int, int]
EIGHT_BIT_TYPES = ("I8", "F8_E4M3", "F8_E5M2")
PLAIN_FORMATS = ("int-quantized", "float-quantized", "naive-quantized")
ZERO_POINT, GROUP_INDEX = "_zero_point", "_g_idx"
SUPPORTED = "fp8, fbgemm_fp8, modelopt (FP8), compressed-tensors (8 bits, not packed) and mxfp4"


@dataclass(frozen=True)
class Scheme:
    """How the weights of a checkpoint are quantized.

    Attributes
    ----------
    name : str
        Used in error messages.
    scale : str
        Suffix of a scale's name, appended to the name of its weight.
    types : tuple of str
        Safetensors types that a quantized weight may have.
    blocks : tuple of (int, int)
        Shapes of quantization blocks that may share a scale, in addition to rows and whole tensors.
    """

    name: str
    scale: str = "_scale"
    types: tuple[str, ...] = EIGHT_BIT_TYPES
    blocks: tuple[BlockShape, ...] = ()


def scheme_of(config: Mapping[str, Any]) -> Scheme | None:
    """Return the scheme named in config.json; None for unquantized checkpoints.

    Raises
    ------
    TensorError
        If the scheme is not supported.
    """
    key = next((key for key in ("quantization_config", "compression_config") if config.get(key)), None)
    if key is None:
        return None
    found = config[key]
    method = found.get("quant_method") if isinstance(found, Mapping) else None
    make = _METHODS.get(method) if isinstance(method, str) else None
    if make is None:
        raise _unsupported(f"{key} has quant_method {short_repr(method)}")
    try:
        return make(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unsupported(f"{key} is not in the format of {method} ({error!r})") from error


def scale_of(stored: Mapping[str, StoredTensor], name: str, scheme: Scheme | None) -> StoredTensor | None:
    """Return the scale tensor of a weight; None if the weight is unquantized.

    Raises
    ------
    TensorError
        If the scale is missing, or the weight does not match the scheme.
    """
    weight, scale = stored[name], None if scheme is None else stored.get(name + scheme.scale)
    if scheme is None or scale is None:
        if weight.type not in FLOATS:
            raise TensorError(
                f"{name} is of type {weight.type}, and {_missing_scale(name, scheme)}; "
                f"convert supports F32, F16, BF16 and {SUPPORTED}"
            )
        return None
    if weight.type not in scheme.types:
        raise TensorError(
            f"{name} has a scale, but is of type {weight.type}; {scheme.name} has {_type_list(scheme.types)}"
        )
    if name + GROUP_INDEX in stored:
        raise TensorError(f"{name}: its columns are reordered ({name}{GROUP_INDEX}), which is not supported")
    return scale


def dequantized(stored: Mapping[str, StoredTensor], name: str, scheme: Scheme | None) -> npt.NDArray[np.float32]:
    """Return a dequantized tensor, float32 [*shape].

    Raises
    ------
    TensorError
        See `scale_of`; or if the shape of the scale does not match.
    """
    weight, scale = stored[name], scale_of(stored, name, scheme)
    out = weight.floats()
    if scheme is None or scale is None:
        return out
    if (zero := stored.get(name + ZERO_POINT)) is not None:
        out -= _broadcastable(name + ZERO_POINT, zero.floats(), weight.shape, scheme)
    out *= _broadcastable(name + scheme.scale, scale.floats(), weight.shape, scheme)
    return out


def scale_names(name: str, scheme: Scheme | None) -> tuple[str, ...]:
    """Return the possible names of a weight's scale and zero point."""
    return () if scheme is None else (name + scheme.scale, name + ZERO_POINT)


def _broadcastable(
    name: str, scale: npt.NDArray[np.float32], shape: tuple[int, ...], scheme: Scheme
) -> npt.NDArray[np.float32]:
    """Return a scale that broadcasts to a weight of this shape."""
    if scale.size == 1:
        return scale.reshape((1,) * len(shape))
    row_shape: tuple[int, ...] = scale.shape + (1,) * (len(shape) - scale.ndim)
    if len(row_shape) == len(shape) and all(a in (1, b) for a, b in zip(row_shape, shape, strict=True)):
        return scale.reshape(row_shape)
    for size in scheme.blocks:
        grid = (*shape[:-2], *(-(-n // m) for n, m in zip(shape[-2:], size, strict=True)))
        if len(shape) >= 2 and scale.shape == grid:
            wide = scale.repeat(size[0], axis=-2).repeat(size[1], axis=-1)
            return wide[..., : shape[-2], : shape[-1]]  # the last blocks may be partial
    sizes = ", ".join(f"{a} x {b}" for a, b in scheme.blocks)
    raise TensorError(
        f"{name} of shape {scale.shape} does not match its weight of shape {shape}; {scheme.name} has one scale per "
        "tensor, per row" + (f", or per block of {sizes}" if sizes else "")
    )


def _fp8(config: Mapping[str, Any]) -> Scheme:
    if config.get("expert_dtype", "fp8") != "fp8":
        raise _unsupported(f"quantization_config has expert_dtype {short_repr(config['expert_dtype'])}")
    size = config.get("weight_block_size")
    blocks = () if size is None else (_block_shape(size),)
    return Scheme("fp8", "_scale_inv", ("F8_E4M3", "F8_E5M2"), blocks)


def _modelopt(config: Mapping[str, Any]) -> Scheme:
    if config.get("quant_algo") != "FP8":
        raise _unsupported(f"quantization_config of modelopt has quant_algo {short_repr(config.get('quant_algo'))}")
    return Scheme("modelopt", types=("F8_E4M3",))


def _compressed(config: Mapping[str, Any]) -> Scheme:
    for key, harmless in (("sparsity_config", "dense"), ("transform_config", None)):
        extra = config.get(key)
        if extra and (harmless is None or extra.get("format", harmless) != harmless):
            raise _unsupported(f"compressed-tensors with a {key} ({short_repr(extra)})")
    blocks = []
    for group in config["config_groups"].values():
        kind, weights = group.get("format") or config["format"], group["weights"]
        if weights is None:  # a group that quantizes only activations
            continue
        what = f"{kind}, {weights['num_bits']} bits, strategy {weights['strategy']}"
        if kind not in PLAIN_FORMATS or weights["num_bits"] != 8:
            raise _unsupported(f"compressed-tensors ({what})")
        if weights["strategy"] == "group":
            blocks.append(_block_shape((1, weights["group_size"])))
        elif weights["strategy"] == "block":
            blocks.append(_block_shape(weights["block_structure"]))
        elif weights["strategy"] not in ("tensor", "channel"):
            raise _unsupported(f"compressed-tensors ({what})")
    return Scheme("compressed-tensors", blocks=tuple(blocks))


def _block_shape(size: Sequence[int]) -> BlockShape:
    rows, columns = size
    if min(rows, columns) < 1:
        raise ValueError(f"blocks of {rows} x {columns}")
    return rows, columns


_METHODS: dict[str, Callable[[Mapping[str, Any]], Scheme]] = {
    "fp8": _fp8,
    "fbgemm_fp8": lambda config: Scheme("fbgemm_fp8", types=("F8_E4M3",)),
    "modelopt": _modelopt,
    "compressed-tensors": _compressed,
    "mxfp4": lambda config: Scheme("mxfp4", types=()),  # its tensors are found by name, in checkpoint_folder.py
}


def _unsupported(what: str) -> TensorError:
    return TensorError(
        f"config.json: {what}, which is not supported; convert supports {SUPPORTED}, or unquantized weights"
    )


def _missing_scale(name: str, scheme: Scheme | None) -> str:
    if scheme is None:
        return "config.json has no quantization_config that describes it"
    return f"its scale {name}{scheme.scale} of scheme {scheme.name} is missing"


def _type_list(types: tuple[str, ...]) -> str:
    return " or ".join(types) or "no scaled types"
