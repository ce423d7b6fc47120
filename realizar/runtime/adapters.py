"""Adapters of sequences: low-rank factors and control vectors, and the sets of them that requests use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from realizar.errors import AdapterError
from realizar.forks import Lock
from realizar.graph import Graph
from realizar.runtime.draft_files import input_of_layer
from realizar.runtime.side_ops import SideOps

RANK_STEP = 8
"""`SideOps.max_rank` is a multiple of this, so that a new adapter seldom needs new programs."""
MAX_KEPT = 1024
"""Sets of adapters whose numbers are kept for the prefix cache; clients can ask for ever new scales."""
_ids = count()


def place_of(layer: int) -> str:
    """Return the name of the place where control vectors are added to the hidden state after a layer."""
    return f"direction.{layer}"


def control_places(graph: Graph, n_layer: int, n_embd: int) -> dict[str, str]:
    """Return place -> name of the hidden state after a layer of a decoder.

    Layers after which the architecture passes on more than one vector of n_embd numbers are missing.
    """
    if "logits" not in graph.outputs:
        return {}
    states = {layer: input_of_layer(graph, layer + 1, n_layer, n_embd) for layer in range(n_layer)}
    return {place_of(layer): state for layer, state in states.items() if state is not None}


class Factors(NamedTuple):
    """The factors of an adapter for one weight: y += B (scale * A x); of a control vector B alone, y += B.

    Attributes
    ----------
    a : float32 or float16 [rank, n_in], of experts [n_expert, rank, n_in] | None
    b : float32 or float16 [n_out, rank], of experts [n_expert, n_out, rank]
        Of the same type. Those of the table of embeddings are [n_vocab, rank], and a is [rank, n_embd].
    scale : float
    """

    a: npt.NDArray[Any] | None
    b: npt.NDArray[Any]
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Adapter:
    """A low-rank adapter, or a control vector.

    Attributes
    ----------
    kind : {"lora", "control vector"}
    factors : dict
        Name of a weight, or of a place for control vectors -> factors.
    path : str
    invocation : tuple of int
        The tokens from which on it is applied (aLoRA, https://arxiv.org/abs/2504.12397); empty: from the first on.
    id : int
        Of this object alone.
    """

    kind: str
    factors: Mapping[str, Factors]
    path: str
    invocation: tuple[int, ...] = ()
    id: int = field(default_factory=lambda: next(_ids), init=False)

    @property
    def n_bytes(self) -> int:
        """Bytes of all factors."""
        return sum(x.nbytes for f in self.factors.values() for x in (f.a, f.b) if x is not None)

    @property
    def rank(self) -> int:
        """The greatest rank of its factors."""
        return max((f.b.shape[-1] for f in self.factors.values()), default=0)


@dataclass(frozen=True)
class AdapterUse:
    """An adapter as a request uses it.

    Attributes
    ----------
    adapter : Adapter
    scale : float
    layers : (int, int) | None
        Of a control vector, the first and the last layer whose hidden state it changes; None: all that it has.
    """

    adapter: Adapter
    scale: float
    layers: tuple[int, int] | None = None

    def of(self, name: str) -> Factors | None:
        """Return the factors for a weight or a place; None if it has none, or is not used there."""
        found = self.adapter.factors.get(name)
        if found is None or self.layers is None:
            return found
        first, last = self.layers
        return found if first <= int(name.rpartition(".")[2]) <= last else None


@dataclass(frozen=True, eq=False)
class AdapterSet:
    """The adapters of a sequence, in the order in which they are applied.

    Attributes
    ----------
    number : int
        At least 1; the prefix cache keeps sequences with different numbers apart.
    uses : tuple of AdapterUse
    """

    number: int
    uses: tuple[AdapterUse, ...]

    def factors(self, name: str) -> Iterator[tuple[Any, npt.NDArray[Any], float]]:
        """Yield A, B and the scale of each adapter with factors for a weight, or those of a place."""
        for use in self.uses:
            found = use.of(name)
            if found is not None:
                yield found.a, found.b, use.scale * found.scale

    @property
    def invocation(self) -> tuple[int, ...]:
        """The tokens from which on they are applied; empty: from the first on."""
        return next((use.adapter.invocation for use in self.uses if use.adapter.invocation), ())

    def first_row(self, tokens: Sequence[int]) -> int | None:
        """Return the row of the last invocation in a prompt, 0 if none is needed; None if there is none."""
        wanted = list(self.invocation)
        starts = range(len(tokens) - len(wanted), -1, -1)
        return 0 if not wanted else next((i for i in starts if list(tokens[i : i + len(wanted)]) == wanted), None)

    @property
    def rank(self) -> int:
        """Sum of the ranks of its adapters."""
        return sum(use.adapter.rank for use in self.uses)


def checked(adapter: Adapter) -> Adapter:
    """Return an adapter as it was read from a file.

    Raises
    ------
    AdapterError
        If a factor has infinities or NaN: the results of every request that uses it would be NaN.
    """
    for name, factors in adapter.factors.items():
        for which, array in (("A", factors.a), ("B", factors.b)):
            if array is not None and not _is_finite(array):
                raise AdapterError(
                    f"{adapter.path}: {name}: factor {which} has infinities or NaN; the file is damaged, or training "
                    "diverged"
                )
    return adapter


def _is_finite(x: npt.NDArray[Any]) -> bool:
    """Whether float32 or float16 values are finite, by their exponents: numpy converts float16 for isfinite."""
    bits: npt.NDArray[Any] = np.ascontiguousarray(x).view(np.uint32 if x.dtype == np.float32 else np.uint16)
    exponent = 0x7F800000 if x.dtype == np.float32 else 0x7C00
    return not x.size or int(np.bitwise_and(bits, exponent).max()) < exponent


class AdapterTable:
    """The sets of adapters that requests of one model use.

    A set is found by its number as long as a request holds it. The same adapters with the same scales keep their
    number when no request holds it: their prefixes stay in the cache. An adapter that is loaded again is another one.
    The numbers of the last MAX_KEPT sets are known; older ones get new numbers.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = count(1)
        self._number_of: dict[tuple[tuple[int, float, Any], ...], int] = {}
        self._sets: WeakValueDictionary[int, AdapterSet] = WeakValueDictionary()

    def set_of(self, uses: tuple[AdapterUse, ...]) -> AdapterSet:
        """Return the set of these adapters, to be held for as long as a sequence has its number."""
        key = tuple((use.adapter.id, use.scale, use.layers) for use in uses)
        with self._lock:
            number = self._number_of.pop(key, None) or next(self._numbers)
            self._number_of[key] = number  # the newest is last
            if len(self._number_of) > MAX_KEPT:
                del self._number_of[next(iter(self._number_of))]
        return self._sets.setdefault(number, AdapterSet(number, uses))

    def get(self, number: int) -> AdapterSet | None:
        """Return the set with a number; None if no request holds it."""
        return self._sets.get(number)


def side_ops_for(sets: Iterable[AdapterSet], places: Mapping[str, str], before: SideOps | None = None) -> SideOps:
    """Return the side ops that programs need for these sets, and for all that `before` was made for.

    `places` has the name of the value to which the control vectors of a place are added.
    """
    had = SideOps(frozenset(), 0) if before is None else before
    targets, values, rank = set(had.targets), set(had.places), had.max_rank
    for each in sets:
        names = {name for use in each.uses for name in use.adapter.factors}
        values.update((places[name], name) for name in names if name in places)
        targets.update(name for name in names if name not in places)
        rank = max(rank, -(-each.rank // RANK_STEP) * RANK_STEP)
    return SideOps(frozenset(targets), rank, frozenset(values))
