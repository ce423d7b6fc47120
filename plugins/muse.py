"""Meta's Muse family: muse-glimmer, the language model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    norm_tensors,
    normed_gqa_tensors,
    normed_qkv,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import PERMUTED, Array, Config, number, one_more, windows
from realizar.arch.rope_checkpoint import whole_head

POST_NORM_EPS = 1e-8  # not in the metadata; llama.cpp has it as a constant too


def filled(key: str | None) -> Any:
    """A function of config.json: the weights of a norm over a head, which are all one number."""

    def weights(config: Config) -> Array:
        return np.full(config["head_dim"], 1.0 if key is None else config[key], np.float32)

    return weights


class MuseHParams(HParams):
    """The hyperparameters of Muse Glimmer: sliding-window layers, factor and softcap (0: none) of logits."""

    windows: Windows
    logit_scale: float
    logit_cap: float


class MuseGlimmer(Architecture):
    """Muse Glimmer 30B (https://huggingface.co/meta-models/Muse-Glimmer-30B): sliding windows.

    Three layers of four have sliding-window attention; only they have rotary embedding, after the q/k norms. Attention
    has a sigmoid gate; the embeddings and the outputs of attention and feed-forward are normalized, too.
    """

    name = "muse-glimmer"
    checkpoint = Checkpoint(
        classes=("MuseGlimmerForConditionalGeneration",),
        names={
            **PERMUTED,
            "blk.{i}.attn_norm": ("layers.{i}.input_layernorm", one_more),
            "blk.{i}.attn_q_norm": filled("qk_scale_factor"),
            "blk.{i}.attn_k_norm": filled(None),
            "blk.{i}.attn_gate": "layers.{i}.self_attn.gate_proj",
            "blk.{i}.post_attention_norm": ("layers.{i}.post_attention_layernorm", one_more),
            "blk.{i}.ffn_norm": ("layers.{i}.pre_feedforward_layernorm", one_more),
            "blk.{i}.post_ffw_norm": ("layers.{i}.post_feedforward_layernorm", one_more),
        },
        keys={
            "rope.dimension_count": whole_head,
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": windows,
            "final_logit_softcapping": number("final_logit_softcapping"),
            "logit_scale": number("output_multiplier"),
        },
    )

    def hparams(self, md: ArchMetadata) -> MuseHParams:
        """The hyperparameters of this model."""
        return MuseHParams(
            **vars(super().hparams(md)),
            windows=self.windows(md, 4),
            logit_scale=md.between("logit_scale", 1e-6, 1e6),
            logit_cap=md.between("final_logit_softcapping", 0.0, 1e6, 0.0),
        )

    def tensors(self, hp: MuseHParams) -> WeightTable:
        """Separate q, k, v with norms over a head, and a gate; norms before and after each part; SwiGLU."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **normed_gqa_tensors(hp),
            "blk.{i}.attn_gate": Weight((hp.n_head * hp.head_dim, hp.n_embd)),
            **norm_tensors(hp.n_embd, "post_attention_norm", "ffn_norm", "post_ffw_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def attention(self, g: Graph, h: Value, blk: Any, hp: MuseHParams, layer: int) -> Value:
        """Grouped-query attention with a gate computed from the same input."""
        q, k, v = normed_qkv(g, h, blk, hp)
        if hp.windows[layer]:
            q, k = rotate(g, hp.windows.rotation(hp, layer), "norm", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.windows[layer])
        return g.linear(a * g.sigmoid(g.linear(h, blk.attn_gate)), blk.attn_output)

    def build(self, g: Graph, w: Weights, hp: MuseHParams) -> Value:
        """x += norm(attention(norm(x))); x += norm(ffn(norm(x)))."""
        x = g.rms_norm(g.embed(w.token_embd), None, eps=hp.norm_eps)
        for i, blk in enumerate(w.blk):
            a = self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=POST_NORM_EPS)
            f = swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
            x = x + g.rms_norm(f, blk.post_ffw_norm, eps=POST_NORM_EPS)
        logits = g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output) * hp.logit_scale
        return g.softcap(logits, hp.logit_cap) if hp.logit_cap else logits


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [MuseGlimmer]
