"""Parts of a prompt: token ids, and embeddings in place of tokens.

numpy is imported by the functions that need it: a command that only checks its parameters starts faster without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, Literal, get_args

from realizar.errors import ParameterError, short_repr

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Mask = Literal["causal", "bidirectional"]
"""Which rows the rows of a part attend to: the earlier ones and themselves, or also all rows of the part."""

MAX_POSITION = 2**31 - 1
NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, Set)
"""Iterables that are not lists of prompts or ids: bytes would pass as ids, mappings and sets have no order."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of a prompt.

    Parameters
    ----------
    ids : iterable of int
        At least one.
    mask : {"causal", "bidirectional"}
        With "bidirectional" the tokens of the part see each other in both directions; they are computed in one step.

    Raises
    ------
    ParameterError
        If there are no ids, an id is not an integer, or the mask is unknown.
    """

    ids: Iterable[int]
    mask: Mask = "causal"

    def __post_init__(self) -> None:
        _check_mask(self.mask)
        ids = as_ids(self.ids, "ids of Tokens must be a list of token ids")
        if not ids:
            raise ParameterError("Tokens: there are no ids; omit the part")
        object.__setattr__(self, "ids", tuple(ids))


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Rows that replace token embeddings, for example those of a picture or of a soft prompt.

    The rows are copied: modifying the array afterwards does not change the part.

    Parameters
    ----------
    rows : float32 [n, n_embd]
        Finite numbers in the range of float32. A model that scales token embeddings does not scale these rows.
    positions : int32 [k, n], optional
        Position of each row on each of the k axes of the model's rotary embeddings (1 for most models), relative to the
        position of the part. The next part continues after the greatest of them. By default 0 to n - 1.
    mask : {"causal", "bidirectional"}
        With "bidirectional" the rows see each other in both directions; they are computed in one step.
    key : bytes, optional
        Identifies the rows in the prefix cache, instead of a hash of them. Parts with the same key must have the same
        rows.

    Raises
    ------
    ParameterError
        If an argument has a wrong shape or type, a number is not finite, or there are no rows.
    """

    rows: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32] | None = None
    mask: Mask = "causal"
    key: bytes | None = None

    def __post_init__(self) -> None:
        _check_mask(self.mask)
        if self.key is not None and not isinstance(self.key, bytes):
            raise ParameterError(f"Embeddings: key must be bytes, found {short_repr(self.key)}")
        rows = _float_rows(self.rows)
        object.__setattr__(self, "rows", rows)
        if self.positions is not None:
            object.__setattr__(self, "positions", _positions(self.positions, len(rows)))


Part = str | Tokens | Embeddings
"""Text, which is tokenized at its place, or one of the classes."""


TokenPrompt = Iterable[int] | Sequence[Tokens | Embeddings]
"""A prompt whose text is tokenized: token ids, or parts."""


def as_ids(given: Any, what: str) -> list[int]:
    """Return token ids as integers; ParameterError, with `what`, if this is not a list of integers."""
    try:
        if isinstance(given, NO_LISTS):
            raise TypeError
        return [index(token) for token in given]
    except TypeError:
        raise ParameterError(f"{what}, not {short_repr(given)}") from None


def is_part(item: Any) -> bool:
    """Whether this is a part that cannot be a prompt itself."""
    return isinstance(item, (Tokens, Embeddings))


def n_rows(part: Tokens | Embeddings) -> int:
    """Number of rows of a part."""
    return len(part.rows) if isinstance(part, Embeddings) else len(tuple(part.ids))


def _check_mask(mask: Any) -> None:
    if not isinstance(mask, str) or mask not in get_args(Mask):
        raise ParameterError(f"mask={short_repr(mask)}: must be 'causal' or 'bidirectional'")


def _array(given: Any, must: str) -> npt.NDArray[Any]:
    import numpy as np

    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # raised by PyTorch for tensors on a GPU or with gradients
        raise ParameterError(f"Embeddings: {must}; {error}") from None


def _float_rows(given: Any) -> npt.NDArray[np.float32]:
    """Return a read-only copy of an array."""
    import numpy as np

    rows = _array(given, "rows must be an array [n, n_embd]")
    if rows.dtype.kind not in "fiu":
        raise ParameterError(f"Embeddings: rows must be float32 [n, n_embd], found {rows.dtype} {list(rows.shape)}")
    if rows.ndim != 2 or 0 in rows.shape:
        raise ParameterError(
            f"Embeddings: rows must have shape [n, n_embd], neither of them 0; found {list(rows.shape)}"
        )
    with np.errstate(over="ignore"):
        rows = np.array(rows, np.float32, order="C")
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise ParameterError(f"Embeddings: rows[{row}, {column}] is {rows[row, column]} in float32; it must be finite")
    rows.flags.writeable = False
    return rows


def _positions(given: Any, n: int) -> npt.NDArray[np.int32]:
    """Return a copy of positions that nobody can change."""
    import numpy as np

    positions = _array(given, f"positions must be an array [k, {n}]")
    if positions.dtype.kind not in "iu" or positions.ndim != 2 or not len(positions) or positions.shape[1] != n:
        raise ParameterError(
            f"Embeddings: positions must be integers of shape [k, {n}], a column for each row; "
            f"found {positions.dtype} {list(positions.shape)}"
        )
    if positions.min() < 0 or positions.max() > MAX_POSITION:
        raise ParameterError(
            f"Embeddings: positions must be in [0, {MAX_POSITION}], found {positions.min()} to {positions.max()}"
        )
    positions = np.array(positions, np.int32, order="C")
    positions.flags.writeable = False
    return positions
