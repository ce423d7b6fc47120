"""Decoders with ALiBi in place of positions: bloom and mpt."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import (
    clamped_qkv,
    embedding_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
)
from realizar.arch.checkpoint import Config, grouped_qkv

ALIBI = 8.0  # the greatest exponent of the slopes; files of Bloom have no key for it


class Bloom(Architecture):
    """BLOOM (https://arxiv.org/abs/2211.05100): ALiBi, layer norms, also of the embeddings, and biases everywhere."""

    name = "bloom"
    checkpoint = Checkpoint(
        classes=("BloomForCausalLM",),
        names={
            "token_embd": "word_embeddings",
            "token_embd_norm": "word_embeddings_layernorm",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.input_layernorm",
            "blk.{i}.attn_qkv": ("h.{i}.self_attention.query_key_value", grouped_qkv),
            "blk.{i}.attn_output": "h.{i}.self_attention.dense",
            "blk.{i}.ffn_norm": "h.{i}.post_attention_layernorm",
            "blk.{i}.ffn_up": "h.{i}.mlp.dense_h_to_4h",
            "blk.{i}.ffn_down": "h.{i}.mlp.dense_4h_to_h",
        },
        keys={
            "context_length": lambda config: config.get("seq_length", 2048),
            "feed_forward_length": lambda config: 4 * (config.get("hidden_size") or config["n_embed"]),
            "embedding_length": ("hidden_size", "n_embed"),
        },
        only={"apply_residual_connection_post_layernorm": (False,)},
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases everywhere; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True),
            "token_embd_norm": Weight((hp.n_embd,), bias=True),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
            **qkv_tensors(hp, bias=True, output_bias=True),
            **mlp_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.layer_norm(g.embed(w.token_embd), w.token_embd_norm, eps=hp.norm_eps)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, alibi=ALIBI)
            x = x + g.linear(a, blk.attn_output)
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, g.gelu)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def attention_config(name: str) -> Any:
    """A function of config.json: a number of its section on attention, 0 if there is none."""

    def value(config: Config) -> float:
        return float((config.get("attn_config") or {}).get(name) or 0.0)

    return value


def alibi(config: Config) -> float:
    """The greatest exponent of the slopes; 0 without ALiBi."""
    return float(attention_config("alibi_bias_max")(config)) if attention_config("alibi")(config) else 0.0


class MptHParams(HParams):
    """The hyperparameters, with the greatest exponent of ALiBi's slopes and the limit of q, k and v; 0: none."""

    alibi: float
    limit: float


class Mpt(Architecture):
    """MPT (https://www.databricks.com/blog/mpt-7b): ALiBi or learned positions, clamped or normalized q and k."""

    name = "mpt"
    checkpoint = Checkpoint(
        classes=("MPTForCausalLM", "MptForCausalLM"),
        names={
            "token_embd": "wte",
            "position_embd": "wpe",
            "output_norm": "norm_f",
            "blk.{i}.attn_norm": "blocks.{i}.norm_1",
            "blk.{i}.attn_qkv": "blocks.{i}.attn.Wqkv",
            "blk.{i}.attn_output": "blocks.{i}.attn.out_proj",
            "blk.{i}.attn_q_norm": "blocks.{i}.attn.q_ln",
            "blk.{i}.attn_k_norm": "blocks.{i}.attn.k_ln",
            "blk.{i}.ffn_norm": "blocks.{i}.norm_2",
            "blk.{i}.ffn_up": "blocks.{i}.ffn.up_proj",
            "blk.{i}.ffn_down": "blocks.{i}.ffn.down_proj",
        },
        keys={
            "context_length": "max_seq_len",
            "block_count": "n_layers",
            "attention.head_count": "n_heads",
            "feed_forward_length": lambda config: int(config.get("expansion_ratio", 4) * config["d_model"]),
            "attention.layer_norm_epsilon": lambda config: config.get("layer_norm_epsilon", 1e-5),
            "attention.clamp_kqv": attention_config("clip_qkv"),
            "attention.max_alibi_bias": alibi,
        },
        tied=lambda config: True,
    )
    norm_eps_key = LAYER_NORM_EPS

    def hparams(self, md: ArchMetadata) -> MptHParams:
        """The hyperparameters of this model."""
        return MptHParams(
            **vars(super().hparams(md)),
            alibi=md.between("attention.max_alibi_bias", 0.0, 1e3, 0.0),
            limit=md.between("attention.clamp_kqv", 0.0, 1e9, 0.0),
        )

    def tensors(self, hp: MptHParams) -> WeightTable:
        """Biases in some models; the output may be tied to the embedding."""
        norm = Weight((hp.n_head * hp.head_dim,), bias=None, optional=True)
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=None),
            "position_embd": Weight((hp.n_ctx_train, hp.n_embd), optional=True),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=None),
            **qkv_tensors(hp, bias=None, output_bias=None),
            "blk.{i}.attn_q_norm": norm,
            "blk.{i}.attn_k_norm": Weight((hp.n_head_kv * hp.head_dim,), bias=None, where="attn_q_norm"),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: MptHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        x = x if w.position_embd is None else x + g.embed_positions(w.position_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.attention(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, g.gelu_erf)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: MptHParams, layer: int) -> Value:
        """Attention with clamped q, k and v, in some models q and k normalized over their whole width."""
        q, k, v = clamped_qkv(g, h, blk, hp, hp.limit)
        if blk.attn_q_norm is not None:
            q = g.heads(g.layer_norm(g.flatten(q), blk.attn_q_norm, eps=hp.norm_eps), hp.n_head)
            k = g.heads(g.layer_norm(g.flatten(k), blk.attn_k_norm, eps=hp.norm_eps), hp.n_head_kv)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, alibi=hp.alibi)
        return g.linear(a, blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Bloom, Mpt]
