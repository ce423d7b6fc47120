"""Layers of Gemma 3n and 4 for plugins: attention that may share keys and values, and per-layer embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from realizar.arch.architecture import Architecture, Weight, Weights, WeightTable
from realizar.arch.blocks import embedding_tensors, layer_tensors, norm_tensors, qkv_tensors, swiglu_tensors
from realizar.arch.checkpoint import Keys, Names, number, windows
from realizar.arch.hparams import HParams, Windows
from realizar.arch.metadata import ArchMetadata
from realizar.arch.rope_checkpoint import rope_parameters
from realizar.graph import Graph, RopeScaling, Value

NAMES: Names = {
    "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_norm": "layers.{i}.pre_feedforward_layernorm",
    "blk.{i}.post_ffw_norm": "layers.{i}.post_feedforward_layernorm",
    "per_layer_token_embd": "embed_tokens_per_layer",
    "per_layer_model_proj": "per_layer_model_projection",
    "per_layer_proj_norm": "per_layer_projection_norm",
    "blk.{i}.inp_gate": "layers.{i}.per_layer_input_gate",
    "blk.{i}.proj": "layers.{i}.per_layer_projection",
    "blk.{i}.post_norm": "layers.{i}.post_per_layer_input_norm",
}
"""Names in checkpoints."""

IGNORED = ("*.self_attn.k_proj.weight", "*.self_attn.v_proj.weight", "*.self_attn.k_norm.weight", "*embed_vision.*",
           "*embed_audio.*")  # fmt: skip
"""Unused tensors of checkpoints: keys and values of layers that have those of others, and projections of images."""


def rope_base(kind: str) -> Any:
    """The rotary base of layers of this kind, as a function of config.json."""
    return lambda config: number("rope_theta")(rope_parameters(config, kind))


KEYS: Keys = {
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": windows,
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "final_logit_softcapping": number("final_logit_softcapping"),
    "rope.freq_base": rope_base("full_attention"),
    "rope.freq_base_swa": rope_base("sliding_attention"),
}
"""Metadata keys from config.json."""


@dataclass(frozen=True)
class SharedHParams(HParams):
    """The hyperparameters that Gemma 3n and 4 have in common.

    Attributes
    ----------
    windows : Windows
    kv_layers : tuple[int, ...]
        For each layer the one whose keys and values it attends to.
    n_embd_per_layer : int
        Width of the per-layer embeddings; 0 if there are none.
    logit_softcap : float
        0 for none.
    """

    windows: Windows
    kv_layers: tuple[int, ...]
    n_embd_per_layer: int
    logit_softcap: float

    def layer(self, i: int) -> Any:
        """The hyperparameters of layer i, with its heads and its rotary embedding."""
        return self.windows.rotation(super().layer(i), i)


class Shared(Architecture):
    """What Gemma 3n and 4 have in common."""

    varies = ("n_head", "n_head_kv", "n_ff")
    window_heads = True
    window_period: ClassVar[int]  # every how manieth layer has no window, if the file does not say it

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model, whose files must have the size of the window.

        Raises
        ------
        GGUFError
            Names a key that is missing or has an invalid value, and what was found.
        """
        md.positive("attention.sliding_window")
        windows = self.windows(md, self.window_period, rope_base=10000.0, rope_scaling=RopeScaling())
        return SharedHParams(
            **vars(super().hparams(md)),
            windows=windows,
            kv_layers=self.kv_layers(md, windows),
            n_embd_per_layer=md.integer_between("embedding_length_per_layer_input", 0, 2**20, 0),
            logit_softcap=md.between("final_logit_softcapping", 0.0, 1e6, 0.0),
        )

    def ignored(self, md: ArchMetadata, hp: Any) -> Sequence[str]:
        """Keys and values of the layers that attend to those of others, too."""
        sharing = [i for i, j in enumerate(hp.kv_layers) if i != j]
        unused = (f"blk.{i}.{name}.weight" for i in sharing for name in ("attn_k", "attn_v", "attn_k_norm"))
        return (*super().ignored(md, hp), *unused)

    def tensors(self, hp: Any) -> WeightTable:
        """Attention, a feed-forward, and the per-layer embeddings if the model has them."""
        table = embedding_tensors(hp.n_vocab, hp.n_embd)
        table.update(norm_tensors(hp.n_embd, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"))
        for i, j in enumerate(hp.kv_layers):
            own = hp.layer(i)
            table.update(layer_tensors(i, attention_tensors(own, i == j), swiglu_tensors(hp.n_embd, own.n_ff)))
        return {**table, **per_layer_tensors(hp)} if hp.n_embd_per_layer else table


def attention_tensors(hp: Any, has_kv: bool) -> WeightTable:
    """The tensors of `attention`; some files lack `attn_v`."""
    table, norm = qkv_tensors(hp), Weight((hp.head_dim,))
    whole = table.pop("blk.{i}.attn_qkv")
    table["blk.{i}.attn_q_norm"] = norm
    if not has_kv:
        return {**table, "blk.{i}.attn_q": Weight((hp.n_head * hp.head_dim, hp.n_embd))}
    return {**table, "blk.{i}.attn_qkv": replace(whole, optional_parts=("attn_v",)), "blk.{i}.attn_k_norm": norm}


def attention(g: Graph, h: Value, blk: Any, hp: Any, layer: int, factors: Any = None, spans: bool = True) -> Value:
    """Attention with q, k and v normalized head by head, to the keys and values of this or of an earlier layer.

    Without `attn_v`, the values are the keys before their norm.
    """
    own, source, eps = hp.layer(layer), hp.kv_layers[layer], hp.norm_eps
    rope = {"style": "neox", "dims": own.rope_dims, "base": own.rope_base, "scaling": own.rope_scaling}
    how = {"layer": layer, "scale": 1.0, "window": hp.windows[layer], "spans": spans}
    q = g.heads(g.linear(h, blk.attn_q), own.n_head)
    q = g.rope(g.rms_norm(q, blk.attn_q_norm, eps=eps), **rope, factors=factors)
    if source != layer:
        return g.linear(g.attention(q, kv_of=source, **how), blk.attn_output)
    k = g.heads(g.linear(h, blk.attn_k), own.n_head_kv)
    v = k if blk.attn_v is None else g.heads(g.linear(h, blk.attn_v), own.n_head_kv)
    k = g.rope(g.rms_norm(k, blk.attn_k_norm, eps=eps), **rope, factors=factors)
    return g.linear(g.attention(q, k, g.rms_norm(v, None, eps=eps), **how), blk.attn_output)


def per_layer_tensors(hp: Any) -> WeightTable:
    """The tensors of `per_layer_inputs` and `per_layer_ffn`."""
    n, n_all = hp.n_embd_per_layer, hp.n_layer * hp.n_embd_per_layer
    return {
        "per_layer_token_embd": Weight((hp.n_vocab, n_all)),
        "per_layer_model_proj": Weight((n_all, hp.n_embd)),
        "per_layer_proj_norm": Weight((n,)),
        "blk.{i}.inp_gate": Weight((n, hp.n_embd)),
        "blk.{i}.proj": Weight((hp.n_embd, n)),
        "blk.{i}.post_norm": Weight((hp.n_embd,)),
    }


def per_layer_inputs(g: Graph, x: Value, w: Weights, hp: Any) -> list[Value]:
    """For each layer an input of n_embd_per_layer elements, from a table of their own and from the embedding."""
    n = hp.n_embd_per_layer
    table = g.embed_ids(w.per_layer_token_embd, scale=n**0.5)
    projected = g.heads(g.linear(x, w.per_layer_model_proj) * hp.n_embd**-0.5, hp.n_layer)
    projected = g.flatten(g.rms_norm(projected, w.per_layer_proj_norm, eps=hp.norm_eps))
    return g.split((projected + table) * 2**-0.5, *[n] * hp.n_layer)


def per_layer_ffn(g: Graph, x: Value, own: Value, blk: Any, hp: Any) -> Value:
    """norm(proj(gelu(gate(x)) * own)), with the layer's own input."""
    y = g.linear(g.gelu(g.linear(x, blk.inp_gate)) * own, blk.proj)
    return g.rms_norm(y, blk.post_norm, eps=hp.norm_eps)


def logits(g: Graph, x: Value, w: Weights, hp: Any) -> Value:
    """The output matrix, with a soft cap."""
    y = g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)
    return g.softcap(y, hp.logit_softcap) if hp.logit_softcap else y
