"""NVIDIA's Nemotron family: nemotron (Minitron), nemotron_h and nemotron_h_moe (Nemotron Nano, Super, Lightning)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from realizar.arch import (
    LAYER_NORM_EPS,
    RMS_NORM_EPS,
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
    layer_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    relu2,
)
from realizar.arch.checkpoint import Config, Keys, Names, in_groups, negative_exp, one_more
from realizar.arch.experts import RoutedHParams, routed_hparams
from realizar.arch.rope_checkpoint import half_rope_dims
from realizar.arch.ssm import ScanSizes, mamba2, mamba2_tensors, scan_sizes


def norm_names(ours: str, theirs: str) -> Names:
    """A layer norm whose weight is stored as its difference from 1."""
    return {ours: (theirs, one_more), f"{ours}.bias": f"{theirs}.bias"}


class Nemotron(Architecture):
    """Nemotron 4 and Minitron (https://arxiv.org/abs/2402.16819): partial rotary embedding, squared relu."""

    name = "nemotron"
    norm_eps_key = LAYER_NORM_EPS
    checkpoint = Checkpoint(
        classes=("NemotronForCausalLM",),
        names={
            **norm_names("output_norm", "norm"),
            **norm_names("blk.{i}.attn_norm", "layers.{i}.input_layernorm"),
            **norm_names("blk.{i}.ffn_norm", "layers.{i}.post_attention_layernorm"),
        },
        keys={"rope.dimension_count": half_rope_dims, "attention.layer_norm_epsilon": "norm_eps"},
        only={"hidden_act": ("relu2",)},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v and a feed-forward without gate, with biases in some files; norms with biases."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, partial(relu2, g))
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


MIXERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
NAMES: Names = {
    "token_embd": "embeddings",
    "output_norm": "norm_f",
    "blk.{i}.attn_norm": "layers.{i}.norm",
    "blk.{i}.attn_q": "layers.{i}.mixer.q_proj",
    "blk.{i}.attn_k": "layers.{i}.mixer.k_proj",
    "blk.{i}.attn_v": "layers.{i}.mixer.v_proj",
    "blk.{i}.attn_output": "layers.{i}.mixer.o_proj",
    "blk.{i}.ssm_in": "layers.{i}.mixer.in_proj",
    "blk.{i}.ssm_conv1d": "layers.{i}.mixer.conv1d",
    "blk.{i}.ssm_dt": "layers.{i}.mixer.dt_bias",
    "blk.{i}.ssm_a": ("layers.{i}.mixer.A_log", negative_exp),
    "blk.{i}.ssm_d": "layers.{i}.mixer.D",
    "blk.{i}.ssm_norm": ("layers.{i}.mixer.norm", in_groups),
    "blk.{i}.ssm_out": "layers.{i}.mixer.out_proj",
    "blk.{i}.ffn_up": "layers.{i}.mixer.up_proj",
    "blk.{i}.ffn_down": "layers.{i}.mixer.down_proj",
    "blk.{i}.ffn_gate_inp": "layers.{i}.mixer.gate",
    "blk.{i}.exp_probs_b": "layers.{i}.mixer.gate.e_score_correction_bias",
    "blk.{i}.ffn_latent_down": "layers.{i}.mixer.fc1_latent_proj",
    "blk.{i}.ffn_latent_up": "layers.{i}.mixer.fc2_latent_proj",
    "blk.{i}.ffn_up_exps": "layers.{i}.mixer.experts.{e}.up_proj",
    "blk.{i}.ffn_down_exps": "layers.{i}.mixer.experts.{e}.down_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.mixer.shared_experts.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.mixer.shared_experts.down_proj",
}


def mixers(config: Config) -> list[str]:
    """What each layer is: "mamba", "attention", "mlp" or "moe"; config.json has a list or a pattern of letters."""
    kinds = config.get("layers_block_type") or [MIXERS[letter] for letter in config["hybrid_override_pattern"]]
    return [{"linear_attention": "mamba", "full_attention": "attention"}.get(kind, kind) for kind in kinds]


def of_kind(kind: str, key: str) -> Any:
    """A function of config.json: for each layer of this kind the value of a key, for other layers 0."""
    return lambda config: [config[key] if mixer == kind else 0 for mixer in mixers(config)]


KEYS: Keys = {
    "block_count": lambda config: len(mixers(config)),
    "attention.head_count_kv": of_kind("attention", "num_key_value_heads"),
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "ssm_state_size",
    "ssm.group_count": "n_groups",
    "ssm.inner_size": lambda config: config["mamba_num_heads"] * config["mamba_head_dim"],
    "ssm.time_step_rank": "mamba_num_heads",
}


class NemotronHParams(RoutedHParams):
    """The hyperparameters of hybrid models.

    Attributes
    ----------
    ssm : ScanSizes
        Sizes of the recurrent layers, which have neither KV heads nor a feed-forward width.
    n_latent : int
        Width of what the experts read and write; n_embd if no projections lie between.
    attention_scale : float
        Scale of attention scores.
    """

    ssm: ScanSizes
    n_latent: int
    attention_scale: float


class NemotronH(Architecture):
    """Nemotron-H and Nemotron Nano 2 (https://arxiv.org/abs/2504.03624).

    A layer is one of three: the recurrence of Mamba 2, attention without positions, a feed-forward with squared relu.
    """

    name = "nemotron_h"
    varies = ("n_head_kv", "n_ff")
    norm_eps_key = LAYER_NORM_EPS  # for RMS norms
    checkpoint = Checkpoint(
        classes=("NemotronHForCausalLM",),
        names=NAMES,
        keys={
            **KEYS,
            "feed_forward_length": of_kind("mlp", "intermediate_size"),
            "expert_count": None,  # config.json may have it for no layer
            "expert_used_count": None,
        },
        applies=lambda config: "moe" not in mixers(config),
        tied=lambda config: False,  # transformers does not tie them whatever config.json says
    )

    def norm_eps(self, md: ArchMetadata) -> float:
        """The key of RMS norms counts if the file has it."""
        return md.between(RMS_NORM_EPS, 0.0, 1.0, 0.0) or super().norm_eps(md)

    def hparams(self, md: ArchMetadata) -> NemotronHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return NemotronHParams(
            **vars(hp),
            ssm=scan_sizes(md),
            n_latent=md.positive("moe_latent_size", hp.n_embd),
            attention_scale=md.between("attention.scale", 0.0, 1e6, 0.0) or hp.head_dim**-0.5,
        )

    def tensors(self, hp: NemotronHParams) -> WeightTable:
        """One mixer in each layer; the output may be tied to the embedding."""
        table = {**embedding_tensors(hp.n_vocab, hp.n_embd), **norm_tensors(hp.n_embd, "attn_norm")}
        for i in range(hp.n_layer):
            own = hp.layer(i)
            if own.n_ff:
                mixer = expert_tensors(hp) if hp.n_expert else mlp_tensors(hp.n_embd, own.n_ff, bias=None)
            elif own.n_head_kv:
                mixer = qkv_tensors(own, bias=None, output_bias=None)
            else:
                mixer = mamba2_tensors(hp.n_embd, hp.ssm)
            table.update(layer_tensors(i, mixer))
        return table

    def mix(self, g: Graph, h: Value, blk: Any, hp: NemotronHParams, layer: int) -> Value:
        """The only part of a layer."""
        own = hp.layer(layer)
        if own.n_ff:
            return experts(g, h, blk, hp) if hp.n_expert else mlp(g, h, blk, partial(relu2, g))
        if not own.n_head_kv:
            return mamba2(g, h, blk, hp.ssm, layer, hp.norm_eps)
        q, k, v = qkv(g, h, blk, own)
        return g.linear(g.attention(q, k, v, layer=layer, scale=hp.attention_scale), blk.attn_output)

    def build(self, g: Graph, w: Weights, hp: NemotronHParams) -> Value:
        """x += mixer(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.mix(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def expert_tensors(hp: NemotronHParams) -> WeightTable:
    """The tensors of `experts`."""
    table = {
        "blk.{i}.ffn_gate_inp": Weight((hp.n_expert, hp.n_embd)),
        "blk.{i}.exp_probs_b": Weight((hp.n_expert,), suffix=".bias"),
        "blk.{i}.ffn_up_exps": Weight((hp.n_expert, hp.n_ff_expert, hp.n_latent)),
        "blk.{i}.ffn_down_exps": Weight((hp.n_expert, hp.n_latent, hp.n_ff_expert)),
        "blk.{i}.ffn_up_shexp": Weight((hp.n_ff_shared, hp.n_embd)),
        "blk.{i}.ffn_down_shexp": Weight((hp.n_embd, hp.n_ff_shared)),
    }
    if hp.n_latent != hp.n_embd:
        table["blk.{i}.ffn_latent_down"] = Weight((hp.n_latent, hp.n_embd))
        table["blk.{i}.ffn_latent_up"] = Weight((hp.n_embd, hp.n_latent))
    return table


def experts(g: Graph, h: Value, blk: Any, hp: NemotronHParams) -> Value:
    """Experts without a gate, of a projection of h in some models, and a shared one of h itself."""
    latent = hp.n_latent != hp.n_embd
    logits = g.linear(h, blk.ffn_gate_inp)
    choice = g.route(logits, hp.n_expert_used, scale=hp.expert_scale, bias=blk.exp_probs_b, **hp.routing)
    x = g.linear(h, blk.ffn_latent_down) if latent else h
    y = g.experts(x, choice, gate=None, up=blk.ffn_up_exps, down=blk.ffn_down_exps, activation="relu2")
    y = g.linear(y, blk.ffn_latent_up) if latent else y
    return y + g.linear(relu2(g, g.linear(h, blk.ffn_up_shexp)), blk.ffn_down_shexp)


class NemotronHMoe(NemotronH):
    """Nemotron 3 Nano, Super and 3.5 Lightning (https://arxiv.org/abs/2512.20848): Nemotron-H with experts."""

    name = "nemotron_h_moe"
    checkpoint = Checkpoint(
        classes=("NemotronHForCausalLM",),
        names=NAMES,
        keys={
            **KEYS,
            "feed_forward_length": of_kind("moe", "moe_intermediate_size"),
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_feed_forward_length": "moe_shared_expert_intermediate_size",
            "expert_weights_norm": "norm_topk_prob",
            "expert_weights_scale": lambda config: float(config["routed_scaling_factor"]),
            "expert_group_count": "n_group",
            "expert_group_used_count": "topk_group",
            "moe_latent_size": "moe_latent_size",
        },
        applies=lambda config: "moe" in mixers(config),
        tied=lambda config: False,
    )


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Nemotron, NemotronH, NemotronHMoe]
