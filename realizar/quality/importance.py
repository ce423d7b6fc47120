"""measure_imatrix(): how large the inputs of each weight are over a text, for quantizing that weighs errors by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.arch.architecture import expand
from realizar.errors import RealizarError
from realizar.gguf.imatrix import Imatrix, ImatrixEntry
from realizar.quality.chunks import N_CTX, cut, first_scored
from realizar.quality.reader import NOT_FINITE_HINT, Reader
from realizar.runtime.passes import drop_unused

if TYPE_CHECKING:
    import os

    from realizar.graph import Node
    from realizar.graph.operands import Operands
    from realizar.model import Model
    from realizar.quality.chunks import Progress

N_ROWS = 64
"""Tokens of a step: memory holds the inputs of all weights for so many."""


class _Tap(NamedTuple):
    """An op with matrices: its node, what they are multiplied with, and weight index -> name of the file's tensor."""

    node: Node
    operands: Operands
    inputs: tuple[str, ...]
    entries: Mapping[int, str]


def measure_imatrix(
    model: str | os.PathLike[str], text: str, *, n_ctx: int = N_CTX, n_chunks: int | None = None,
    dataset: str = "", with_output: bool = False, progress: Progress | None = None, **engine: Any,
) -> Imatrix:  # fmt: skip
    """Sum the squares of the inputs of each weight over the tokens of a text, as llama-imatrix does.

    Inputs are read before they are rounded. Those of a mixture's last matrices, which no kernel returns, are computed
    again in numpy, which takes most of the time of such a model.

    Parameters
    ----------
    model : str | os.PathLike
        As for `LLM`.
    text : str
    n_ctx, n_chunks, **engine
        As for `perplexity`; all tokens of a chunk count.
    dataset : str
        Name of the text, for the file.
    with_output : bool
        Whether to include output.weight, which llama-imatrix leaves out by default, too.
    progress : callable, optional
        Called after each chunk with (chunks done, all chunks, None).

    Returns
    -------
    Imatrix
        `realizar.gguf.imatrix.write_imatrix` writes it.

    Raises
    ------
    ParameterError
        If a number is invalid, the text is shorter than a chunk, or the model is an encoder.
    RealizarError
        As for `LLM`; or if an input is not finite.
    """
    first_scored(n_ctx)  # checks it
    with Reader(model, n_ctx, n_batch=N_ROWS, **engine) as reader:
        chunks = cut(reader.model.tokenizer, text, n_ctx, n_chunks)
        taps = list(_taps(reader.model, with_output))
        names = list(dict.fromkeys(name for tap in taps for name in tap.inputs))
        sums = _Sums(reader.model)
        for i, tokens in enumerate(chunks):
            for values in reader.values(tokens, names, N_ROWS):
                for tap in taps:
                    sums.add(tap, values)
            if progress is not None:
                progress(i + 1, len(chunks), None)
        return Imatrix(sums.entries(), (dataset,) if dataset else (), len(chunks), n_ctx)


def _taps(model: Model, with_output: bool) -> Iterator[_Tap]:
    """Yield the ops whose matrices get an entry: those of layers (llama-imatrix collects no others)."""
    graph, sources = model.graphs[model.main], _sources(model)
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for node in drop_unused(graph.nodes, set(graph.outputs.values())):
        if node.spec.operands is None:
            continue
        entries: dict[int, str] = {}
        for j, name in enumerate(node.weights):
            source = sources.get(name, name)
            wanted = source.startswith("blk.") or (with_output and source == "output.weight")
            if wanted and (source, node.inputs) not in seen:  # parts of a fused tensor read the same input once
                seen.add((source, node.inputs))
                entries[j] = source
        if entries:
            yield _Tap(node, node.spec.operands, tuple(graph.values[i].name for i in node.inputs), entries)


def _sources(model: Model) -> dict[str, str]:
    """Return the tensor of the file for each part of a fused one that is not itself in the file."""
    table = expand(model.architecture.tensors(model.hp), model.hp.n_layer)
    return {
        f"{part}.weight": f"{name}.weight"
        for name, weight in table.items()
        if weight.parts is not None
        for part in weight.split(name)
        if f"{part}.weight" not in model.file.tensors
    }


class _Sums:
    """Sums of squares and counts, for each matrix of each tensor of the file."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._squares: dict[str, npt.NDArray[np.float64]] = {}
        self._counts: dict[str, npt.NDArray[np.float64]] = {}

    def add(self, tap: _Tap, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Add the inputs of an op at the tokens of a step."""
        inputs = [values[name] for name in tap.inputs]
        for weight, matrix, rows in tap.operands(tap.node, inputs, self._model.tensors):
            if weight in tap.entries:
                self._add(tap.entries[weight], matrix, rows)

    def _add(self, name: str, matrix: int, rows: npt.NDArray[np.float32]) -> None:
        shape = self._model.file.tensors[name].shape
        n_matrices = prod(shape[:-2])
        if name not in self._squares:
            self._squares[name] = np.zeros((n_matrices, shape[-1]))
            self._counts[name] = np.zeros(n_matrices)
        squares = np.einsum("nk,nk->k", rows, rows, dtype=np.float64)
        if not np.isfinite(squares).all():
            raise RealizarError(f"{name}: an input is infinite or NaN; {NOT_FINITE_HINT}")
        i = matrix if n_matrices > 1 else 0  # the heads of a matrix in one piece read the same columns
        self._squares[name][i] += squares
        self._counts[name][i] += len(rows)

    def entries(self) -> dict[str, ImatrixEntry]:
        """Return the sums as the file has them."""
        found: dict[str, ImatrixEntry] = {}
        for name, squares in self._squares.items():
            counts = self._counts[name]
            if (counts == counts[0]).all():  # llama-imatrix has one count for all heads
                squares, counts = squares.reshape(1, -1), counts[:1]
            found[name] = ImatrixEntry(squares.astype(np.float32), counts.astype(np.float32))
        return found
