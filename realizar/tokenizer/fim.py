"""Fill-in-the-middle (FIM) prompts: generate the text between a prefix and a suffix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from realizar.errors import ParameterError, short_repr

Order = Literal["psm", "spm"]
"""Prefix, suffix, middle; or suffix, prefix, middle."""


class Fim(NamedTuple):
    """The FIM tokens of a model; Mistral's models have no middle token, few have those of repositories and files.

    Bavarian et al., "Efficient training of language models to fill in the middle" (2022), section 3.
    """

    prefix: int
    suffix: int
    middle: int | None
    repo: int | None = None
    separator: int | None = None

    @classmethod
    def of(cls, roles: Mapping[str, int]) -> Fim | None:
        """Return the FIM tokens among a vocabulary's roles; None if it has no prefix or no suffix token."""
        if "fim_pre" not in roles or "fim_suf" not in roles:
            return None
        others = (roles.get(name) for name in ("fim_mid", "fim_rep", "fim_sep"))
        return cls(roles["fim_pre"], roles["fim_suf"], *others)

    @property
    def order(self) -> Order:
        """The order that the model was trained with, inferred from its tokens.

        Files do not contain the order. Models without a middle token are Codestral and its variants, whose prompt is
        ``[SUFFIX]suffix[PREFIX]prefix``. All others support PSM; some (Code Llama, StarCoder) also support SPM.
        """
        return "psm" if self.middle is not None else "spm"

    def prompt(self, prefix: list[int], suffix: list[int], order: Order | None) -> list[int]:
        """Return the prompt: prefix and suffix in this order, each after its token, then the middle token.

        Raises
        ------
        ParameterError
            If the order is invalid, or the model lacks a token for it.
        """
        order = self.order if order is None else order
        if not isinstance(order, str) or order not in get_args(Order):
            raise ParameterError(
                f"order={short_repr(order)}: must be 'psm', 'spm' or None (inferred from the model file)"
            )
        if self.middle is None and order == "psm":
            raise ParameterError(
                "order='psm': this model has no middle token and was trained with the suffix first; use 'spm'"
            )
        parts = [[self.prefix, *prefix], [self.suffix, *suffix]]
        middle = [] if self.middle is None else [self.middle]
        first, second = parts if order == "psm" else reversed(parts)
        return [*first, *second, *middle]
