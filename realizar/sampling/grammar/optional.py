"""OptionalPreamble: a constraint before which free text may come, if the model opens it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from realizar._kernels import token_filters
from realizar._kernels.sampling import Candidates
from realizar.sampling.grammar.compiled import Mask
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.sampler import History


class OptionalPreamble:
    """A stateful sampler that follows two constraints until the text shows which one holds.

    One grammar with both as alternatives would not do: its lexer could read the opening marker as described text.

    Parameters
    ----------
    plain : Constraint
        Describes texts without the preamble.
    preceded : Constraint
        Describes texts that begin with it.
    opening : str
        The marker that opens the preamble.
    token_bytes : callable
        Returns the bytes of a token.
    """

    def __init__(
        self, plain: Constraint, preceded: Constraint, opening: str, token_bytes: Callable[[int], bytes]
    ) -> None:
        self._plain = plain
        self._live: tuple[Constraint, ...] = (plain, preceded)
        self._opening = opening.encode()
        self._token_bytes = token_bytes
        self._text = b""

    def __repr__(self) -> str:
        return repr(self._plain)

    def reset_copy(self) -> OptionalPreamble:
        """Return a constraint for the same grammars, at their start; only of one that was not used."""
        return self._with(tuple(constraint.reset_copy() for constraint in self._live))

    def fork(self) -> OptionalPreamble:
        """Return a copy in the same state; see `Constraint.fork`."""
        return self._with(tuple(constraint.fork() for constraint in self._live))

    def _with(self, live: tuple[Constraint, ...]) -> OptionalPreamble:
        other = copy(self)
        other._plain, other._live = live[0], live
        return other

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the tokens that neither constraint allows; raises as `Constraint.mask`."""
        first, *others = (constraint.mask() for constraint in self._live)
        token_filters.keep_bits(candidates, first | others[0] if others else first)

    def accept(self, candidates: Candidates, token_id: int) -> None:
        """Advance by a token, and drop the constraint that does not allow it; raises as `Constraint.advance`."""
        if len(self._live) > 1:
            self._text += self._token_bytes(token_id)
            is_opened = self._text.lstrip().startswith(self._opening)
            allowed = [c for c in self._live if _allows(c.mask(), token_id) and not (is_opened and c is self._plain)]
            self._live = tuple(allowed) or self._live[:1]
        for constraint in self._live:
            constraint.advance(token_id)

    @property
    def is_over(self) -> bool:
        """Whether the text is complete and nothing can follow it; raises as `Constraint.is_over`."""
        return all(constraint.is_over for constraint in self._live)


def _allows(mask: Mask, token_id: int) -> bool:
    return token_id // 32 < len(mask) and bool(mask[token_id // 32] >> (token_id % 32) & 1)
