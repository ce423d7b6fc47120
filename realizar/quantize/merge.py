"""merge_lora: writes a model with a LoRA adapter added to its weights."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Pool
from realizar._kernels.quantize import TARGETS, quantize
from realizar.backends.cpu.threads import bounded_threads, default_threads
from realizar.convert.adapters import is_output, peft_adapter
from realizar.errors import AdapterError, did_you_mean
from realizar.gguf import GGUFFile, GGUFWriter, TensorInfo
from realizar.gguf.target import check_target
from realizar.params.adapters import MAX_SCALE
from realizar.params.checks import check_number
from realizar.quants import dequantize
from realizar.runtime.adapter_files import array_of, open_lora
from realizar.runtime.adapters import Adapter, Factors
from realizar.runtime.rotations import read_rotations
from realizar.runtime.side_ops import EMBEDDING


def merge_lora(
    base: str | os.PathLike[str],
    adapter: str | os.PathLike[str],
    path: str | os.PathLike[str],
    scale: float = 1.0,
    n_threads: int | None = None,
) -> Adapter:
    """Write a model with W + scale * B A in place of each weight W of an adapter, in the type of W.

    Parameters
    ----------
    base : str or PathLike
        A GGUF file.
    adapter : str or PathLike
        A GGUF file, or a folder of PEFT.
    path : str or PathLike
        The file to write.
    scale : float
        Of the adapter, times its own.
    n_threads : int, optional
        For quantizing; the physical cores by default.

    Raises
    ------
    AdapterError
        If the adapter does not fit the model, or a weight is of a type that cannot be written.
    ParameterError
        If the scale is no number, or too large.
    GGUFError, ModelNotFoundError
        If a file cannot be read.
    """
    check_number("scale", scale, -MAX_SCALE, MAX_SCALE, f"a number from {-MAX_SCALE:g} to {MAX_SCALE:g}")
    given = Path(adapter)
    with GGUFFile(base) as file:
        check_target(path, (*file.paths, *(given.iterdir() if given.is_dir() else (given,))))
        found = peft_adapter(given, file) if given.is_dir() else open_lora(given, file.architecture)
        rotated = read_rotations(file, file.architecture, "").by_name
        if found.invocation:
            raise AdapterError(f"{found.path}: is applied from its invocation tokens on (aLoRA); it cannot be merged")
        for name, factors in found.factors.items():
            _check(found, name, factors, file)
            if name == EMBEDDING and is_output(file, name):
                raise AdapterError(
                    f"{found.path}: {name}: {file.path.name} uses the table of embeddings as the output matrix, which "
                    "the adapter does not change; load the adapter instead of merging it"
                )
            if name in rotated:
                raise AdapterError(f"{found.path}: {name}: {file.path.name} stores it in a rotated basis")
        pool = Pool(default_threads().n if n_threads is None else bounded_threads(n_threads))
        try:
            _write(path, file, found, scale, pool)
        finally:
            pool.stop()
    return found


def _write(path: str | os.PathLike[str], file: GGUFFile, adapter: Adapter, scale: float, pool: Pool) -> None:
    """Write a file with merged weights."""
    writer = GGUFWriter(path)
    for key in file.metadata:
        if not key.startswith("split."):
            writer.copy(file.metadata, key)
    for info in file.tensors.values():
        own = adapter.factors.get(info.name)
        data = partial(file.data, info.name) if own is None else partial(_merged, file, info, own, scale, pool)
        writer.add_tensor(info.name, data, info.shape, info.type)
    writer.write()


def _check(adapter: Adapter, name: str, factors: Factors, file: GGUFFile) -> None:
    info = file.tensors.get(name)
    if info is None:
        raise AdapterError(
            f"{adapter.path}: {name}: {file.path.name} has no such tensor{did_you_mean(name, file.tensors)}"
        )
    shape = None if factors.a is None else (*factors.b.shape[:-1], factors.a.shape[-1])
    if shape != info.shape:
        raise AdapterError(
            f"{adapter.path}: {name}: is for a weight of shape {shape}, but the model's has {info.shape}"
        )
    if info.type.name not in TARGETS:
        raise AdapterError(
            f"{adapter.path}: {name}: is of type {info.type.name}, which cannot be written; merge before quantizing"
        )


def _merged(file: GGUFFile, info: TensorInfo, factors: Factors, scale: float, pool: Pool) -> npt.NDArray[Any]:
    """Return the bytes of a merged weight: W + scale * B A, summed in float32, experts one after another.

    Where the file has factors for the products of W (`NAME.scale`), B A is divided by them.
    """
    weight = dequantize(file.data(info.name), info.type.name).reshape(info.shape)
    a, b = (np.asarray(x, np.float32) for x in (factors.a, factors.b))
    update = np.float32(scale * factors.scale) * (b @ a)
    key = f"{info.name.removesuffix('.weight')}.scale"
    if key in file.tensors:
        update /= array_of(file, key).reshape(-1, *[1] * (update.ndim - 1))  # one number, or one for each expert
    merged = weight + update
    rows = np.ascontiguousarray(merged.reshape(-1, info.shape[-1]), np.float32)
    return quantize(pool, rows.view(np.uint8), "F32", info.type.name, info.shape[-1])
