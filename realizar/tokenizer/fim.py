"""Fill in the middle: the prompt that asks a model for what belongs between two texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from realizar.errors import ParameterError, shown

Order = Literal["psm", "spm"]
"""Prefix, suffix, middle; or suffix, prefix, middle."""


class Fim(NamedTuple):
    """The tokens with which a model marks the parts; Mistral's have none for the middle.

    Bavarian et al., "Efficient training of language models to fill in the middle" (2022), section 3.
    """

    prefix: int
    suffix: int
    middle: int | None

    @classmethod
    def of(cls, slots: Mapping[str, int]) -> Fim | None:
        """Return the FIM tokens among a vocabulary's slots; None if it has no prefix or no suffix token."""
        if "fim_pre" not in slots or "fim_suf" not in slots:
            return None
        return cls(slots["fim_pre"], slots["fim_suf"], slots.get("fim_mid"))

    @property
    def order(self) -> Order:
        """The order that the model was trained with, as far as its file tells.

        Files name the tokens and not their order. Those without a middle are Codestral and its kin, which read
        ``[SUFFIX]suffix[PREFIX]prefix`` and go on; all others know PSM, some of them (Code Llama, StarCoder) SPM, too.
        """
        return "psm" if self.middle is not None else "spm"

    def prompt(self, prefix: list[int], suffix: list[int], order: Order | None) -> list[int]:
        """Return the parts in order, each behind its token, so that the middle is what comes next.

        Raises
        ------
        ParameterError
            If there is no such order, or the model has no token for it.
        """
        order = self.order if order is None else order
        if not isinstance(order, str) or order not in get_args(Order):
            raise ParameterError(f"order={shown(order)}: must be 'psm', 'spm' or None (as the model's file tells)")
        if self.middle is None and order == "psm":
            raise ParameterError(
                "order='psm': this model has no token for the middle; it reads the suffix first: 'spm'"
            )
        parts = [[self.prefix, *prefix], [self.suffix, *suffix]]
        middle = [] if self.middle is None else [self.middle]
        first, second = parts if order == "psm" else reversed(parts)
        return [*first, *second, *middle]
