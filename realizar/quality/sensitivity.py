"""measure_sensitivities(): how far a model's predictions move when one of its tensors is quantized coarsely."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Pool
from realizar._kernels.quantize import quantize
from realizar.arch.architecture import expand
from realizar.errors import RealizarError
from realizar.gguf import GGMLType
from realizar.quality.chunks import cut
from realizar.quality.reader import NOT_FINITE_HINT, Reader
from realizar.quality.statistics import F32, F64, small_divergences
from realizar.quantize.tensor_types import may_quantize
from realizar.runtime.draft_files import input_of_layer

if TYPE_CHECKING:
    import os

    from realizar.gguf import TensorInfo
    from realizar.model import Model
    from realizar.quantize.sources import SourceTensor
    from realizar.runtime.weights import Tensor

N_CTX, N_CHUNKS = 128, 1
"""Tokens of a chunk, all of which are scored, and chunks: the measurement of a tensor reads 128 tokens."""
PROBES = ("Q3_K", "Q4_0", "MXFP4")
"""Types that a tensor is quantized to, the first that its rows allow and that is not its own."""

Progress = Callable[[int, int], None]
"""Called with the number of tensors that are measured, and that of all."""


def measure_sensitivities(
    model: str | os.PathLike[str], text: str, *, n_chunks: int = N_CHUNKS, progress: Progress | None = None,
    **engine: Any,
) -> dict[str, float]:  # fmt: skip
    """Measure, for each matrix, the divergence of the model from itself when this matrix alone is quantized.

    It is quantized to `probe_type`. Only the layers from that of the matrix on are computed again: the hidden state
    before them is kept. Memory holds the logits and the hidden states before all layers for all tokens that are read:
    90 MB for a vocabulary of 150,000 and 24 layers of 896.

    Parameters
    ----------
    model : str | os.PathLike
        As for `LLM`; a decoder.
    text : str
        At least 128 tokens.
    n_chunks : int
        Maximum chunks of 128 tokens to read.
    progress : callable, optional
    **engine
        n_threads, kv_type, activations: as for `LLM`.

    Returns
    -------
    dict of str to float
        Name of the file's tensor -> mean Kullback-Leibler divergence in nats. Without those that the decoder does not
        read (a draft block), and those that no probe type fits.

    Raises
    ------
    ParameterError
        If the text is too short, or the model is an encoder.
    RealizarError
        As for `LLM`, if the model cannot be loaded; or if a logit is not finite.
    """
    with Reader(model, N_CTX, n_batch=N_CTX, **engine) as reader:
        chunks = cut(reader.model.tokenizer, text, N_CTX, n_chunks)
        starts = _starts(reader.model)
        passes = [_Pass(reader, tokens, sorted(set(starts.values()))) for tokens in chunks]
        probed = list(_probed(reader.model))
        pool = Pool(reader.runner.n_threads)
        found = {}
        for i, (info, target, parts) in enumerate(probed):
            with reader.replaced(_coarse(pool, reader.model, info, target, parts)):
                moved = np.concatenate([each.divergences(starts.get(_layer(info.name))) for each in passes])
            if not np.isfinite(moved).all():
                raise RealizarError(
                    f"{info.name}: with this tensor in type {target}, a logit is infinite or NaN; {NOT_FINITE_HINT}"
                )
            found[info.name] = max(0.0, float(moved.mean()))
            if progress is not None:
                progress(i + 1, len(probed))
        return found


def probe_type(k: int, source: GGMLType) -> str | None:
    """Return the type that a tensor with rows of k elements is quantized to, or None if there is none."""
    return next((name for name in PROBES if name != source.name and k % GGMLType[name].n_elements == 0), None)


def is_measured(tensor: TensorInfo | SourceTensor) -> bool:
    """Whether a tensor is one of those that `measure_sensitivities` measures, if the decoder reads it."""
    return (
        may_quantize(tensor.name, tensor.shape, tensor.type) and probe_type(tensor.shape[-1], tensor.type) is not None
    )


class _Pass:
    """What the model computes for a chunk: logits, and the hidden states from which it can be continued."""

    def __init__(self, reader: Reader, tokens: npt.NDArray[np.int32], states: list[str]) -> None:
        self._reader, self._tokens = reader, tokens
        self._states: dict[str, F32] = {}
        if states:
            self._states = {name: rows.copy() for name, rows in next(reader.values(tokens, states, N_CTX)).items()}
        self._logits: F32 = self._run(None).copy()

    def _run(self, start: str | None) -> F32:
        given = None if start is None else {start: self._states[start]}
        rows: F32 = next(self._reader.values(self._tokens, None, N_CTX, overrides=given))["logits"].values
        return rows

    def divergences(self, start: str | None) -> F64:
        """Return that of each token, computed from a hidden state on, or from the tokens."""
        return small_divergences(self._logits, self._run(start))


def _layer(name: str) -> int:
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _starts(model: Model) -> dict[int, str]:
    """Return the hidden state before each layer that needs nothing else of the layers before."""
    graph, n_layer = model.graphs[model.main], model.hp.n_layer
    found = {i: input_of_layer(graph, i, n_layer, model.hp.n_embd) for i in range(1, n_layer)}
    return {i: name for i, name in found.items() if name is not None}


def _probed(model: Model) -> Iterator[tuple[TensorInfo, str, list[str]]]:
    """Yield the tensors to measure, the type to quantize each to, and the names under which the model reads it."""
    table = expand(model.architecture.tensors(model.hp), model.hp.n_layer)
    split = {f"{name}.weight": list(weight.split(name)) for name, weight in table.items() if weight.parts is not None}
    for name, info in model.file.tensors.items():
        target = probe_type(info.shape[-1], info.type)
        if target is None or not is_measured(info):
            continue
        parts = [f"{part}.weight" for part in split.get(name, ())]
        for read in ([name], parts):  # a part may have the name of the fused tensor
            found = [model.tensors[part] for part in read if part in model.tensors]
            if found and sum(prod(tensor.shape) for tensor in found) == info.n_elements:
                yield info, target, read
                break


def _coarse(pool: Pool, model: Model, info: TensorInfo, target: str, parts: list[str]) -> dict[str, Tensor]:
    """Return the tensors that a tensor of the file becomes when it is quantized."""
    rows = quantize(pool, model.file.data(info.name), info.type.name, target, info.shape[-1])
    if parts == [info.name]:
        return {info.name: replace(model.tensors[info.name], type=target, data=rows)}
    whole, start, found = rows.reshape(*info.shape[:-1], -1), 0, {}
    for part in parts:
        tensor = model.tensors[part]
        end = start + tensor.shape[-2]
        found[part] = replace(tensor, type=target, data=whole[..., start:end, :])
        start = end
    return found
