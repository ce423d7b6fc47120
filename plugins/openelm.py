"""Apple's OpenELM family: openelm."""

from collections.abc import Sequence

from realizar.arch import Architecture, Checkpoint, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    layer_tensors,
    norm_tensors,
    normed_gqa,
    normed_qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Array, Config, Transform, number


def n_ff(config: Config) -> list[int]:
    """Feed-forward widths: multiples of the divisor close to the multiples of the model's width.

    `make_divisible` in configuration_openelm.py of https://huggingface.co/apple/OpenELM-270M.
    """
    divisor, out = config["ffn_dim_divisor"], []
    for factor in config["ffn_multipliers"]:
        wanted = factor * config["model_dim"]
        n = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
        out.append(n + divisor if n < 0.9 * wanted else n)
    return out


def half(index: int) -> Transform:
    """The first or the second half of the rows."""

    def transform(x: Array, hp: HParams) -> Array:
        part: Array = x.reshape(2, -1, x.shape[-1])[index]
        return part

    return transform


class OpenELM(Architecture):
    """OpenELM (https://arxiv.org/abs/2404.14619): Qwen 3's layers, each with its own number of heads and width."""

    name = "openelm"
    checkpoint = Checkpoint(
        classes=("OpenELMForCausalLM",),
        names={
            "token_embd": "token_embeddings",
            "blk.{i}.attn_norm": "layers.{i}.attn_norm",
            "blk.{i}.attn_qkv": "layers.{i}.attn.qkv_proj",
            "blk.{i}.attn_q_norm": "layers.{i}.attn.q_norm",
            "blk.{i}.attn_k_norm": "layers.{i}.attn.k_norm",
            "blk.{i}.attn_output": "layers.{i}.attn.out_proj",
            "blk.{i}.ffn_norm": "layers.{i}.ffn_norm",
            "blk.{i}.ffn_gate": ("layers.{i}.ffn.proj_1", half(0)),
            "blk.{i}.ffn_up": ("layers.{i}.ffn.proj_1", half(1)),
            "blk.{i}.ffn_down": "layers.{i}.ffn.proj_2",
        },
        keys={
            "block_count": "num_transformer_layers",
            "context_length": "max_context_length",
            "embedding_length": "model_dim",
            "feed_forward_length": n_ff,
            "attention.head_count": "num_query_heads",
            "attention.head_count_kv": "num_kv_heads",
            "attention.layer_norm_rms_epsilon": lambda config: 1e-6,  # a constant of modeling_openelm.py
            "rope.dimension_count": "head_dim",
            "rope.freq_base": number("rope_freq_constant"),
        },
        only={
            "activation_fn_name": ("swish",),
            "ffn_with_glu": (True,),
            "normalization_layer_name": ("rms_norm",),
            "normalize_qk_projections": (True,),
        },
        tied=lambda config: bool(config.get("share_input_output_layers", True)),
    )
    varies = ("n_head", "n_head_kv", "n_ff")

    def tensors(self, hp: HParams) -> WeightTable:
        """Fused q, k, v with norms over a head; SwiGLU; the output is tied to the embedding."""
        table = {**embedding_tensors(hp.n_vocab, hp.n_embd), **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm")}
        for i in range(hp.n_layer):
            own = hp.layer(i)
            table.update(layer_tensors(i, normed_qkv_tensors(own), swiglu_tensors(hp.n_embd, own.n_ff)))
        return table

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + normed_gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp.layer(i), i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [OpenELM]
