"""The type of each tensor of a model: the recipe's, the user's, or what its shape allows. As llama-quantize chooses."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realizar._kernels.quantize import TARGETS
from realizar.errors import GGUFError, ParameterError, did_you_mean, short_repr
from realizar.gguf import GGMLType
from realizar.quantize.recipes import Facts, Kind, Recipe

Shape = tuple[int, ...]

EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
OUTPUT = "output.weight"

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("attn_qkv.weight", "attn_v"),
    ("attn_kv_b.weight", "attn_v"),
    ("attn_v.weight", "attn_v"),
    ("attn_k.weight", "attn_k"),
    ("attn_q.weight", "attn_q"),
    ("attn_output.weight", "attn_output"),
    ("ffn_up", "ffn_up"),
    ("ffn_gate", "ffn_gate"),
    ("ffn_down", "ffn_down"),
)
"""A part of a tensor's name and its kind; the first that is found."""

# Small matrices, or ones that are not multiplied with rounded inputs (tensor_allows_quantization of llama-quant.cpp).
_KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj|ssm_conv1d|"
    r"shortconv\.conv\.weight|indexer\.[kq]_proj\.weight|time_mix_(first|[wvag][012]|decay_w[12]|lerp_fused)\.weight|"
    r"attn_rel_b\.weight|position_embd|^token_types\.weight|sam\.pos_embd|sam\.neck\.|sam\.net_|\.rel_pos|"
    r"\.patch_embd|\.patch_merger|a\.rvq\.codebook|mm\.a\.code_embd"
)

FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "Q2_0", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""The type of rows that are no multiple of the block, 256 or 64 elements."""

TRAINED = ("Q1_0", "Q2_0", "TQ1_0", "TQ2_0")
"""Types of two or three values, for models that were trained with them."""
COARSE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
"""Types that are of little use without an importance matrix."""


@dataclass(frozen=True)
class TensorPlan:
    """What becomes of a tensor.

    Attributes
    ----------
    name : str
    shape : tuple of int
        In numpy's order.
    source, target : GGMLType
        Equal for a tensor that is copied.
    refused : str | None
        The type that was wanted, if the rows are no multiple of its blocks.
    """

    name: str
    shape: Shape
    source: GGMLType
    target: GGMLType
    refused: str | None = None

    @property
    def n_bytes(self) -> int:
        """Size in the new file."""
        n_rows = 1
        for n in self.shape[:-1]:
            n_rows *= n
        return n_rows * self.target.row_bytes(self.shape[-1])


Overrides = Sequence[tuple[str, str]]
"""Pairs of a pattern of names (* and ? as in file names, or a part of the name) and a type; the first that fits."""


def plan_types(
    tensors: Iterable[tuple[str, Shape, GGMLType]],
    metadata: Mapping[str, Any],
    recipe: Recipe,
    overrides: Overrides = (),
    has_imatrix: bool = False,
) -> list[TensorPlan]:
    """Choose the type of each tensor.

    Parameters
    ----------
    tensors : iterable of (name, shape, type)
    metadata : mapping
        Of the model: the architecture, its heads, layers and experts.
    recipe : Recipe
    overrides : sequence of (pattern, type)
    has_imatrix : bool

    Returns
    -------
    list of TensorPlan
        In the order of the tensors.

    Raises
    ------
    ParameterError
        If an override's type cannot be written, or no tensor has a name that fits its pattern.
    """
    listed = list(tensors)
    patterns = _checked(listed, overrides)
    model = _ModelFacts(metadata, [name for name, *_ in listed], has_imatrix)
    plans: dict[str, TensorPlan] = {}
    for name, shape, source in sorted(listed, key=lambda tensor: _file_order(tensor[0])):
        plans[name] = TensorPlan(name, shape, source, source)
        if not may_quantize(name, shape, source):
            continue
        wanted = next((target for fits, target in patterns if fits(name)), None)
        wanted = wanted or model.wanted(name, shape, recipe)
        target = _fallback(wanted, shape[-1])
        plans[name] = replace(plans[name], target=GGMLType[target], refused=None if target == wanted else wanted)
    return [plans[name] for name, *_ in listed]


def needs_importances(name: str, target: str, recipe: Recipe) -> bool:
    """Whether a type is too coarse for a tensor without an importance matrix, as llama-quantize judges."""
    if name in EMBEDDINGS or name == OUTPUT:
        return False
    return target in COARSE or (target == "Q2_K" and recipe.name == "Q2_K_S")


class _ModelFacts:
    """What the rules ask about a model, and the counts of the kinds of weights so far."""

    def __init__(self, metadata: Mapping[str, Any], names: list[str], has_imatrix: bool) -> None:
        architecture = str(metadata.get("general.architecture", ""))

        def number(key: str) -> int:
            value = metadata.get(f"{architecture}.{key}", 0)
            first = next(iter(value), 0) if isinstance(value, (list, np.ndarray)) else value
            if isinstance(first, bool) or not isinstance(first, (int, np.integer)) or first < 0:
                raise GGUFError(
                    f"{architecture}.{key}: {short_repr(value)}; must be a number of at least 0, or several"
                )
            return int(first)

        heads, kv_heads = number("attention.head_count"), number("attention.head_count_kv")
        kv_heads = kv_heads if f"{architecture}.attention.head_count_kv" in metadata else heads
        self._n_layer = number("block_count")
        self._n_v = sum(_kind(name) == "attn_v" for name in names)
        self._is_tied = OUTPUT not in names
        self._seen = dict.fromkeys(("attn_v", "ffn_down", "ffn_gate", "ffn_up"), 0)
        self._facts = Facts(
            n_gqa=heads // kv_heads if kv_heads else 0,
            n_expert=number("expert_count"),
            has_imatrix=has_imatrix,
            is_falcon=architecture == "falcon",
            is_70b=_is_70b(architecture, self._n_layer, heads, kv_heads),
        )

    def wanted(self, name: str, shape: Shape, recipe: Recipe) -> str:
        """Return the type that the recipe has for a tensor, whatever its rows."""
        kind, experts = _kind(name), len(shape) > 2 and shape[0] > 1
        if recipe.base in ("F32", "F16", "BF16"):
            return recipe.base
        is_output = kind == "output" or (self._is_tied and kind == "embedding")
        if recipe.name == "MXFP4_MOE":
            return "MXFP4" if experts and not is_output else "Q8_0"
        if is_output:
            divides = shape[-1] % GGMLType[recipe.base].n_elements == 0
            rule = recipe.rules.get("output")
            if recipe.base == "Q8_0" or not divides or self._facts.is_falcon:
                return "Q8_0"
            return (rule(self._facts) if rule else None) or "Q6_K"
        is_iq2 = recipe.base.startswith("IQ2")
        facts = self._of_layer(name, kind, not is_iq2)
        rule = recipe.rules.get(kind) if kind else None
        found = (rule(facts) if rule else None) or recipe.base
        if is_iq2:  # their rules are complete
            return found
        if kind == "attn_v" and facts.is_70b and found in ("Q3_K", "Q4_K"):
            found = "Q5_K"
        if kind in ("attn_v", "attn_k") and facts.n_expert == 8:
            found = "Q8_0"
        return found

    def _of_layer(self, name: str, kind: Kind | None, by_layer: bool) -> Facts:
        """Return the facts for a weight, and count it; `by_layer` numbers ffn weights of mixtures by their layers."""
        if kind not in self._seen:
            return self._facts
        i = self._seen[kind]
        self._seen[kind] += 1
        if kind == "attn_v":
            return replace(self._facts, i=i, n=self._n_v)
        layer = re.match(r"blk\.(\d+)\.", name)
        if by_layer and self._facts.n_expert > 1:
            if layer is None:
                raise GGUFError(f"{name}: the name of an expert's weight must begin with blk. and its layer")
            i = int(layer[1])
        return replace(self._facts, i=i, n=self._n_layer)


def _is_70b(architecture: str, n_layer: int, heads: int, kv_heads: int) -> bool:
    """Whether llama.cpp calls the model 70B (src/models/*.cpp)."""
    if architecture == "jais2":
        return n_layer == 68
    if architecture == "llama" and heads == kv_heads:
        return False
    return n_layer == 80 and architecture in ("llama", "deci", "olmo", "qwen2")


def _kind(name: str) -> Kind | None:
    if name == OUTPUT:
        return "output"
    if name in EMBEDDINGS:
        return "embedding"
    return next((kind for part, kind in _KINDS if part in name), None)


def _file_order(name: str) -> tuple[int, bytes]:
    """llama.cpp's order, in which weights of a kind are counted: by layer, then by name."""
    layer = re.match(r"blk\.(\d+)\.", name)
    return (int(layer[1]) if layer else -1), name.encode()


def may_quantize(name: str, shape: Shape, source: GGMLType) -> bool:
    """Whether a tensor is a matrix of floats that recipes may change; leading dimensions of one do not count."""
    is_matrix = any(n > 1 for n in shape[:-1])
    is_number = source.name in ("I8", "I16", "I32", "I64", "F64")
    return is_matrix and not is_number and name.endswith("weight") and _KEPT.search(name) is None


def _fallback(wanted: str, k: int) -> str:
    if k % GGMLType[wanted].n_elements == 0:
        return wanted
    smaller = FALLBACKS.get(wanted, wanted)
    return smaller if k % GGMLType[smaller].n_elements == 0 else "F16"


def _checked(
    tensors: list[tuple[str, Shape, GGMLType]], overrides: Overrides
) -> list[tuple[Callable[[str], bool], str]]:
    """Return, for each override, which names it fits and the type; raises ParameterError as `plan_types`."""
    names, out = [name for name, *_ in tensors], []
    kept = {tensor[0] for tensor in tensors if not may_quantize(*tensor)}
    for pattern, target in overrides:
        upper = target.upper()
        if upper not in TARGETS:
            raise ParameterError(
                f"--tensor {pattern}={target}: {short_repr(target)} cannot be written{did_you_mean(target, TARGETS)}; "
                f"there are {', '.join(TARGETS)}"
            )
        fits = _matcher(pattern, names)
        if not any(map(fits, names)):
            raise ParameterError(
                f"--tensor {pattern}={target}: no tensor's name fits {short_repr(pattern)}; "
                f"the model has {', '.join(names[:3])} and {len(names)} in all"
            )
        if kept.issuperset(fitting := list(filter(fits, names))):
            raise ParameterError(
                f"--tensor {pattern}={target}: {fitting[0]}, and whatever else fits it, keeps its type, as norms and "
                "routers do; name matrices"
            )
        out.append((fits, upper))
    return out


def _matcher(pattern: str, names: list[str]) -> Callable[[str], bool]:
    """Return which names a pattern fits: the one that it is, those of a glob, or those that contain it."""
    if pattern in names:
        return pattern.__eq__
    if any(sign in pattern for sign in "*?["):
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    return lambda name: pattern in name
