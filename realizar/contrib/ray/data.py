"""Embed, Generate: classes for Ray Data's `map_batches` that embed texts, or generate completions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from realizar.errors import (
    ContextFullError,
    GrammarError,
    ParameterError,
    RequestError,
    TemplateError,
    TokenizerError,
    describe_exception,
)
from realizar.llm import LLM
from realizar.params import SamplingParams, resolved

if TYPE_CHECKING:
    from realizar.engine.output import Completion

T = TypeVar("T")
OF_A_ROW = (ContextFullError, GrammarError, ParameterError, RequestError, TemplateError, TokenizerError)
"""Errors that say what is wrong with a row; others, such as OutOfMemoryError, end the task."""


class Worker(ABC):
    """A model that adds columns to tables, one row for each row; use `batch_format="pyarrow"`.

    A row whose text is null or too long has nulls, and says why in the column `error`; the others go on.

    Parameters
    ----------
    model : str
        See `LLM`; every node must be able to read it.
    column : str
        The column that is read.
    **engine
        Further parameters of `LLM`. With several workers on a node set `n_threads`, and the same as `num_cpus`.
    """

    _also: tuple[Callable[[pa.DataType], bool], ...] = ()

    def __init__(self, model: str, column: str, **engine: Any) -> None:
        self._llm = LLM(model, **engine)
        self._column = column

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with the new columns behind its own."""
        if self._column not in table.column_names:
            raise ParameterError(f"there is no column {self._column!r}; there are {', '.join(table.column_names)}")
        kind = table.schema.field(self._column).type
        if not any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, *self._also)):
            raise ParameterError(
                f"the column {self._column!r} has the type {kind}, which {type(self).__name__} does not read"
            )
        given = table.column(self._column).to_pylist()
        results, errors = _each(self._compute, [value for value in given if value is not None])
        found = iter(zip(results, errors, strict=True))
        rows = [(None, f"ParameterError: {self._column} is null") if value is None else next(found) for value in given]
        for name, values in self._columns([result for result, _ in rows]).items():
            table = table.append_column(name, values)
        return table.append_column("error", pa.array([error for _, error in rows], pa.string()))

    @abstractmethod
    def _compute(self, given: list[Any]) -> Sequence[Any]:
        """Return a result for each value; there is one, and none is null."""

    @abstractmethod
    def _columns(self, results: list[Any]) -> dict[str, pa.Array]:
        """Return the new columns; a result is None where the row has an error."""


class Embed(Worker):
    """Adds `embedding`: a list of float32 for each text.

    Parameters
    ----------
    model, column, **engine
        See `Worker`.
    options : mapping, optional
        Arguments of `LLM.embed`, such as {"prompt": "passage: ", "dimensions": 256}.
    """

    def __init__(
        self, model: str, column: str = "text", options: Mapping[str, Any] | None = None, **engine: Any
    ) -> None:
        super().__init__(model, column, **engine)
        self._options = dict(options or {})
        self._llm.embed(["a"], **self._options)  # wrong options fail here, not in every row

    def _compute(self, given: list[Any]) -> Sequence[Any]:
        return self._llm.embed(given, **self._options)  # type: ignore[no-any-return]

    def _columns(self, results: list[Any]) -> dict[str, pa.Array]:
        return {"embedding": pa.array(results, pa.list_(pa.float32()))}


class Generate(Worker):
    """Adds `completion`, `reasoning`, `finish_reason`, `n_prompt_tokens` and `n_completion_tokens`.

    Parameters
    ----------
    model, column, **engine
        See `Worker`. The column has prompts, or lists of messages, which the model's chat template renders.
    params : mapping, optional
        Fields of `SamplingParams`, for all rows.
    """

    _also = (pa.types.is_list,)

    def __init__(
        self, model: str, column: str = "prompt", params: Mapping[str, Any] | None = None, **engine: Any
    ) -> None:
        super().__init__(model, column, **engine)
        self._params = resolved(SamplingParams(**(params or {})))

    def _compute(self, given: list[Any]) -> Sequence[Completion]:
        texts = isinstance(given[0], str)
        made: list[Completion] = (self._llm.generate if texts else self._llm.chat)(given, self._params)
        return made

    def _columns(self, results: list[Completion | None]) -> dict[str, pa.Array]:
        def column(kind: pa.DataType, of: Callable[[Completion], Any]) -> pa.Array:
            return pa.array([None if one is None else of(one) for one in results], kind)

        return {
            "completion": column(pa.string(), lambda one: one.text),
            "reasoning": column(pa.string(), lambda one: one.reasoning),
            "finish_reason": column(pa.string(), lambda one: one.finish_reason),
            "n_prompt_tokens": column(pa.int64(), lambda one: one.timings.n_prompt),
            "n_completion_tokens": column(pa.int64(), lambda one: len(one.token_ids)),
        }


def _each(compute: Callable[[list[Any]], Sequence[T]], given: list[Any]) -> tuple[list[T | None], list[str | None]]:
    """Return results and errors of all values: together if there is no error, which is faster, else one by one."""
    if not given:
        return [], []
    try:
        return list(compute(given)), [None] * len(given)
    except OF_A_ROW as error:
        if len(given) == 1:
            return [None], [describe_exception(error)]
    ones = [_each(compute, [value]) for value in given]
    return [results[0] for results, _ in ones], [errors[0] for _, errors in ones]
