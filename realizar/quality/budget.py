"""quantize_to_budget(): the types that change a model's predictions least, for a file of a given size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

from realizar._kernels.plan import Pool
from realizar.backends.cpu.threads import bounded_threads, default_threads
from realizar.errors import ParameterError, TensorError
from realizar.gguf import GGMLType
from realizar.gguf.imatrix import Imatrix, read_imatrix
from realizar.gguf.parse import DEFAULT_ALIGNMENT
from realizar.quality.chunks import sample_text
from realizar.quality.sensitivity import measure_sensitivities, probe_type
from realizar.quantize import Quantization, Quantizer, TensorPlan
from realizar.quantize.budget import Budget, Option, choose, parse_budget
from realizar.quantize.recipes import Recipe
from realizar.quantize.sources import Source, SourceTensor, open_source
from realizar.quantize.type_errors import SampledRows, smaller_types
from realizar.quantize.weights_of_columns import column_weights

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
        if sensitivities is None:
            sensitivities = measure_sensitivities(
                source, sample_text() if text is None else text, n_threads=n_threads,
                progress=None if progress is None else lambda i, n: progress("measuring", i, n),
            )  # fmt: skip
        chooser = _Chooser(model, sensitivities, importances, None if imatrix is None else Path(imatrix), n_threads)
        options = chooser.options(progress)
        yield chooser.within(limit, options)


class _Chooser:
    """A model and what is known of its tensors."""

    def __init__(
        self, model: Source, sensitivities: Mapping[str, float], imatrix: Imatrix | None, path: Path | None,
        n_threads: int | None,
    ) -> None:  # fmt: skip
        self._model, self._sensitivities = model, sensitivities
        self._imatrix, self._path, self._n_threads = imatrix, path, n_threads
        self._pool = Pool(default_threads().n if n_threads is None else bounded_threads(n_threads))

    def options(self, progress: Progress | None) -> list[list[Option]]:
        """Return the types that each tensor may get, its own among them, with their predicted divergences."""
        tensors, found = self._model.tensors, []
        for i, tensor in enumerate(tensors):
            own = Option(tensor.type.name, _n_bytes(tensor, tensor.type), 0.0)
            found.append([own, *self._smaller(tensor)])
            if progress is not None:
                progress("comparing types", i + 1, len(tensors))
        return found

    def _smaller(self, tensor: SourceTensor) -> Iterator[Option]:
        """Yield the smaller types of a tensor; none if its sensitivity is unknown."""
        measured, probe = self._sensitivities.get(tensor.name), probe_type(tensor.shape[-1], tensor.type)
        if measured is None or probe is None:
            return
        weights = None
        if self._imatrix is not None and self._path is not None:
            weights = column_weights(self._imatrix, self._path, tensor.name, tensor.shape)
        try:
            rows = SampledRows(self._pool, tensor, weights)
            probed = rows.error(probe, is_weighted=False)
            for name in smaller_types(tensor, weights is not None):
                cost = measured * rows.error(name) / probed if probed else 0.0
                yield Option(name, _n_bytes(tensor, GGMLType[name]), cost)
        except ValueError as error:
            raise TensorError(f"{tensor.name}: {error}") from None

    def within(self, budget: Budget, options: list[list[Option]]) -> Quantizer:
        """Return the model with the types that cost the least within a budget."""
        if budget.bits_per_weight is not None:
            align, fixed = 1, 0
            n_weights = sum(prod(tensor.shape) for tensor in self._model.tensors)
            limit = int(budget.bits_per_weight * n_weights / 8)
        else:
            align, limit = DEFAULT_ALIGNMENT, budget.n_bytes or 0
            unchanged = self._quantizer(budget, [each[0] for each in options])
            fixed = unchanged.n_bytes - sum(_padded(each[0].n_bytes, align) for each in options)
        sized = [[Option(each.type, _padded(each.n_bytes, align), each.cost) for each in some] for some in options]
        self._check(budget, limit, fixed, sized)
        return self._quantizer(budget, choose(sized, limit - fixed))

    def _check(self, budget: Budget, limit: int, fixed: int, options: list[list[Option]]) -> None:
        least = fixed + sum(min(option.n_bytes for option in each) for each in options)
        most = fixed + sum(each[0].n_bytes for each in options)
        if least <= limit < most:
            return
        what = "bits per weight" if budget.bits_per_weight is not None else "bytes"
        per = limit / budget.bits_per_weight if budget.bits_per_weight is not None else 1
        if limit < least:
            more = (
                "" if self._imatrix is not None else "; an importance matrix (--imatrix) makes smaller types possible"
            )
            raise ParameterError(
                f"budget {budget.text}: the smallest types of this model need {_number(least / per)} {what}{more}"
            )
        raise ParameterError(
            f"budget {budget.text}: the model has {_number(most / per)} {what} as it is; give less, or copy the file"
        )

    def _quantizer(self, budget: Budget, chosen: list[Option]) -> Quantizer:
        plans = [
            TensorPlan(tensor.name, tensor.shape, tensor.type, GGMLType[option.type])
            for tensor, option in zip(self._model.tensors, chosen, strict=True)
        ]
        divergences = {plan.name: option.cost for plan, option in zip(plans, chosen, strict=True)}
        recipe = Recipe(f"budget {budget.text}", None, "")
        return Quantizer(self._model, plans, recipe, self._imatrix, self._path, self._n_threads, divergences)


def _n_bytes(tensor: SourceTensor, type: GGMLType) -> int:
    return prod(tensor.shape[:-1]) * type.row_bytes(tensor.shape[-1])


def _padded(n_bytes: int, align: int) -> int:
    return -(-n_bytes // align) * align


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3f}"
