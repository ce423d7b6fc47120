"""Numbers of a JSON schema that llguidance would take for others: bounds are moved inwards to one that it keeps.

llguidance holds a number as a double and writes bounds by 64-bit integers. Beyond 2^53 a double is not every integer;
for numbers that need not be integers it writes the shortest decimal that rounds to the double, which may lie beyond it.
A bound moved inwards lets no text pass that the schema forbids. What is lost: of int64 the 1024 least numbers, of
uint64 those above int64, of a double's range the numbers beyond 9.2e18 (bounded numbers are written without exponent).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from realizar.errors import short_repr

EXACT = 2**53
"""Up to here every integer is a double."""
MOST_INTEGER = 2**63 - 1
"""The greatest upper bound of integers: as a double it is 2^63, which llguidance's conversion makes this again."""
MOST_DOUBLE = 2**63 - 1024
"""The greatest double that is a 64-bit integer; its negative is the least lower bound of integers."""
MOST_NUMBER = 9_223_372_036_854_770_000
"""The same in 15 digits, which is how many decimal digits any double keeps."""
LEAST_NUMBER = Decimal("1e-60")
"""A bound nearer to 0 is written with so many zeros that its regular expression is nested too deeply."""
MOST_ALONE = 10**18
"""A lower bound from here on needs an upper one, too, and the other way round."""

_DIGITS = Context(prec=15, rounding=ROUND_CEILING)


def fit_bounds(schema: dict[str, Any], refuse: Callable[[str, str], None]) -> None:
    """Move the bounds of one schema inwards where llguidance would not keep to them.

    Parameters
    ----------
    schema : dict
        Changed in place.
    refuse : callable
        Called with the keyword of a bound beyond which, or up to the other bound, no number can be written, and with
        what is to be said of it.
    """
    types = schema.get("type")
    is_integer = types == "integer" or (isinstance(types, list) and "integer" in types and "number" not in types)
    low, high = _bound(schema, "minimum", "exclusiveMinimum", 1), _bound(schema, "maximum", "exclusiveMaximum", -1)
    if low and high and _is_lost(low, high, is_integer):
        lower, upper = _keyword(schema, low, "minimum"), _keyword(schema, high, "maximum")
        refuse(
            lower,
            f" of {short_repr(schema[lower])} with {short_repr(upper)} of {short_repr(schema[upper])}, between which "
            "no number can be written exactly,",
        )
        for keyword in ("minimum", "exclusiveMinimum"):
            schema.pop(keyword, None)
        low = None
    for bound, keyword, exclusive, sign in (
        (low, "minimum", "exclusiveMinimum", 1),
        (high, "maximum", "exclusiveMaximum", -1),
    ):
        if bound is None or not _is_odd(*bound):
            continue
        found = _inward(*bound, sign, is_integer)
        if found is None:
            refuse(keyword if keyword in schema else exclusive, "")
            continue
        schema.pop(exclusive, None)
        schema[keyword] = found
        other = "maximum" if sign > 0 else "minimum"
        if sign * found >= MOST_ALONE and (high if sign > 0 else low) is None:
            schema[other] = _inward(sign * Decimal(2**70), False, -sign, is_integer)


def is_exact(value: int | float) -> bool:
    """Whether a number of ``const`` or ``enum`` is the one that llguidance writes."""
    if isinstance(value, float):
        return True
    return abs(value) <= EXACT or (abs(value) <= MOST_DOUBLE and int(float(value)) == value)


def lcm_overflows(values: list[int | float]) -> bool:
    """Whether the least common multiple of two ``multipleOf``, which is what both ask for, overflows in llguidance.

    It multiplies 32-bit integers without looking.
    """
    pairs = [_decimal(value) for value in values]
    most = max((exp for _, exp in pairs), default=0)
    scaled: list[int] = sorted({coef * 10 ** (most - exp) for coef, exp in pairs if coef})
    if len(scaled) < 2:
        return False
    product: int = (scaled[0] if len(scaled) == 2 else math.lcm(*scaled)) * scaled[-1]
    return product >= 2**32


def coefficient(value: int | float) -> int:
    """Return the digits of a number without its decimal point, as llguidance counts those of ``multipleOf``."""
    return _decimal(value)[0]


def _decimal(number: int | float) -> tuple[int, int]:
    """Return a number as coefficient and decimal places, computed from its double as llguidance does."""
    value, exp = abs(float(min(number, 1e300))), 0
    while not value.is_integer():
        value *= 10.0
        exp += 1
    coef = int(value)
    while exp and coef % 10 == 0:
        coef //= 10
        exp -= 1
    return coef, exp


def _is_odd(value: Decimal, is_exclusive: bool) -> bool:
    return abs(value) > EXACT - is_exclusive or 0 < abs(value) < LEAST_NUMBER


def _is_lost(low: tuple[Decimal, bool], high: tuple[Decimal, bool], is_integer: bool) -> bool:
    """Whether two bounds allow some numbers, but none of those that are left when the bounds have been moved."""
    least, most = (
        _inward(*bound, sign, is_integer) if _is_odd(*bound) else bound[0] for bound, sign in ((low, 1), (high, -1))
    )
    if least is None or most is None or least <= most:
        return False
    if not is_integer:
        return low[0] < high[0] or (low[0] == high[0] and not low[1] and not high[1])
    first = math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])
    last = math.ceil(high[0]) - 1 if high[1] else math.floor(high[0])
    return first <= last


def _keyword(schema: dict[str, Any], bound: tuple[Decimal, bool], keyword: str) -> str:
    """Return the keyword that a bound is from: `keyword` or the exclusive one."""
    exclusive = f"exclusive{keyword.capitalize()}"
    is_own = bound[1] and schema.get(exclusive) is not True
    return exclusive if is_own else keyword


def _bound(schema: dict[str, Any], keyword: str, exclusive: str, sign: int) -> tuple[Decimal, bool] | None:
    """Return the bound of two keywords that is the narrower one, and whether it is itself left out."""
    plain, strict = schema.get(keyword), schema.get(exclusive)
    found = []
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        found.append((Decimal(plain), strict is True))  # True: as draft 4 says it
    if isinstance(strict, (int, float)) and not isinstance(strict, bool):
        found.append((Decimal(strict), True))
    return max(found, key=lambda bound: (sign * bound[0], bound[1]), default=None)


def _inward(value: Decimal, is_exclusive: bool, sign: int, is_integer: bool) -> int | float | None:
    """Return the nearest bound inside that llguidance keeps to, or None; it is inclusive whatever the given one is.

    The sign is 1 for lower bounds and -1 for upper ones.
    """
    if is_integer and sign < 0 and value - is_exclusive >= MOST_INTEGER:
        return MOST_INTEGER
    found = (_integer_above if is_integer else _number_above)(sign * value, is_exclusive)
    return None if found is None else sign * found


def _integer_above(value: Decimal, is_exclusive: bool) -> int | None:
    least = max(math.floor(value) + 1 if is_exclusive else math.ceil(value), -MOST_DOUBLE)
    if least > MOST_DOUBLE:
        return None
    near = float(least)
    return int(near if near >= least else math.nextafter(near, math.inf))


def _number_above(value: Decimal, is_exclusive: bool) -> int | float | None:
    if abs(value) < LEAST_NUMBER:
        return float(LEAST_NUMBER) if value > 0 else 0
    if value > MOST_NUMBER or (is_exclusive and value == MOST_NUMBER):
        return None
    if value < -MOST_NUMBER:
        return -MOST_NUMBER
    rounded = _DIGITS.plus(value)
    return int(_DIGITS.next_plus(value) if is_exclusive and rounded == value else rounded)
