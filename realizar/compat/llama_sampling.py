"""How llama-cpp-python's calls say what to sample: grammars, logits processors, stopping criteria, parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.errors import ParameterError, UnsupportedError, short_repr
from realizar.params import SamplingParams
from realizar.params.checks import as_tuple, is_int
from realizar.sampling.order import SAMPLERS

Processor = Callable[[npt.NDArray[np.intc], npt.NDArray[np.float32]], Any]


class LogitsProcessorList(list[Processor]):
    """Functions f(input_ids, scores) -> scores, called one after the other."""

    def __call__(self, input_ids: npt.NDArray[np.intc], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the scores, int32 [n_tokens] and float32 [n_vocab], as the functions change them."""
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[Processor]):
    """Functions f(input_ids, logits) -> bool; the text ends if one of them is true."""

    def __call__(self, input_ids: npt.NDArray[np.intc], logits: npt.NDArray[np.float32]) -> bool:
        """Return whether one of the functions is true for int32 [n_tokens] and float32 [n_vocab]."""
        return any(criterion(input_ids, logits) for criterion in self)


class LlamaGrammar:
    """A constraint of the text; made by its class methods.

    Attributes
    ----------
    constraint : dict
        The field of SamplingParams that it sets.
    """

    def __init__(self, constraint: dict[str, Any]) -> None:
        self.constraint = constraint

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """Return a constraint by a grammar in GBNF."""
        return cls({"grammar": grammar})

    @classmethod
    def from_file(cls, file: str | Path, verbose: bool = True) -> LlamaGrammar:
        """Return a constraint by a grammar in a file. Raises OSError if it cannot be read."""
        return cls.from_string(Path(file).read_text(encoding="utf-8"))

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        """Return a constraint by a JSON schema, as JSON text or a mapping."""
        return cls({"json_schema": json_schema})


def constraint(grammar: Any, response_format: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the field of SamplingParams that a grammar or a response_format sets.

    Raises
    ------
    UnsupportedError
        If the format has another type, or the grammar is something else.
    """
    if grammar is not None:
        if not isinstance(grammar, LlamaGrammar):
            raise UnsupportedError(
                f"grammar={short_repr(grammar)}: must be a realizar.compat.LlamaGrammar, from LlamaGrammar.from_string"
            )
        return grammar.constraint
    if response_format is None:
        return {}
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"json_schema": response_format.get("schema") or {"type": "object"}}
    inner = response_format.get("json_schema") if kind == "json_schema" else None
    if isinstance(inner, Mapping) and "schema" in inner:
        return {"json_schema": inner["schema"]}
    raise UnsupportedError(
        f"response_format={short_repr(response_format)}: must have the type 'text', 'json_object' (with a schema, if "
        "wanted), or 'json_schema' (with {'schema': ...} under this name)"
    )


def sampling(
    given: Mapping[str, Any], last_n: int, seed: int | None, eog_ids: Iterable[int], own: Mapping[str, Any]
) -> SamplingParams:
    """Return the params of a call.

    Parameters
    ----------
    given : mapping
        The arguments of the call by the names of llama-cpp-python.
    last_n : int
        Tokens that penalties consider.
    seed : int, optional
    eog_ids : iterable of int
        Tokens that end a text.
    own : mapping
        Fields of SamplingParams.

    Raises
    ------
    ParameterError
        If a value is invalid.
    UnsupportedError
        If stopping criteria are to end a text that a grammar does not let end.
    """
    max_tokens, stop = _positive(given["max_tokens"]), given["stop"]
    processors = _listed(given["logits_processor"])
    criteria = _listed(given.get("stopping_criteria"))
    if criteria:
        if own.keys() & {"grammar", "json_schema"}:
            raise UnsupportedError("stopping_criteria: a grammar decides where the text may end; use one of them")
        ends = sorted(eog_ids)
        if not ends:
            raise UnsupportedError("stopping_criteria: this model has no token that ends a text; use stop")
        processors = [*processors, _ending(StoppingCriteriaList(criteria), ends[0])]
    order: dict[str, Any] = {"samplers": (_batched(LogitsProcessorList(processors)), *SAMPLERS)} if processors else {}
    return SamplingParams(
        temperature=given["temperature"], top_p=given["top_p"], min_p=given["min_p"], typical_p=given["typical_p"],
        top_k=_positive(given["top_k"]) or 0, tfs_z=given["tfs_z"], repetition_penalty=given["repeat_penalty"],
        presence_penalty=given["presence_penalty"], frequency_penalty=given["frequency_penalty"],
        penalty_last_n=last_n, mirostat=given["mirostat_mode"], mirostat_tau=given["mirostat_tau"],
        mirostat_eta=given["mirostat_eta"], xtc_probability=0.0, xtc_threshold=0.1, seed=seed,
        stop=(stop,) if isinstance(stop, str) else as_tuple("stop", stop or (), "a text or a list of texts"),
        max_tokens=max_tokens, logit_bias=_bias(given["logit_bias"]),
        **order, **own,
    )  # fmt: skip


def _positive(number: Any) -> Any:
    """Return None for a number that is not positive, which means no limit; the value if it is no number, too."""
    return None if is_int(number) and number <= 0 else number


def _bias(given: Any) -> tuple[tuple[int, float], ...]:
    """Return pairs of a token id, which may be text, and a number. Raises ParameterError if they are something else."""
    try:
        return tuple((int(token), float(value)) for token, value in (given or {}).items())
    except (AttributeError, TypeError, ValueError):
        raise ParameterError(f"logit_bias={short_repr(given)}: must be a mapping of token ids to numbers") from None


def _listed(given: Any) -> list[Processor]:
    """Return functions that are given as a list, as one function, or not at all."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _ending(criteria: StoppingCriteriaList, end: int) -> Processor:
    """Return a logits processor that allows only the token `end` where a criterion is true."""

    def process(input_ids: npt.NDArray[np.intc], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if criteria(input_ids, scores):
            scores = np.full_like(scores, -np.inf)
            scores[end] = 0.0
        return scores

    return process


def _batched(process: Processor) -> Callable[[npt.NDArray[np.float32], Sequence[Any]], None]:
    """Return a batch logits processor that calls a function for each sequence."""

    def apply(logits: npt.NDArray[np.float32], histories: Sequence[Any]) -> None:
        for row, history in zip(logits, histories, strict=True):
            row[:] = process(np.asarray(history, np.intc), row.copy())

    return apply
