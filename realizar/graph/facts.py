"""Functions for the facts of an OpSpec: how the op uses weights, its scratch memory, and the inputs that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from realizar.graph.shapes import Attrs, Shapes

INPUTS = ("tokens", "embeddings", "positions", "encoder")
"""The inputs of a step that a program may read: token ids, embeddings in place of tokens, positions, and the K and V of
an encoder input that another program computed."""


def _whole(n_tokens: int) -> float:
    return 1.0


class WeightUse(NamedTuple):
    """How an op uses one of its weights.

    Attributes
    ----------
    multiply_adds : float
        Multiply-adds with it for one token; 0 if there is no matrix product.
    operand : {"", "input", "rows", "hidden", "float"}
        What the weight is multiplied with: "input": the whole first input, which can be quantized once for all ops that
        read it; "rows": rows of the input that the op quantizes itself; "hidden": intermediate values that the op
        quantizes; "float": values that stay float32; "": there is no matrix product.
    share : callable
        Number of tokens of a step -> expected share of the weight's bytes that the step reads.
    """

    multiply_adds: float = 0.0
    operand: str = ""
    share: Callable[[int], float] = _whole


class Scratch(NamedTuple):
    """Memory that a backend keeps for each token while an op runs: `n_rows` rows of `n` elements.

    Attributes
    ----------
    name : str
    n_rows, n : int
    form : {"float", "quantized", "input"}
        "float": float32. "quantized": quantized rows for products with the weight; no memory if these read float32.
        "input": copies of the first input in the form that products with the weight read, once for each form.
    weight : int
        Index of that weight among the weights of the node.
    """

    name: str
    n_rows: int
    n: int
    form: str = "float"
    weight: int = 0


ReadsRule = Callable[[Attrs], tuple[str, ...]]
UseRule = Callable[[Shapes, Shapes, Attrs], list[WeightUse]]
ScratchRule = Callable[[Shapes, Shapes, Attrs], list[Scratch]]
KVShapeRule = Callable[[Shapes, Attrs], tuple[int, int, int]]
RotationRule = Callable[[Attrs], "Mapping[str, Any] | None"]


# ---- defaults


def reads_nothing(attrs: Attrs) -> tuple[str, ...]:
    """The result depends only on the inputs of the node."""
    return ()


def positions_read(attrs: Attrs) -> tuple[str, ...]:
    """The positions."""
    return ("positions",)


def read_whole(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[WeightUse]:
    """Every step reads all weights, and no matrix product is computed (norms, biases)."""
    return [WeightUse()] * len(weights)


def no_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """The op needs no memory except inputs and outputs."""
    return []


def no_rotation(attrs: Attrs) -> Mapping[str, Any] | None:
    """The op has no rotary embedding."""
    return None


# ---- what a step reads


def embed_reads(attrs: Attrs) -> tuple[str, ...]:
    """Reads the tokens or the embeddings in their place; the tokens alone; the positions; for token types nothing."""
    read = {"token": ("tokens", "embeddings"), "id": ("tokens",), "position": ("positions",), "type": ()}
    return read[attrs["by"]]


# ---- weights


def embed_uses(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[WeightUse]:
    """One row of the table for each token, at most all rows."""
    n_rows = prod(weights[0][:-1])
    return [WeightUse(share=lambda n_tokens: min(n_tokens, n_rows) / n_rows)]


def linear_uses(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[WeightUse]:
    """Every element of a weight is multiplied once for each token."""
    return [WeightUse(float(prod(shape)), "input") for shape in weights]


def per_head_linear_uses(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[WeightUse]:
    """The used rows of each head's matrix; transposed, the products are float32."""
    n_head, k = inputs[0]
    first, end = attrs["rows"] or (0, prod(weights[0][:-1]) // n_head)
    n_out = weights[0][-1] if attrs["transposed"] else end - first
    return [WeightUse(float(n_head * k * n_out), "float" if attrs["transposed"] else "rows")]


def expert_uses(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[WeightUse]:
    """The weights of the chosen experts; the share read is expected for tokens that choose at random."""
    (n_used,), n_expert = inputs[1], weights[0][0]
    chosen = n_used / n_expert

    def share(n_tokens: int) -> float:
        return 1.0 - (1.0 - chosen) ** n_tokens

    operands = (*["input"] * (len(weights) - 1), "hidden")
    return [WeightUse(chosen * prod(w), operand, share) for w, operand in zip(weights, operands, strict=True)]


# ---- scratch


def attention_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """The rotated query, if the attention rotates."""
    return [] if attrs["rope"] is None else [Scratch("q_rot", 1, prod(inputs[0]))]


def per_head_linear_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """The quantized rows of all heads."""
    n_head, k = inputs[0]
    return [] if attrs["transposed"] else [Scratch("x", n_head, k, "quantized")]


def expert_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """For each chosen expert: its input, gate (if it has one) and up, their quantized product, and its result.

    With adapters, also A x of those of a sequence.
    """
    n_embd, (n_used,), (_, n_out, n_ff), down = prod(inputs[0]), inputs[1], weights[-1], len(weights) - 1
    return [
        *(Scratch(name, n_used, n_ff) for name in ("gate", "up")[-down:]),
        Scratch("out", n_used, n_out),
        *(Scratch("x", n_used, n_embd, "input", j) for j in range(down)),
        Scratch("h", n_used, n_ff, "quantized", down),
        *([Scratch("ax", n_used, attrs["max_rank"])] if attrs["targets"] else []),
    ]


def low_rank_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """A x for each product, of all adapters of a sequence."""
    return [Scratch("ax", len(attrs["targets"]), attrs["max_rank"])]


def low_rank_embed_scratch(inputs: Shapes, weights: Shapes, attrs: Attrs) -> list[Scratch]:
    """The row of A of a token, of one adapter."""
    return [Scratch("ax", 1, attrs["max_rank"])]


# ---- keys and values


def kv_of_attention(inputs: Shapes, attrs: Attrs) -> tuple[int, int, int]:
    """(n_head_kv, head_dim, head_dim_v) of k and v, else of the cache of another layer (attribute `shape`)."""
    if attrs["shape"] is not None:
        return kv_of_attrs(inputs, attrs)
    (n_head_kv, head_dim), (_, head_dim_v) = inputs[1:]
    return n_head_kv, head_dim, head_dim_v


def kv_of_attrs(inputs: Shapes, attrs: Attrs) -> tuple[int, int, int]:
    """(n_head_kv, head_dim, head_dim_v) from the attribute `shape`."""
    shape: tuple[int, int, int] = attrs["shape"]
    return shape
