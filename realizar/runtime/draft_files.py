"""Drafts in files of their own (EAGLE-3): whether one fits a model, and the hidden states that it reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch.drafts import DRAFT_TOKENS
from realizar.errors import GGUFError, ParameterError, short_repr
from realizar.gguf import GGMLType, GGUFFile
from realizar.graph import Graph

PREFIX = "draft."
"""Before the names of a draft's tensors, among those of the model for which it drafts."""


def draft_tokens(file: GGUFFile, n_vocab: int) -> npt.NDArray[np.int32] | None:
    """Return the tokens of which a draft has logits, int32 [n_draft_vocab]; None if these are all tokens.

    Raises
    ------
    GGUFError
        If a token does not exist, or occurs twice.
    """
    info = file.tensors.get(DRAFT_TOKENS)
    if info is None:
        return None
    if info.type is not GGMLType.I64 or len(info.shape) != 1:
        raise GGUFError(
            f"{DRAFT_TOKENS}: int64 [n] is needed, the token of each row of the output matrix; found {info.type.name} "
            f"{tuple(info.shape)} in {file.path.name}"
        )
    tokens: npt.NDArray[np.int64] = file.data(DRAFT_TOKENS).reshape(-1).view(np.int64)
    if tokens.min() < 0 or tokens.max() >= n_vocab or len(np.unique(tokens)) < len(tokens):
        raise GGUFError(
            f"{DRAFT_TOKENS}: different tokens from 0 to {n_vocab - 1} are needed, found {len(np.unique(tokens))} "
            f"different ones of {len(tokens)}, from {tokens.min()} to {tokens.max()}; {file.path.name} may be from a "
            "converter that wrote distances between tokens"
        )
    return tokens.astype(np.int32)


def check_target(hp: Any, target: Any, file: GGUFFile, other: GGUFFile) -> None:
    """Raise ParameterError if the draft in a file was made for a model of other sizes than that in the other file.

    `hp` and `target` are the hyperparameters of both.
    """
    pairs = [("hidden size", hp.n_target, target.n_embd), ("number of tokens", hp.n_vocab, target.n_vocab)]
    if not {"token_embd.weight", "output.weight"} <= file.tensors.keys():  # it uses the model's
        pairs.append(("embedding length", hp.n_embd, target.n_embd))
    for what, wanted, found in pairs:
        if wanted != found:
            raise ParameterError(
                f"draft={file.path.name}: its model has {what} {wanted}, but {other.path.name} has {found}; take the "
                "draft that was trained for this model"
            )
    if max(hp.target_layers) > target.n_layer:
        raise ParameterError(
            f"draft={file.path.name}: it reads the inputs of layers {', '.join(map(str, hp.target_layers))}, but "
            f"{other.path.name} has {target.n_layer} layers; take the draft that was trained for this model"
        )


def check_tokens(tokens: Sequence[str], others: Sequence[str], what: str) -> None:
    """Raise ParameterError if a draft has other tokens than its model, as far as both have any."""
    for i, (token, other) in enumerate(zip(tokens, others, strict=False)):
        if token != other:
            raise ParameterError(
                f"{what}: token {i} is {short_repr(token)}, of the draft model {short_repr(other)}; "
                "take one of the same family, with the same vocabulary"
            )


def input_of_layer(graph: Graph, layer: int, n_layer: int, n_embd: int) -> str | None:
    """Return the name of the hidden state before a layer of a decoder, or, by n_layer, before its final norm.

    This is what the first op with weights of the layer reads. None if that is not all that the layer and those after it
    need of the layers before: some architectures have several hidden states, or pass on more than one.
    """
    prefix = f"blk.{layer}." if layer < n_layer else "output_norm."
    readers = (node for node in graph.nodes if any(name.startswith(prefix) for name in node.weights))
    first = next(readers, None)
    if first is None or not first.inputs or graph.values[first.inputs[0]].shape != (n_embd,):
        return None
    state, needed = first.inputs[0], {graph.outputs["logits"]}
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs) - {state}:
            needed.update(node.inputs)
            nodes.append(node)
    names = (name for node in nodes for name in node.weights)
    before = any(int(found[1]) < layer for name in names if (found := re.match(r"blk\.(\d+)\.", name)))
    embeds = layer == 0 and any(node.spec.is_lookup for node in nodes)
    return None if before or embeds else graph.values[state].name
