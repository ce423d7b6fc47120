"""quantize_file: writes a model with the types of a recipe, one tensor after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from realizar._kernels.plan import Pool
from realizar._kernels.quantize import are_finite, quantize
from realizar.backends.cpu.threads import bounded_threads, default_threads
from realizar.errors import ParameterError, TensorError
from realizar.gguf import GGUFWriter, ValueType
from realizar.gguf.encode import encode
from realizar.gguf.imatrix import Imatrix, read_imatrix
from realizar.gguf.target import check_target
from realizar.quantize.column_importances import column_importances
from realizar.quantize.recipes import Recipe, find_recipe
from realizar.quantize.sources import Source, SourceTensor, open_source
from realizar.quantize.tensor_types import Overrides, TensorPlan, needs_importances, plan_types
from realizar.quants import FORMATS

QUANTIZATION_VERSION = 2
"""Of ggml's blocks (GGML_QNT_VERSION in ggml.h)."""

FILE_TYPE = "general.file_type"
"""Key of the recipe's number; without it, readers name a file by its most frequent type."""

Progress = Callable[[TensorPlan], None]
Rows = NDArray[np.uint8]


@dataclass(frozen=True)
class Quantization:
    """What was written, or would be.

    Attributes
    ----------
    recipe : Recipe
    plans : tuple of TensorPlan
    without_importances : tuple of str
        With an importance matrix, the tensors that were quantized without, for it has no entry for them.
    needs_importances : tuple of str
        Tensors whose types are too coarse without importances; empty if a file was written.
    divergences : mapping of str to float
        For types chosen by a budget: the divergence that is predicted for each tensor, in nats.
    """

    recipe: Recipe
    plans: tuple[TensorPlan, ...]
    without_importances: tuple[str, ...]
    needs_importances: tuple[str, ...]
    divergences: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(plan.n_bytes for plan in self.plans)

    @property
    def bits_per_weight(self) -> float:
        """Mean over all tensors."""
        return 8 * self.n_bytes / sum(int(np.prod(plan.shape)) for plan in self.plans)


def quantize_file(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str] | None,
    recipe: str,
    imatrix: str | os.PathLike[str] | None = None,
    overrides: Overrides = (),
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Quantization:
    """Quantize a model.

    The new file appears only when it is complete. Its bytes do not depend on the number of threads or the CPU. Memory
    holds one tensor at a time.

    Parameters
    ----------
    source : str or PathLike
        A GGUF file, or a Hugging Face folder.
    path : str or PathLike or None
        The file to write; None only chooses the types.
    recipe : str
        A key of `RECIPES`, such as "Q4_K_M".
    imatrix : str or PathLike, optional
        An importance matrix, as GGUF or in llama.cpp's older form.
    overrides : sequence of (pattern, type)
        Types of tensors by name; the first pattern that fits decides.
    n_threads : int, optional
        The physical cores by default.
    progress : callable, optional
        Called with the plan of each tensor before its data is made.

    Raises
    ------
    ParameterError
        If a recipe, type or pattern is unknown, a type needs an importance matrix, or the matrix is of another model.
    TensorError
        If a tensor's values cannot be quantized.
    ModelNotFoundError, GGUFError
        If a file does not exist, or is damaged.
    """
    with open_to_quantize(source, recipe, imatrix, overrides, n_threads) as opened:
        if path is not None:
            opened.write(path, progress)
        return opened.result


@contextmanager
def open_to_quantize(
    source: str | os.PathLike[str],
    recipe: str,
    imatrix: str | os.PathLike[str] | None = None,
    overrides: Overrides = (),
    n_threads: int | None = None,
) -> Iterator[Quantizer]:
    """Open a model and choose its types; parameters and errors are those of `quantize_file`."""
    chosen = find_recipe(recipe)
    importances = None if imatrix is None else read_imatrix(imatrix)
    with open_source(source) as model:
        described = [(tensor.name, tensor.shape, tensor.type) for tensor in model.tensors]
        plans = plan_types(described, model.metadata, chosen, overrides, imatrix is not None)
        yield Quantizer(model, plans, chosen, importances, None if imatrix is None else Path(imatrix), n_threads)


class Quantizer:
    """A model with the types chosen, and the threads and importances to write it.

    Attributes
    ----------
    result : Quantization
        What `write` writes.
    """

    def __init__(
        self,
        model: Source,
        plans: list[TensorPlan],
        recipe: Recipe,
        imatrix: Imatrix | None,
        path: Path | None,
        n_threads: int | None,
        divergences: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._model, self._plans, self._recipe = model, plans, recipe
        self._imatrix, self._path = imatrix, path
        self._pool = Pool(default_threads().n if n_threads is None else bounded_threads(n_threads))
        without = [plan for plan in plans if self._is_without_importances(plan)]
        needing = [plan.name for plan in without if needs_importances(plan.name, plan.target.name, recipe)]
        names = () if imatrix is None else tuple(plan.name for plan in without)
        self.result = Quantization(recipe, tuple(plans), names, tuple(needing), divergences)

    def write(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        """Write the file; parameters and errors are those of `quantize_file`."""
        check_target(path, self._model.paths)
        self._require_importances()
        self._writer(path, progress).write()

    @property
    def file_bytes(self) -> int:
        """Size of the file that `write` writes."""
        return self._writer("", None).n_bytes

    def _writer(self, path: str | os.PathLike[str], progress: Progress | None) -> GGUFWriter:
        writer = GGUFWriter(path)
        for key, value in (self._model.encoded | self._metadata()).items():
            if key != FILE_TYPE or self._recipe.file_type is not None:
                writer.add_encoded(key, value)
        for tensor, plan in zip(self._model.tensors, self._plans, strict=True):
            writer.add_tensor(plan.name, partial(self._rows, tensor, plan, progress), plan.shape, plan.target)
        return writer

    def _metadata(self) -> dict[str, bytes]:
        """Return the metadata that a quantized file has, encoded; keys as llama-quantize writes them."""
        values = {"general.quantization_version": QUANTIZATION_VERSION}
        if self._recipe.file_type is not None:
            values[FILE_TYPE] = self._recipe.file_type
        out = {key: encode(key, value, ValueType.UINT32) for key, value in values.items()}
        if self._imatrix is not None:
            numbers = {
                "quantize.imatrix.entries_count": len(self._imatrix.entries),
                "quantize.imatrix.chunks_count": self._imatrix.chunk_count,
            }
            out["quantize.imatrix.file"] = encode("quantize.imatrix.file", str(self._path))
            if self._imatrix.datasets:
                out["quantize.imatrix.dataset"] = encode("quantize.imatrix.dataset", self._imatrix.datasets[0])
            out |= {key: encode(key, value, ValueType.UINT32) for key, value in numbers.items()}
        return out

    def _is_without_importances(self, plan: TensorPlan) -> bool:
        """Whether a tensor is quantized without; ParameterError if its type or its importances cannot be used."""
        if plan.source == plan.target:
            return False
        if plan.source.name not in FORMATS:
            raise ParameterError(
                f"{plan.name}: has type {plan.source.name}, but realizar reads only {', '.join(FORMATS)}"
            )
        return self._importances(plan) is None

    def _require_importances(self) -> None:
        """Raise a ParameterError if a type is too coarse for a tensor without importances."""
        if needing := self.result.needs_importances:
            raise ParameterError(
                f"{needing[0]}: its type in recipe {self._recipe.name} needs an importance matrix "
                "with an entry for this tensor; make one with realizar imatrix and pass it with --imatrix"
            )

    def _rows(self, tensor: SourceTensor, plan: TensorPlan, progress: Progress | None) -> Rows:
        """Return the rows of a tensor in its new type."""
        if progress is not None:
            progress(plan)
        rows = tensor.rows()
        if plan.source == plan.target:
            self._require_finite(plan, rows)
            return rows
        try:
            return quantize(
                self._pool, rows, plan.source.name, plan.target.name, plan.shape[-1], self._importances(plan)
            )
        except ValueError as error:
            raise TensorError(f"{plan.name}: {error}") from None

    def _require_finite(self, plan: TensorPlan, rows: Rows) -> None:
        """Raise a TensorError if a tensor that is copied has values that make the model useless."""
        name = plan.source.name
        if name in FORMATS and not are_finite(self._pool, rows, name, plan.shape[-1]):
            raise TensorError(f"{plan.name}: a value is infinite or NaN; the file is damaged or was converted wrongly")

    def _importances(self, plan: TensorPlan) -> NDArray[np.float32] | None:
        if self._imatrix is None or self._path is None:
            return None
        return column_importances(self._imatrix, self._path, plan.name, plan.shape)
