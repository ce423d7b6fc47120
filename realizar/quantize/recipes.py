"""The named recipes: which type each kind of weight gets. The names and the choices are llama.cpp's.

Source: src/llama-quant.cpp of llama.cpp (llama_tensor_get_type_impl), where they were tuned on perplexity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from realizar.errors import ParameterError, did_you_mean, short_repr

Kind = Literal["embedding", "output", "attn_v", "attn_k", "attn_q", "attn_output", "ffn_down", "ffn_gate", "ffn_up"]
"""Kinds of weights that recipes distinguish; attn_v stands for every matrix that has V: attn_qkv and attn_kv_b, too."""


@dataclass(frozen=True)
class Facts:
    """What a rule may ask.

    Attributes
    ----------
    i, n : int
        Index of the weight among those of its kind, and how many there are (layers).
    n_gqa : int
        Query heads for each KV head.
    n_expert : int
    has_imatrix : bool
    is_falcon : bool
    is_70b : bool
        Whether the model has the sizes of Llama 2 70B, whose V is small.
    """

    i: int = 0
    n: int = 1
    n_gqa: int = 1
    n_expert: int = 0
    has_imatrix: bool = False
    is_falcon: bool = False
    is_70b: bool = False

    @property
    def needs_more_bits(self) -> bool:
        """Whether the layer is in the first or last eighth, or every third between."""
        return self.i < self.n // 8 or self.i >= 7 * self.n // 8 or (self.i - self.n // 8) % 3 == 2


Rule = Callable[[Facts], str | None]
"""The type of a weight; None is the recipe's base type."""


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes
    ----------
    name : str
    file_type : int | None
        `general.file_type` (llama.h, enum llama_ftype); None for types that no recipe has.
    base : str
        The type of most matrices.
    rules : mapping
        Of the kinds that differ.
    """

    name: str
    file_type: int | None
    base: str
    rules: Mapping[Kind, Rule] = field(default_factory=dict)


def _always(name: str) -> Rule:
    return lambda facts: name


def _if_grouped(name: str, other: str | None = None) -> Rule:
    """Another type where at least four query heads share a KV head, for then V is small."""
    return lambda facts: name if facts.n_gqa >= 4 else other


def _first_eighth(name: str, other: str | None = None) -> Rule:
    return lambda facts: name if facts.i < facts.n // 8 else other


def _more_bits(name: str) -> Rule:
    return lambda facts: name if facts.needs_more_bits else None


def _unless_8_experts(rule: Rule) -> Rule:
    """With eight experts (Mixtral), attention is a small part of the file."""
    return lambda facts: "Q5_K" if facts.n_expert == 8 else None if facts.is_falcon else rule(facts)


def _q3_k_m_down(facts: Facts) -> str | None:
    if facts.i < facts.n // 16:
        return "Q5_K"
    return "Q4_K" if not facts.is_falcon or facts.needs_more_bits else None


def _q4_k_m_down(facts: Facts) -> str | None:
    if not facts.is_falcon:
        return "Q6_K" if facts.needs_more_bits else None
    return "Q6_K" if facts.i < facts.n // 16 else "Q5_K" if facts.needs_more_bits else None


def _with_imatrix(name: str) -> Rule:
    """With importances, the first layers of the legacy formats err most."""
    return lambda facts: name if facts.has_imatrix and facts.i < facts.n // 8 else None


def _without_imatrix(rule: Rule) -> Rule:
    return lambda facts: None if facts.has_imatrix else rule(facts)


_BASE: Rule = lambda facts: None  # noqa: E731  (a value of the tables below)

_IQ4: Mapping[Kind, Rule] = {
    "attn_v": _if_grouped("Q5_K"),
    "ffn_down": _without_imatrix(_first_eighth("Q5_K")),
    "attn_output": _unless_8_experts(_BASE),
}


def _iq3_xxs_v(facts: Facts) -> str | None:
    return "Q4_K" if facts.n_gqa >= 4 else None if facts.has_imatrix else "IQ3_S"


def _middle_layers(name: str) -> Rule:
    return lambda facts: name if facts.n // 8 <= facts.i < 7 * facts.n // 8 else None


def _iq3_m_down(facts: Facts) -> str | None:
    return "Q4_K" if facts.i < facts.n // 8 or (facts.n_expert == 8 and facts.needs_more_bits) else None


def _iq2(larger: str, output: str | None) -> Mapping[Kind, Rule]:
    """The rules of the IQ1 and IQ2 recipes: what is larger than the base, and attn_output."""
    return {
        "attn_v": lambda facts: "Q4_K" if facts.n_gqa >= 4 or facts.n_expert >= 4 else larger,
        "attn_k": lambda facts: "Q4_K" if facts.n_expert == 8 else None,
        "attn_output": lambda facts: "Q5_K" if facts.n_expert == 8 else output,
        "ffn_down": _first_eighth(larger),
        "embedding": _always(larger),
        "output": _always("Q5_K"),
    }


_ROWS = (
    Recipe("IQ1_S", 24, "IQ1_S", _iq2("Q2_K", "IQ2_XXS")),
    Recipe("IQ1_M", 31, "IQ1_M", _iq2("Q2_K", "IQ2_XXS")),
    Recipe("IQ2_XXS", 19, "IQ2_XXS", _iq2("Q2_K", None)),
    Recipe("IQ2_XS", 20, "IQ2_XS", _iq2("Q2_K", None)),
    Recipe("IQ2_S", 28, "IQ2_XS", _iq2("IQ3_S", "IQ3_S")),
    Recipe("IQ2_M", 29, "IQ2_S", _iq2("IQ3_S", "IQ3_S")),
    Recipe("IQ3_XXS", 23, "IQ3_XXS", {
        "attn_v": _iq3_xxs_v,
        "attn_k": _always("IQ2_S"),
        "attn_q": _always("IQ2_S"),
        "attn_output": _unless_8_experts(_always("IQ3_S")),
        "ffn_down": _without_imatrix(_first_eighth("Q4_K", "Q3_K")),
        "embedding": _always("IQ3_S"),
        "output": _always("Q5_K"),
    }),
    Recipe("IQ3_XS", 22, "IQ3_S", {
        "attn_v": _if_grouped("Q4_K"),
        "attn_k": _always("IQ3_XXS"),
        "attn_q": _always("IQ3_XXS"),
        "attn_output": _unless_8_experts(_BASE),
        "ffn_gate": _middle_layers("IQ3_XXS"),
        "ffn_up": _middle_layers("IQ3_XXS"),
    }),
    Recipe("IQ3_S", 26, "IQ3_S", {
        "attn_v": _if_grouped("Q4_K"),
        "attn_output": _unless_8_experts(_BASE),
    }),
    Recipe("IQ3_M", 27, "IQ3_S", {
        "attn_v": _always("Q4_K"),
        "ffn_down": _iq3_m_down,
        "attn_output": _unless_8_experts(_always("Q4_K")),
    }),
    Recipe("Q2_K", 10, "Q2_K", {
        "attn_v": _if_grouped("Q4_K", "Q3_K"),
        "ffn_down": _always("Q3_K"),
        "attn_output": _unless_8_experts(_always("Q3_K")),
    }),
    Recipe("Q2_K_S", 21, "Q2_K", {
        "attn_v": _if_grouped("Q4_K"),
        "ffn_down": _first_eighth("Q4_K"),
    }),
    Recipe("Q3_K_S", 11, "Q3_K", {"attn_output": _unless_8_experts(_BASE)}),
    Recipe("Q3_K_M", 12, "Q3_K", {
        "attn_v": lambda facts: "Q5_K" if facts.i < 2 else "Q4_K",
        "ffn_down": _q3_k_m_down,
        "attn_output": _unless_8_experts(_always("Q4_K")),
    }),
    Recipe("Q3_K_L", 13, "Q3_K", {
        "attn_v": _always("Q5_K"),
        "ffn_down": lambda facts: "Q4_K" if facts.is_falcon else "Q5_K",
        "attn_output": lambda facts: None if facts.n_expert == 8 else "Q4_K" if facts.is_falcon else "Q5_K",
    }),
    Recipe("IQ4_XS", 30, "IQ4_XS", _IQ4),
    Recipe("IQ4_NL", 25, "IQ4_NL", _IQ4),
    Recipe("Q4_0", 2, "Q4_0", {"ffn_down": _with_imatrix("Q4_1")}),
    Recipe("Q4_1", 3, "Q4_1"),
    Recipe("Q4_K_S", 14, "Q4_K", {
        "attn_v": lambda facts: "Q5_K" if facts.i < 4 else None,
        "ffn_down": lambda facts: None if facts.is_falcon else _first_eighth("Q5_K")(facts),
        "attn_output": _unless_8_experts(_BASE),
    }),
    Recipe("Q4_K_M", 15, "Q4_K", {
        "attn_v": _more_bits("Q6_K"),
        "ffn_down": _q4_k_m_down,
        "attn_output": _unless_8_experts(_BASE),
    }),
    Recipe("Q5_0", 8, "Q5_0", {"ffn_down": _with_imatrix("Q5_1")}),
    Recipe("Q5_1", 9, "Q5_1"),
    Recipe("Q5_K_S", 16, "Q5_K"),
    Recipe("Q5_K_M", 17, "Q5_K", {
        "attn_v": _more_bits("Q6_K"),
        "ffn_down": _more_bits("Q6_K"),
    }),
    Recipe("Q6_K", 18, "Q6_K"),
    Recipe("Q8_0", 7, "Q8_0"),
    Recipe("MXFP4_MOE", 38, "MXFP4"),
    Recipe("Q1_0", 40, "Q1_0"),
    Recipe("Q2_0", 41, "Q2_0", {"embedding": _always("Q4_K")}),
    Recipe("TQ1_0", 36, "TQ1_0", {"embedding": _always("Q4_K")}),
    Recipe("TQ2_0", 37, "TQ2_0", {"embedding": _always("Q4_K")}),
    Recipe("F16", 1, "F16"),
    Recipe("BF16", 32, "BF16"),
    Recipe("F32", 0, "F32"),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ROWS}

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name or alias, in upper or lower case; raises ParameterError for another name."""
    upper = name.upper()
    recipe = RECIPES.get(ALIASES.get(upper, upper))
    if recipe is None:
        raise ParameterError(
            f"type {short_repr(name)}: no recipe has this name{did_you_mean(name, [*RECIPES, *ALIASES])}; "
            f"there are {', '.join(RECIPES)}"
        )
    return recipe
