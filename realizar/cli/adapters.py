"""Options of `realizar run` and `realizar chat` for LoRA adapters and control vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from realizar.params import SamplingParams

if TYPE_CHECKING:
    from realizar.llm import LLM

Lora = Annotated[
    list[str] | None,
    Option(
        "--lora", metavar="PATH[=SCALE]", help="LoRA adapter: a GGUF file or a folder of PEFT; may be repeated."
    ),
]  # fmt: skip
ControlVector = Annotated[
    list[str] | None,
    Option("--control-vector", metavar="PATH[=SCALE]", help="Control vector, a GGUF file; may be repeated."),
]


def with_adapters(
    llm: LLM, params: SamplingParams, lora: list[str] | None, control: list[str] | None
) -> SamplingParams:
    """Load adapters under their paths, and return params that use them.

    Raises
    ------
    AdapterError, GGUFError, ModelNotFoundError
        If one cannot be used.
    BadParameter
        If a scale is not a number, a path is empty, or a path is given twice.
    """
    loras = _scales("--lora", lora or ())
    vectors = _scales("--control-vector", control or ())
    for path in loras:
        llm.add_lora(path, path)
    for path in vectors:
        llm.add_control_vector(path, path)
    return replace(params, lora=loras, control_vector=vectors)


def _scales(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Return path -> scale, each path once."""
    found: dict[str, float] = {}
    for text in texts:
        path, scale = _scaled(option, text)
        if not path:
            raise BadParameter(f"{option} {text!r}: must be PATH or PATH=SCALE, such as sql.gguf=0.5")
        if path in found:
            raise BadParameter(f"{option} {text!r}: {path} is given twice; give it once, with the scale to use")
        found[path] = scale
    return found


def _scaled(option: str, text: str) -> tuple[str, float]:
    """Return the path and the scale of PATH=SCALE; names of files may contain =."""
    path, mark, scale = text.rpartition("=")
    if not mark or Path(text).exists():
        return text, 1.0
    try:
        return path, float(scale)
    except ValueError:
        raise BadParameter(f"{option} {text!r}: must be PATH or PATH=SCALE, such as sql.gguf=0.5") from None
