"""The vision transformer of SigLIP, which several projectors read: its names in checkpoints, and its equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realizar.arch.architecture import Weights
from realizar.arch.checkpoint import Names
from realizar.arch.projector import VisionHParams, encoder_block
from realizar.arch.square_projector import flattened
from realizar.graph import Graph, Value


def siglip_names(*prefixes: str) -> Names:
    """The names of a SigLIP encoder in a checkpoint, whose names begin in one of several ways."""
    layer = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_out": "self_attn.out_proj", "ln1": "layer_norm1", "ln2": "layer_norm2", "ffn_up": "mlp.fc1",
        "ffn_down": "mlp.fc2",
    }  # fmt: skip
    names = {
        "v.position_embd": "embeddings.position_embedding",
        "v.post_ln": "post_layernorm",
        **{f"v.blk.{{i}}.{ours}": f"encoder.layers.{{i}}.{theirs}" for ours, theirs in layer.items()},
    }
    kernel = "|".join(f"{prefix}embeddings.patch_embedding" for prefix in prefixes)
    return {
        "v.patch_embd": (kernel, flattened),
        **{ours: "|".join(prefix + theirs for prefix in prefixes) for ours, theirs in names.items()},
    }


def siglip(g: Graph, w: Weights, hp: VisionHParams, rope: Mapping[str, Any] | None = None) -> Value:
    """The states after the last layer, normalized, of "patches" with "learned_positions"."""
    positions = g.input("learned_positions", (hp.n_embd,))
    x = g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd) + positions
    for blk in w.v_blk:
        x = encoder_block(g, x, blk, hp, rope)
    return g.layer_norm(x, w.v_post_ln, eps=hp.norm_eps)
