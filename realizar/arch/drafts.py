"""Draft blocks (multi-token prediction) for plugins: tensors and equations.

A draft block predicts the token after the next one: it reads the hidden state of one position and the token of the next
(https://arxiv.org/abs/2412.19437, section 2.2). It is block n_layer of the file, with the tensors of a layer, and has a
KV cache like a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from realizar.arch.architecture import LAYER_KEYS, Weight, WeightRef, Weights, WeightTable
from realizar.arch.blocks import layer_tensors
from realizar.arch.checkpoint import Config
from realizar.arch.hparams import HParams, Windows
from realizar.arch.metadata import ArchMetadata
from realizar.graph import Graph, Value

H = TypeVar("H", bound=HParams)

HIDDEN = "previous"
"""Name of the input of program "draft": for each row, the hidden state of the row before it."""
FEATURES = "features"
"""Name of the input of program "fuse": for each row, hidden states of several layers, one after the other."""
DRAFT_TOKENS = "d2t"
"""Name of the tensor with the tokens that a draft in a file of its own has logits of, int64."""


def three_layers(config: Config) -> list[int]:
    """The layers whose inputs an EAGLE-3 draft reads: those of config.json, or an early, the middle and a late one.

    https://github.com/SafeAILab/EAGLE (eagle/model/modeling_llama_kv.py), vLLM and llama.cpp have the same defaults.
    """
    found = config.get("eagle_aux_hidden_state_layer_ids")
    found = found or (config.get("eagle_config") or {}).get("eagle_aux_hidden_state_layer_ids")
    n = config["target_num_hidden_layers"]
    return list(found or (2, n // 2, n - 3))


def with_draft_block(md: ArchMetadata, hp: H, windows: Windows) -> tuple[H, Windows]:
    """The hyperparameters and windows of models whose layers differ, with those of the draft block as a layer more."""
    by_layer = {name: md.with_draft(LAYER_KEYS[name], values) for name, values in hp.by_layer.items()}
    if isinstance(windows.pattern, tuple):
        pattern = md.with_draft("attention.sliding_window_pattern", windows.pattern)
        windows = replace(windows, pattern=pattern)
    return replace(hp, by_layer=by_layer), windows


def draft_tensors(hp: Any, *tables: WeightTable) -> WeightTable:
    """The tensors of the draft block, if it is computed: those of a layer, in `tables`, and `nextn.*`.

    Embedding and output matrix of its own, and the norm before the latter, are optional.
    """
    if not hp.has_draft:
        return {}
    norm, matrix = Weight((hp.n_embd,)), Weight((hp.n_vocab, hp.n_embd), optional=True)
    own = {
        "blk.{i}.nextn.eh_proj": Weight((hp.n_embd, 2 * hp.n_embd)),
        "blk.{i}.nextn.enorm": norm,
        "blk.{i}.nextn.hnorm": norm,
        "blk.{i}.nextn.shared_head_norm": Weight((hp.n_embd,), optional=True),
        "blk.{i}.nextn.embed_tokens": matrix,
        "blk.{i}.nextn.shared_head_head": matrix,
    }
    return layer_tensors(hp.n_layer, *tables, own)


def draft(
    g: Graph, w: Weights, hp: Any, layer: Callable[[Graph, Value, Any, Any, int], Value], before_norm: bool = False,
    norm: WeightRef | None = None,
) -> Mapping[str, Value] | None:  # fmt: skip
    """Program "draft": logits and hidden state of the draft block, of architectures with RMS norms; None without one.

    Row t reads token t and, as the input `HIDDEN`, the state before the output matrix at row t - 1: of the decoder, or
    of the draft block itself when it continues its own drafts; the state before the final norm if the architecture has
    `draft_before_norm`, which is `before_norm`. The projection takes the embedding first, then the state, both
    normalized. `layer` records x -> x of a layer: (g, x, blk, hp, number). Without a norm of its own, the block has
    `norm`, or else the final norm of the decoder, before the output matrix.

    Order and norms are those of llama.cpp (src/models/qwen35.cpp, glm-dsa.cpp) and vLLM (qwen3_5_mtp.py,
    glm4_moe_mtp.py, deepseek_mtp.py).
    """
    blk = w.draft
    if blk is None:
        return None
    h = g.rms_norm(g.input(HIDDEN, (hp.n_embd,)), blk.nextn_hnorm, eps=hp.norm_eps)
    e = g.rms_norm(g.embed(blk.nextn_embed_tokens or w.token_embd), blk.nextn_enorm, eps=hp.norm_eps)
    x = g.linear(g.flatten(g.concat(g.heads(e, 1), g.heads(h, 1))), blk.nextn_eh_proj)
    x = layer(g, x, blk, hp, hp.n_layer)
    y = g.rms_norm(x, blk.nextn_shared_head_norm or norm or w.output_norm, eps=hp.norm_eps)
    return {"logits": g.linear(y, blk.nextn_shared_head_head or w.output), "hidden": x if before_norm else y}
