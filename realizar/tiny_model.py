"""Tiny random model files of any architecture, for its tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import Architecture, ArchMetadata
from realizar.arch.architecture import Weight, WeightTable, expand
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.model import Model
from realizar.quants import FORMATS, quantize

F32 = npt.NDArray[np.float32]

N_VOCAB = 288
N_ROWS = 1021
"""Random rows of one format and length, from which all matrices are composed, because quantizing is slow."""


def tiny_metadata(name: str) -> dict[str, Any]:
    """Return the metadata of a tiny model: the keys of `Architecture.hparams`, with sizes that suit every format."""
    return {
        "general.architecture": name,
        f"{name}.block_count": 2,
        f"{name}.context_length": 512,
        f"{name}.embedding_length": 256,
        f"{name}.feed_forward_length": 512,
        f"{name}.vocab_size": N_VOCAB,
        f"{name}.attention.head_count": 4,
        f"{name}.attention.head_count_kv": 2,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{name}.attention.layer_norm_epsilon": 1e-5,
        f"{name}.rope.freq_base": 10000.0,
    }


@contextmanager
def tiny_model(
    arch: Architecture,
    metadata: Mapping[str, Any],
    type_name: str,
    folder: Path,
    *,
    optional: bool = True,
    seed: int = 0,
) -> Iterator[Model]:
    """Write a tiny random model file and open it, with its draft block if the metadata have one.

    Without `optional`, optional tensors (and those that depend on them) are omitted, and fused tensors are in parts.
    """
    path = folder / f"{arch.name}-{type_name}-{optional}.gguf"
    md = ArchMetadata(metadata, arch.name)
    has_draft = md.draft_layers() > 0
    hp = replace(arch.hparams(md), has_draft=has_draft)
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path)
    for key, value in metadata.items():
        writer.add(key, value)
    for name, weight in _written(expand(arch.tensors(hp), hp.n_layer), optional).items():
        if ((weight.optional or weight.alias or weight.where) and not optional) or (weight.unless and optional):
            continue
        _add(writer, name + weight.suffix, weight, rng, type_name)
        if weight.bias is True or (weight.bias is None and optional):
            _write(writer, f"{name}.bias", 0.1 * rng.standard_normal(weight.bias_shape).astype(np.float32))
    writer.write()
    with GGUFFile(path) as file:
        model = Model(file, arch, has_draft)
        yield model
        model.close()


def _written(table: WeightTable, fused: bool) -> WeightTable:
    """Return the tensors of a file, with weights that have parts fused or in parts."""
    out: WeightTable = {}
    for name, weight in table.items():
        out.update(weight.split(name) if weight.parts and not fused else {name: weight})
    return out


def _add(writer: GGUFWriter, name: str, weight: Weight, rng: np.random.Generator, type_name: str) -> None:
    """Add a random tensor: norms and factors near 1, decays near -1, matrices that preserve the norm of inputs.

    A matrix is in this format, or in the next simpler one whose block length divides its rows.
    """
    if weight.negative:
        _write(writer, name, -(0.1 + np.abs(rng.standard_normal(weight.shape))).astype(np.float32))
    elif len(weight.shape) == 1:
        _write(writer, name, (1.0 + 0.1 * np.abs(rng.standard_normal(weight.shape))).astype(np.float32))
    elif weight.shape[-1] % 32:
        _write(writer, name, (rng.standard_normal(weight.shape) / np.sqrt(weight.shape[-1])).astype(np.float32))
    else:
        fits = weight.shape[-1] % FORMATS[type_name].n_elements == 0
        type_name = type_name if fits else "Q8_0"
        pool = _random_rows(type_name, weight.shape[-1])
        rows = (int(rng.integers(N_ROWS)) + np.arange(prod(weight.shape[:-1]))) % N_ROWS
        writer.add_tensor(name, pool[rows].reshape(*weight.shape[:-1], -1), weight.shape, GGMLType[type_name])


@cache
def _random_rows(type_name: str, n_columns: int) -> npt.NDArray[np.uint8]:
    """Return quantized rows of variance 1 / n_columns: uint8 [N_ROWS, row_bytes]."""
    rows = np.random.default_rng(n_columns).standard_normal((N_ROWS, n_columns)) / np.sqrt(n_columns)
    return quantize(rows.astype(np.float32), type_name)


def _write(writer: GGUFWriter, name: str, array: F32) -> None:
    writer.add_tensor(name, quantize(array, "F32"), array.shape, GGMLType.F32)
