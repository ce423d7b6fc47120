"""The GPT family: gpt2, gptneox (GPT-NeoX, Pythia) and gpt-oss."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

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
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rotate,
)
from realizar.arch.checkpoint import GELU_TANH, Array, Config, Transform, grouped_qkv, transposed, uneven_windows
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors
from realizar.arch.rope_checkpoint import quarter_rope_dims

Activation = Callable[[Graph, Value], Value]


class Gpt2(Architecture):
    """GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners, 2019): learned positions."""

    name = "gpt2"
    checkpoint = Checkpoint(
        classes=("GPT2LMHeadModel",),
        names={
            "token_embd": "wte",
            "position_embd": "wpe",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.ln_1",
            "blk.{i}.attn_qkv": ("h.{i}.attn.c_attn", transposed),
            "blk.{i}.attn_output": ("h.{i}.attn.c_proj", transposed),
            "blk.{i}.ffn_norm": "h.{i}.ln_2",
            "blk.{i}.ffn_up": ("h.{i}.mlp.c_fc", transposed),
            "blk.{i}.ffn_down": ("h.{i}.mlp.c_proj", transposed),
        },
        keys={"feed_forward_length": lambda config: config.get("n_inner") or 4 * config["n_embd"]},
        only={
            "activation_function": GELU_TANH,
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases everywhere; a position table; the output may be tied to the embedding."""
        return {**tensors(hp), "position_embd": Weight((hp.n_ctx_train, hp.n_embd))}

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd) + g.embed_positions(w.position_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, g.gelu)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


NEOX_ACTIVATIONS: Mapping[str, Activation] = {"gelu": Graph.gelu_erf, "gelu_pytorch_tanh": Graph.gelu}
"""Values of the key "hidden_activation": GELU as in Pythia, and approximated as in GPT-NeoX-20B ("gelu_fast")."""


def neox_activation(config: Config) -> str | None:
    """The activation if it is not the usual one."""
    return "gelu_pytorch_tanh" if config.get("hidden_act") in GELU_TANH else None


class NeoxHParams(HParams):
    """The hyperparameters of GPT-NeoX: whether attention and feed-forward are parallel, and the activation."""

    parallel: bool
    activation: Activation


class GptNeox(Architecture):
    """GPT-NeoX and Pythia (https://arxiv.org/abs/2204.06745): partial rotary embedding."""

    name = "gptneox"
    checkpoint = Checkpoint(
        classes=("GPTNeoXForCausalLM",),
        names={
            "token_embd": "embed_in",
            "output_norm": "final_layer_norm",
            "output": "embed_out",
            "blk.{i}.attn_qkv": ("layers.{i}.attention.query_key_value", grouped_qkv),
            "blk.{i}.attn_output": "layers.{i}.attention.dense",
            "blk.{i}.ffn_up": "layers.{i}.mlp.dense_h_to_4h",
            "blk.{i}.ffn_down": "layers.{i}.mlp.dense_4h_to_h",
        },
        keys={
            "rope.dimension_count": quarter_rope_dims,
            "use_parallel_residual": "use_parallel_residual",
            "hidden_activation": neox_activation,
        },
        only={"hidden_act": ("gelu", *GELU_TANH)},
    )
    norm_eps_key = LAYER_NORM_EPS

    def hparams(self, md: ArchMetadata) -> NeoxHParams:
        """The hyperparameters of this model."""
        return NeoxHParams(
            **vars(super().hparams(md)),
            parallel=md.boolean("use_parallel_residual", True),
            activation=md.choice("hidden_activation", NEOX_ACTIVATIONS, "gelu"),
        )

    def tensors(self, hp: NeoxHParams) -> WeightTable:
        """Biases everywhere except the output matrix, which is never tied."""
        return tensors(hp, tied=False)

    def build(self, g: Graph, w: Weights, hp: NeoxHParams) -> Value:
        """x += attention(norm(x)) + ffn(norm(x)), or one after the other."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            attended = x + gqa(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            h = g.layer_norm(x if hp.parallel else attended, blk.ffn_norm, eps=hp.norm_eps)
            x = attended + mlp(g, h, blk, partial(hp.activation, g))
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def every_other(first: int) -> Transform:
    """gpt-oss's gate and up, whose rows (columns in the checkpoint) are interleaved."""

    def transform(x: Array, hp: HParams) -> Array:
        columns = x[..., first::2]
        return columns.swapaxes(-1, -2) if x.ndim == 3 else columns

    return transform


class GptOssHParams(ExpertHParams):
    """The hyperparameters of gpt-oss: its sliding-window layers."""

    windows: Windows


class GptOss(Architecture):
    """gpt-oss (https://arxiv.org/abs/2508.10925): attention sinks, sliding windows in every other layer, experts."""

    name = "gpt-oss"
    checkpoint = Checkpoint(
        classes=("GptOssForCausalLM",),
        names={
            "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm",
            "blk.{i}.attn_sinks": "layers.{i}.self_attn.sinks",
            "blk.{i}.ffn_gate_inp": "layers.{i}.mlp.router",
            "blk.{i}.ffn_gate_exps": ("layers.{i}.mlp.experts.gate_up_proj", every_other(0)),
            "blk.{i}.ffn_gate_exps.bias": ("layers.{i}.mlp.experts.gate_up_proj_bias", every_other(0)),
            "blk.{i}.ffn_up_exps": ("layers.{i}.mlp.experts.gate_up_proj", every_other(1)),
            "blk.{i}.ffn_up_exps.bias": ("layers.{i}.mlp.experts.gate_up_proj_bias", every_other(1)),
            "blk.{i}.ffn_down_exps": ("layers.{i}.mlp.experts.down_proj", transposed),
            "blk.{i}.ffn_down_exps.bias": "layers.{i}.mlp.experts.down_proj_bias",
        },
        keys={
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": uneven_windows(2),
            "expert_feed_forward_length": "intermediate_size",
        },
        only={"hidden_act": ("silu",), "swiglu_limit": (7.0,), "swiglu_alpha": (1.702,)},
    )

    def hparams(self, md: ArchMetadata) -> GptOssHParams:
        """The hyperparameters of this model."""
        hp = expert_hparams(super().hparams(md), md)
        return GptOssHParams(**vars(hp), windows=self.windows(md, 2))

    def tensors(self, hp: GptOssHParams) -> WeightTable:
        """Biases everywhere; an attention sink for each head."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "post_attention_norm"),
            **qkv_tensors(hp, bias=True, output_bias=True),
            "blk.{i}.attn_sinks": Weight((hp.n_head,)),
            **expert_tensors(hp, bias=True),
        }

    def build(self, g: Graph, w: Weights, hp: GptOssHParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp.windows.rotation(hp, i), "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=hp.windows[i], sinks=blk.attn_sinks)
            x = x + g.linear(a, blk.attn_output)
            h = g.rms_norm(x, blk.post_attention_norm, eps=hp.norm_eps)
            x = x + expert_ffn(g, h, blk, hp, activation="swiglu_oai", gating="softmax_chosen")
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def tensors(hp: HParams, tied: bool = True) -> WeightTable:
    """The tensors that GPT-2 and GPT-NeoX share."""
    return {
        **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True, tied=tied),
        **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
        **qkv_tensors(hp, bias=True, output_bias=True),
        **mlp_tensors(hp.n_embd, hp.n_ff),
    }


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Gpt2, GptNeox, GptOss]
