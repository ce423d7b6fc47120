"""quantize_to_budget(): the types that change a model's predictions least, for a file of a given size."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.plan import Pool
from realizar.backends.cpu.threads import bounded_threads, default_threads
from realizar.errors import ParameterError, TensorError
from realizar.gguf import GGMLType
from realizar.gguf.imatrix import Imatrix, read_imatrix
from realizar.gguf.parse import DEFAULT_ALIGNMENT
from realizar.quality.chunks import sample_text
from realizar.quality.sensitivity import is_measured, measure_sensitivities, probe_type
from realizar.quantize import Quantization, Quantizer, TensorPlan
from realizar.quantize.budget import Budget, Option, choose, parse_budget
from realizar.quantize.column_importances import column_importances
from realizar.quantize.recipes import Recipe
from realizar.quantize.sources import Source, SourceTensor, open_source
from realizar.quantize.type_errors import SampledRows, smaller_types

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many tensors are done, and of how many."""


def quantize_to_budget(
    source: str | os.PathLike[str], path: str | os.PathLike[str] | None, budget: str, *, text: str | None = None,
    imatrix: str | os.PathLike[str] | None = None, sensitivities: Mapping[str, float] | None = None,
    n_threads: int | None = None, progress: Progress | None = None,
) -> Quantization:  # fmt: skip
    """Quantize a model to a size, with types chosen for each tensor by how much they change the predictions.

    For small errors the divergence is proportional to their squares. So one measurement of a tensor, in one type, and
    the squared errors in all types predict its divergence in each of them (docs/budget.md). Like `quantize_file`, it
    writes the same bytes with any number of threads, and the file appears only when it is complete.

    Parameters
    ----------
    source : str or PathLike
        A GGUF file of a decoder.
    path : str or PathLike or None
        The file to write; None only chooses the types.
    budget : str
        Bits per weight of all tensors ("4.25bpw"), or the size of the file ("350MB", "330MiB").
    text : str, optional
        The text that the measurement reads, 128 tokens or more; by default `sample_text()`.
    imatrix : str or PathLike, optional
        An importance matrix: errors count by it, and the coarsest types become possible.
    sensitivities : mapping of str to float, optional
        The result of an earlier `measure_sensitivities` for this model, to be used instead of measuring.
    n_threads : int, optional
        The physical cores by default.
    progress : callable, optional

    Returns
    -------
    Quantization
        Its `divergences` are the predicted ones, by tensor.

    Raises
    ------
    ParameterError
        If the budget has no known form, is less than the smallest types need or as much as the source has; if the
        text is too short, the source is no GGUF file of a decoder, or the matrix is of another model.
    TensorError
        If a tensor's values cannot be quantized.
    RealizarError
        If the model cannot be loaded.
    """
    with open_to_budget(
        source, budget, text=text, imatrix=imatrix, sensitivities=sensitivities, n_threads=n_threads, progress=progress
    ) as opened:  # fmt: skip
        if path is not None:
            opened.write(path)
        return opened.result


@contextmanager
def open_to_budget(
    source: str | os.PathLike[str], budget: str, *, text: str | None = None,
    imatrix: str | os.PathLike[str] | None = None, sensitivities: Mapping[str, float] | None = None,
    n_threads: int | None = None, progress: Progress | None = None,
) -> Iterator[Quantizer]:  # fmt: skip
    """Open a model and choose its types; parameters and errors are those of `quantize_to_budget`."""
    limit = parse_budget(budget)
    if Path(source).is_dir():
        raise ParameterError(
            f"{source}: is a folder; a budget needs a GGUF file, which can be run: make one with realizar convert"
        )
    importances = None if imatrix is None else read_imatrix(imatrix)
    with open_source(source) as model:
        chooser = _Chooser(model, limit, importances, None if imatrix is None else Path(imatrix), n_threads)
        if sensitivities is None:
            chooser.check({tensor.name for tensor in model.tensors if is_measured(tensor)})  # before the long wait
            sensitivities = measure_sensitivities(
                source, sample_text() if text is None else text, n_threads=n_threads,
                progress=None if progress is None else lambda i, n: progress("measuring", i, n),
            )  # fmt: skip
        chooser.check(sensitivities)
        yield chooser.quantizer(sensitivities, progress)


class _Chooser:
    """Chooses the types of a model's tensors; sizes are those in the file, without what is `_fixed`."""

    def __init__(
        self, model: Source, budget: Budget, imatrix: Imatrix | None, path: Path | None, n_threads: int | None
    ) -> None:
        self._model, self._budget = model, budget
        self._imatrix, self._path, self._n_threads = imatrix, path, n_threads
        self._pool = Pool(default_threads().n if n_threads is None else bounded_threads(n_threads))
        self._align, self._fixed = 1, 0
        if budget.bits_per_weight is not None:
            n_weights = sum(prod(tensor.shape) for tensor in model.tensors)
            self._limit, self._unit = int(budget.bits_per_weight * n_weights / 8), n_weights / 8
        else:
            self._align, self._limit, self._unit = DEFAULT_ALIGNMENT, budget.n_bytes or 0, 1.0
            unchanged = [self._own(tensor) for tensor in model.tensors]
            self._fixed = self._planned(unchanged).file_bytes - sum(option.n_bytes for option in unchanged)

    def check(self, measured: Container[str]) -> None:
        """Raise a ParameterError if no types for these tensors fit the budget, or all types of the model do."""
        least = most = self._fixed
        for tensor in self._model.tensors:
            own = self._own(tensor).n_bytes
            names = smaller_types(tensor, self._weights(tensor) is not None) if tensor.name in measured else ()
            least += min([own, *(self._size(tensor, GGMLType[name]) for name in names)])
            most += own
        what = "bits per weight" if self._budget.bits_per_weight is not None else "bytes"
        if self._limit < least:
            more = (
                "" if self._imatrix is not None else "; an importance matrix (--imatrix) makes smaller types possible"
            )
            raise ParameterError(
                f"budget {self._budget.text}: the smallest types of this model need {self._number(least)} {what}{more}"
            )
        if self._limit >= most:
            raise ParameterError(
                f"budget {self._budget.text}: the model has {self._number(most)} {what} as it is; give less, or copy "
                "the file"
            )

    def quantizer(self, sensitivities: Mapping[str, float], progress: Progress | None) -> Quantizer:
        """Return the model with the types that cost the least within the budget."""
        tensors, options = self._model.tensors, []
        for i, tensor in enumerate(tensors):
            options.append([self._own(tensor), *self._smaller(tensor, sensitivities.get(tensor.name))])
            if progress is not None:
                progress("comparing types", i + 1, len(tensors))
        return self._planned(choose(options, self._limit - self._fixed))

    def _own(self, tensor: SourceTensor) -> Option:
        return Option(tensor.type.name, self._size(tensor, tensor.type), 0.0)

    def _smaller(self, tensor: SourceTensor, sensitivity: float | None) -> Iterator[Option]:
        """Yield the smaller types of a tensor with their predicted divergences; none if it was not measured."""
        probe = probe_type(tensor.shape[-1], tensor.type)
        if sensitivity is None or probe is None:
            return
        weights = self._weights(tensor)
        try:
            rows = SampledRows(self._pool, tensor, weights)
            probed = rows.error(probe, is_weighted=False)
            for name in smaller_types(tensor, weights is not None):
                cost = sensitivity * rows.error(name) / probed if probed else 0.0
                yield Option(name, self._size(tensor, GGMLType[name]), cost)
        except ValueError as error:
            raise TensorError(f"{tensor.name}: {error}") from None

    def _weights(self, tensor: SourceTensor) -> NDArray[np.float32] | None:
        if self._imatrix is None or self._path is None:
            return None
        return column_importances(self._imatrix, self._path, tensor.name, tensor.shape)

    def _planned(self, chosen: list[Option]) -> Quantizer:
        plans = [
            TensorPlan(tensor.name, tensor.shape, tensor.type, GGMLType[option.type])
            for tensor, option in zip(self._model.tensors, chosen, strict=True)
        ]
        divergences = {plan.name: option.cost for plan, option in zip(plans, chosen, strict=True)}
        recipe = Recipe(f"budget {self._budget.text}", None, "")
        return Quantizer(self._model, plans, recipe, self._imatrix, self._path, self._n_threads, divergences)

    def _size(self, tensor: SourceTensor, type: GGMLType) -> int:
        n_bytes = prod(tensor.shape[:-1]) * type.row_bytes(tensor.shape[-1])
        return -(-n_bytes // self._align) * self._align

    def _number(self, n_bytes: int) -> str:
        return f"{n_bytes:,}" if self._budget.n_bytes is not None else f"{n_bytes / self._unit:.3f}"
