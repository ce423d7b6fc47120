"""Decoders that differ from Llama by little: internlm2, maincoder, orion, seed_oss and xverse."""

from collections.abc import Callable, Sequence
from typing import Any

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa_tensors,
    qkv,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import PERMUTED, Array, number, permuted
from realizar.arch.rope_checkpoint import whole_head


def decoder(
    g: Graph, w: Weights, hp: HParams, norm: Callable[..., Value], style: str, ffn_norm: str = "ffn_norm"
) -> Value:
    """Llama's layers with this norm, this style of rotary embedding, and this name of the norm before SwiGLU."""
    x = g.embed(w.token_embd)
    for i, blk in enumerate(w.blk):
        x = x + gqa(g, norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, style)
        x = x + swiglu_ffn(g, norm(x, getattr(blk, ffn_norm), eps=hp.norm_eps), blk)
    return g.linear(norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class SeedOss(Architecture):
    """Seed-OSS 36B (https://github.com/ByteDance-Seed/seed-oss): rotary halves ("neox"), biases on q, k and v."""

    name = "seed_oss"
    checkpoint = Checkpoint(
        ("SeedOssForCausalLM",), {"blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm"}
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "post_attention_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        return decoder(g, w, hp, g.rms_norm, "neox", "post_attention_norm")


class Xverse(Architecture):
    """XVERSE 7B to 65B (https://github.com/xverse-ai/XVERSE-13B): Llama's equations."""

    name = "xverse"
    checkpoint = Checkpoint(("XverseForCausalLM",), PERMUTED)

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; SwiGLU."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        return decoder(g, w, hp, g.rms_norm, "norm")


def ungrouped(part: int, heads: str | None) -> Any:
    """q (part 0), k (1) or v (2) of InternLM 2's tensor, which has the query heads of each KV head, then k and v."""

    def transform(x: Array, hp: HParams) -> Array:
        group = hp.n_head // hp.n_head_kv
        rows = x.reshape(hp.n_head_kv, group + 2, hp.head_dim, *x.shape[1:])
        found = (rows[:, :group], rows[:, group], rows[:, group + 1])[part].reshape(-1, *x.shape[1:])
        return permuted(heads)(found, hp) if heads else found

    return transform


class InternLM2(Xverse):
    """InternLM 2 and 2.5 (https://arxiv.org/abs/2403.17297): Llama's equations; checkpoints fuse q, k and v."""

    name = "internlm2"
    checkpoint = Checkpoint(
        classes=("InternLM2ForCausalLM",),
        names={
            "token_embd": "tok_embeddings",
            "output": "output",
            "blk.{i}.attn_norm": "layers.{i}.attention_norm",
            "blk.{i}.attn_q": ("layers.{i}.attention.wqkv", ungrouped(0, "n_head")),
            "blk.{i}.attn_k": ("layers.{i}.attention.wqkv", ungrouped(1, "n_head_kv")),
            "blk.{i}.attn_v": ("layers.{i}.attention.wqkv", ungrouped(2, None)),
            "blk.{i}.attn_output": "layers.{i}.attention.wo",
            "blk.{i}.ffn_gate": "layers.{i}.feed_forward.w1",
            "blk.{i}.ffn_down": "layers.{i}.feed_forward.w2",
            "blk.{i}.ffn_up": "layers.{i}.feed_forward.w3",
            "blk.{i}.ffn_norm": "layers.{i}.ffn_norm",
        },
    )


class Orion(Architecture):
    """Orion 14B (https://arxiv.org/abs/2401.12246): layer norms with biases, rotary halves ("neox")."""

    name = "orion"
    checkpoint = Checkpoint(
        classes=("OrionForCausalLM",),
        keys={
            "context_length": ("max_sequence_length", "max_position_embeddings"),
            "attention.layer_norm_epsilon": number("rms_norm_eps"),  # so called in config.json
            "attention.layer_norm_rms_epsilon": None,
        },
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; biases in norms."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True, tied=False),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        return decoder(g, w, hp, g.layer_norm, "neox")


class Maincoder(Architecture):
    """Maincoder 1B (https://huggingface.co/Maincode/Maincoder-1B): q and k normalized after their rotation."""

    name = "maincoder"
    checkpoint = Checkpoint(
        classes=("MaincoderForCausalLM",),
        names={
            "blk.{i}.ffn_gate": "layers.{i}.feed_forward.gate_proj|layers.{i}.mlp.gate_proj",
            "blk.{i}.ffn_up": "layers.{i}.feed_forward.up_proj|layers.{i}.mlp.up_proj",
            "blk.{i}.ffn_down": "layers.{i}.feed_forward.down_proj|layers.{i}.mlp.down_proj",
        },
        keys={
            "feed_forward_length": ("intermediate_size_mlp", "intermediate_size"),
            "rope.dimension_count": whole_head,
        },
        only={"hidden_act": ("silu",), "use_qk_norm": (True,)},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with norms over a head; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "norm", q, k)
            q, k = g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [InternLM2, Maincoder, Orion, SeedOss, Xverse]
