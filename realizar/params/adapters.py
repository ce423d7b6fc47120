"""The adapters of a request: names and scales of LoRA adapters, and of control vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realizar.params.checks import check, check_number, is_int

Lora = str | Mapping[str, float] | None
"""The name of a LoRA adapter, or names with scales; None: no adapter."""
Control = str | Mapping[str, "float | tuple[float, int, int]"] | None
"""The name of a control vector, or names with a scale, or with a scale and the first and the last layer."""

MAX_SCALE = 1e6
LORA_WANT = "the name of an adapter, or names with scales from -1e6 to 1e6, such as {'sql': 0.5}"
CONTROL_WANT = (
    "the name of a control vector, or names with a scale, or a scale, the first and the last layer, such as "
    "{'happy': (0.8, 10, 20)}"
)


def checked_lora(value: Any) -> tuple[tuple[str, float], ...]:
    """Return names with scales, in their order, as a tuple; () for None.

    Raises
    ------
    ParameterError
        If it is something else, or a scale is not a finite number.
    """
    pairs = _pairs("lora", value, LORA_WANT)
    for _, scale in pairs:
        check_number("lora", scale, -MAX_SCALE, MAX_SCALE, LORA_WANT)
    return tuple((name, float(scale)) for name, scale in pairs)


def checked_control(value: Any) -> tuple[tuple[str, float, tuple[int, int] | None], ...]:
    """Return names with scales and layers, None for all, as a tuple; () for None.

    Raises
    ------
    ParameterError
        If it is something else, a scale is not a finite number, or layers are not two numbers in order.
    """
    out = []
    for name, given in _pairs("control_vector", value, CONTROL_WANT):
        many = isinstance(given, (tuple, list))
        check(not many or len(given) == 3, "control_vector", given, CONTROL_WANT)
        scale, *layers = given if many else (given,)
        check_number("control_vector", scale, -MAX_SCALE, MAX_SCALE, CONTROL_WANT)
        fits = not layers or (all(map(is_int, layers)) and 0 <= layers[0] <= layers[1])
        check(fits, "control_vector", given, CONTROL_WANT)
        out.append((name, float(scale), (int(layers[0]), int(layers[1])) if layers else None))
    return tuple(out)


def _pairs(parameter: str, value: Any, want: str) -> list[tuple[str, Any]]:
    """Return what is given for each name; what was checked before is accepted again."""
    if value is None:
        return []
    if isinstance(value, str):
        value = {value: 1.0}
    if isinstance(value, tuple) and all(isinstance(row, tuple) and len(row) in (2, 3) for row in value):
        check(all(isinstance(layers, tuple) for row in value for layers in row[2:] if layers is not None),
              parameter, value, want)  # fmt: skip
        value = {row[0]: row[1] if len(row) == 2 or row[2] is None else (row[1], *row[2]) for row in value}
    check(isinstance(value, Mapping) and all(isinstance(name, str) for name in value), parameter, value, want)
    return list(value.items())
