"""The Falcon family: falcon (7B, 40B, 180B) and falcon-h1 (attention and Mamba 2 in every layer)."""

from collections.abc import Sequence
from functools import partial

import numpy as np

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
    embedding_tensors,
    gqa,
    gqa_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import NO_STEP_LIMIT, Array, Config, Names, grouped_qkv, in_groups, negative_exp, scaled
from realizar.arch.ssm import ScanSizes, mamba2, mamba2_tensors, scan_sizes


def n_head_kv(config: Config) -> int:
    """KV heads: config.json has their number only for grouped-query attention."""
    if config.get("multi_query", True) and not config.get("new_decoder_architecture", False):
        return 1
    return int(config.get("num_kv_heads") or config.get("n_head_kv") or config["num_attention_heads"])


class Falcon(Architecture):
    """Falcon 7B, 40B and 180B (https://arxiv.org/abs/2311.16867).

    Parallel attention and feed-forward. 7B has one KV head and one norm for both; 40B and 180B have grouped KV heads
    and a norm for each: `attn_norm_2` is attention's, `attn_norm` the feed-forward's. The converter sorts the rows of
    q, k and v, which checkpoints interleave.
    """

    name = "falcon"
    checkpoint = Checkpoint(
        classes=("FalconForCausalLM", "RWForCausalLM"),
        names={
            "token_embd": "word_embeddings",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.ln_mlp|h.{i}.input_layernorm",
            "blk.{i}.attn_norm_2": "h.{i}.ln_attn",
            "blk.{i}.attn_qkv": ("h.{i}.self_attention.query_key_value", grouped_qkv),
            "blk.{i}.attn_output": "h.{i}.self_attention.dense",
            "blk.{i}.ffn_up": "h.{i}.mlp.dense_h_to_4h",
            "blk.{i}.ffn_down": "h.{i}.mlp.dense_4h_to_h",
        },
        keys={
            "context_length": lambda config: config.get("max_position_embeddings", 2048),
            "feed_forward_length": lambda config: config.get("ffn_hidden_size") or 4 * config["hidden_size"],
            "attention.head_count_kv": n_head_kv,
            "tensor_data_layout": lambda config: "jploski",  # llama.cpp's name for sorted rows of q, k and v
        },
        only={"activation": ("gelu",), "alibi": (False,), "parallel_attn": (True,)},
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases only in norms; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True),
            **norm_tensors(hp.n_embd, "attn_norm", bias=True),
            "blk.{i}.attn_norm_2": Weight((hp.n_embd,), bias=True, optional=True),
            **qkv_tensors(hp),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=False),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)) + ffn(norm(x)), with one norm or two."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            h_attn = h if blk.attn_norm_2 is None else g.layer_norm(x, blk.attn_norm_2, eps=hp.norm_eps)
            x = x + gqa(g, h_attn, blk, hp, i, "neox") + mlp(g, h, blk, g.gelu_erf)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class FalconH1HParams(HParams):
    """The hyperparameters, with the sizes of the recurrence."""

    ssm: ScanSizes


def inner_size(config: Config) -> int:
    """Channels of the recurrence."""
    return int(config.get("mamba_d_ssm") or config["mamba_expand"] * config["hidden_size"])


def scaled_inputs(x: Array, hp: FalconH1HParams, config: Config) -> Array:
    """The input projection times its multipliers: those of the gate, of x, b and c, and of dt."""
    n_bc = hp.ssm.n_group * hp.ssm.n_state
    sizes = (hp.ssm.n_inner, hp.ssm.n_inner, n_bc, n_bc, hp.ssm.dt_rank)
    factors = np.repeat(np.array(config.get("ssm_multipliers") or [1.0] * 5, np.float32), sizes)
    return x * factors.reshape(-1, *[1] * (x.ndim - 1)) * np.float32(config.get("ssm_in_multiplier", 1.0))


def h1_names(config: Config) -> Names:
    """Names in checkpoints, with the multipliers folded into the weights.

    As in llama.cpp's converter (conversion/falcon_h1.py), but an output matrix that is tied to the embedding becomes a
    tensor of its own, since their multipliers differ.
    """
    inside, gate_down = config.get("attention_in_multiplier", 1.0), config.get("mlp_multipliers") or (1.0, 1.0)
    return {
        "token_embd": ("embed_tokens", scaled(config.get("embedding_multiplier", 1.0))),
        "output": ("lm_head|embed_tokens", scaled(config.get("lm_head_multiplier", 1.0))),
        "output_norm": "final_layernorm",
        "blk.{i}.attn_q": ("layers.{i}.self_attn.q_proj", scaled(inside)),
        "blk.{i}.attn_k": ("layers.{i}.self_attn.k_proj", scaled(inside * config.get("key_multiplier", 1.0))),
        "blk.{i}.attn_v": ("layers.{i}.self_attn.v_proj", scaled(inside)),
        "blk.{i}.attn_output": ("layers.{i}.self_attn.o_proj", scaled(config.get("attention_out_multiplier", 1.0))),
        "blk.{i}.ssm_in": ("layers.{i}.mamba.in_proj", partial(scaled_inputs, config=config)),
        "blk.{i}.ssm_conv1d": "layers.{i}.mamba.conv1d",
        "blk.{i}.ssm_dt": "layers.{i}.mamba.dt_bias",
        "blk.{i}.ssm_a": ("layers.{i}.mamba.A_log", negative_exp),
        "blk.{i}.ssm_d": "layers.{i}.mamba.D",
        "blk.{i}.ssm_norm": ("layers.{i}.mamba.norm", in_groups),
        "blk.{i}.ssm_out": ("layers.{i}.mamba.out_proj", scaled(config.get("ssm_out_multiplier", 1.0))),
        "blk.{i}.ffn_norm": "layers.{i}.pre_ff_layernorm",
        "blk.{i}.ffn_gate": ("layers.{i}.feed_forward.gate_proj", scaled(gate_down[0])),
        "blk.{i}.ffn_up": "layers.{i}.feed_forward.up_proj",
        "blk.{i}.ffn_down": ("layers.{i}.feed_forward.down_proj", scaled(gate_down[1])),
    }


def n_scan_head(config: Config) -> int:
    """Heads of the recurrence.

    Raises
    ------
    ValueError
        If dt is limited, or the result is normalized before it is gated.
    """
    limits = config.get("time_step_limit") or (0.0, float("inf"))
    if list(limits) not in ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}]):  # as transformers 5 writes it
        raise ValueError(f"time_step_limit is {limits}")
    if config.get("mamba_rms_norm") and config.get("mamba_norm_before_gate", True):
        raise ValueError("mamba_norm_before_gate is true")
    return int(config["mamba_n_heads"])


class FalconH1(Architecture):
    """Falcon-H1 (https://arxiv.org/abs/2507.22448): each layer is the sum of attention and the recurrence of Mamba 2.

    The converter folds the model's multipliers into the weights. Only some models normalize the gated recurrence.
    """

    name = "falcon-h1"
    checkpoint = Checkpoint(
        classes=("FalconH1ForCausalLM",),
        names=h1_names,
        keys={
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.state_size": "mamba_d_state",
            "ssm.group_count": "mamba_n_groups",
            "ssm.inner_size": inner_size,
            "ssm.time_step_rank": n_scan_head,
        },
        only={
            **NO_STEP_LIMIT,
            # biases would have other multipliers than the weights
            **dict.fromkeys(("attention_bias", "mlp_bias", "mamba_proj_bias", "projectors_bias"), (False,)),
            "hidden_act": ("silu",),
            "mamba_conv_bias": (True,),
        },
        tied=lambda config: False,
    )

    def hparams(self, md: ArchMetadata) -> FalconH1HParams:
        """The hyperparameters of this model."""
        return FalconH1HParams(**vars(super().hparams(md)), ssm=scan_sizes(md))

    def tensors(self, hp: FalconH1HParams) -> WeightTable:
        """Attention, a recurrence and SwiGLU in each layer; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **mamba2_tensors(hp.n_embd, hp.ssm, norm=None),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,), suffix=""),
            **swiglu_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: FalconH1HParams) -> Value:
        """x += attention(h) + scan(h), h = norm(x); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + (gqa(g, h, blk, hp, i, "neox") + mamba2(g, h, blk, hp.ssm, i, hp.norm_eps))
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Falcon, FalconH1]
