"""The Mamba family: mamba (Mamba, FalconMamba), mamba2, jamba (recurrent and attention layers, and experts)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    layer_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import NO_STEP_LIMIT, Config, Keys, Names, in_groups, negative_exp, number
from realizar.arch.experts import by_router, expert_tensors
from realizar.arch.ssm import ScanSizes, mamba2, mamba2_tensors, scan_sizes


def scan_names(mixer: str) -> Names:
    """Names of a recurrent layer in checkpoints."""
    return {
        "blk.{i}.ssm_in": f"{mixer}.in_proj",
        "blk.{i}.ssm_conv1d": f"{mixer}.conv1d",
        "blk.{i}.ssm_x": f"{mixer}.x_proj",
        "blk.{i}.ssm_dt": f"{mixer}.dt_proj",
        "blk.{i}.ssm_a": (f"{mixer}.A_log", negative_exp),
        "blk.{i}.ssm_d": f"{mixer}.D",
        "blk.{i}.ssm_out": f"{mixer}.out_proj",
    }


NAMES: Names = {
    "token_embd": "embeddings|embedding",
    "output_norm": "norm_f",
    "blk.{i}.attn_norm": "layers.{i}.norm",
    **scan_names("layers.{i}.mixer"),
}
KEYS: Keys = {
    "context_length": lambda config: 1 << 20,  # it has none; llama.cpp's converter writes this
    "feed_forward_length": lambda config: 0,
    "attention.head_count": lambda config: 0,
    "attention.key_length": None,
    "attention.value_length": None,
    "attention.layer_norm_epsilon": None,
    "attention.layer_norm_rms_epsilon": number("layer_norm_epsilon", "rms_norm_eps"),
    "ssm.conv_kernel": ("conv_kernel", "d_conv"),
    "ssm.state_size": ("state_size", "d_state"),
}


def n_inner(config: Config) -> int:
    """Number of channels of the scan."""
    expand = config.get("mamba_expand") or config.get("expand", 2)
    return int(expand * config["hidden_size"])


def dt_rank(config: Config) -> int:
    """Rank of the projection to dt, by default n_embd / 16."""
    found = config.get("mamba_dt_rank") or config.get("time_step_rank", "auto")
    return -(config["hidden_size"] // -16) if found == "auto" else int(found)


def heads_kv(config: Config) -> list[int]:
    """KV heads of each layer of Jamba; 0 for recurrent layers."""
    period, offset = config["attn_layer_period"], config["attn_layer_offset"]
    n = config["num_key_value_heads"]
    return [n if i % period == offset else 0 for i in range(config["num_hidden_layers"])]


class MambaHParams(HParams):
    """The hyperparameters, with the sizes of the recurrence.

    Attributes
    ----------
    ssm : ScanSizes
    norms_dt_b_c : bool
        Whether dt, b and c are normalized, without weights (FalconMamba).
    """

    ssm: ScanSizes
    norms_dt_b_c: bool


class Mamba(Architecture):
    """Mamba (https://arxiv.org/abs/2312.00752) and FalconMamba (https://arxiv.org/abs/2410.05355).

    Each layer projects x to two branches: one goes through a causal convolution and a selective scan, whose dt, b and c
    depend on the token; the other gates the result.
    """

    name = "mamba"
    checkpoint = Checkpoint(
        classes=("MambaForCausalLM", "FalconMambaForCausalLM"),
        names=NAMES,
        keys={
            **KEYS,
            "ssm.inner_size": lambda config: config.get("intermediate_size") or n_inner(config),
            "ssm.time_step_rank": dt_rank,
            "ssm.dt_b_c_rms": lambda config: config.get("model_type") == "falcon_mamba",
        },
    )

    def hparams(self, md: ArchMetadata) -> MambaHParams:
        """The hyperparameters of this model, which has no heads, positions or feed-forward."""
        return MambaHParams(
            n_layer=md.layers(), n_embd=md.positive("embedding_length"), n_ff=0, n_vocab=md.n_vocab(),
            n_ctx_train=md.positive("context_length"), n_head=0, n_head_kv=0, head_dim=0, head_dim_v=0,
            norm_eps=self.norm_eps(md), rope_dims=0, rope_base=0.0, rope_scaling=RopeScaling(), window=0,
            ssm=scan_sizes(md), norms_dt_b_c=md.boolean("ssm.dt_b_c_rms", False),
        )  # fmt: skip

    def tensors(self, hp: MambaHParams) -> WeightTable:
        """A norm and a recurrence for each layer; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm"),
            **self.scan_tensors(hp),
        }

    def scan_tensors(self, hp: MambaHParams) -> WeightTable:
        """The tensors of the recurrence of a layer."""
        return {
            "blk.{i}.ssm_in": Weight((2 * hp.ssm.n_inner, hp.n_embd)),
            "blk.{i}.ssm_conv1d": Weight((hp.ssm.n_inner, hp.ssm.n_tap), bias=True),
            "blk.{i}.ssm_x": Weight((hp.ssm.dt_rank + 2 * hp.ssm.n_state, hp.ssm.n_inner)),
            "blk.{i}.ssm_dt": Weight((hp.ssm.n_inner, hp.ssm.dt_rank), bias=True),
            "blk.{i}.ssm_a": Weight((hp.ssm.n_inner, hp.ssm.n_state), suffix="", negative=True),
            "blk.{i}.ssm_d": Weight((hp.ssm.n_inner,), suffix=""),
            "blk.{i}.ssm_out": Weight((hp.n_embd, hp.ssm.n_inner)),
        }

    def norm_dt_b_c(self, g: Graph, parts: Sequence[Value], blk: Any, hp: MambaHParams) -> Sequence[Value]:
        """dt, b and c, normalized if the model does so."""
        return [g.rms_norm(part, None, eps=hp.norm_eps) for part in parts] if hp.norms_dt_b_c else parts

    def scan(self, g: Graph, h: Value, blk: Any, hp: MambaHParams, layer: int) -> Value:
        """The recurrence of one layer."""
        x, z = g.split(g.linear(h, blk.ssm_in), hp.ssm.n_inner, hp.ssm.n_inner)
        x = g.silu(g.causal_conv1d(x, blk.ssm_conv1d, g.state(layer, (hp.ssm.n_tap - 1, hp.ssm.n_inner), "conv")))
        parts = g.split(g.linear(x, blk.ssm_x), hp.ssm.dt_rank, hp.ssm.n_state, hp.ssm.n_state)
        dt, b, c = self.norm_dt_b_c(g, parts, blk, hp)
        state = g.state(layer, (hp.ssm.n_inner, hp.ssm.n_state), "scan")
        y = g.selective_scan(x, g.linear(dt, blk.ssm_dt), b, c, a=blk.ssm_a, d=blk.ssm_d, state=state)
        return g.linear(g.silu(z) * y, blk.ssm_out)

    def build(self, g: Graph, w: Weights, hp: MambaHParams) -> Value:
        """x += scan(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.scan(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Mamba2(Mamba):
    """Mamba 2 (https://arxiv.org/abs/2405.21060)."""

    name = "mamba2"
    checkpoint = Checkpoint(
        classes=("Mamba2ForCausalLM",),
        names={
            **NAMES,
            "blk.{i}.ssm_dt": "layers.{i}.mixer.dt_bias",
            "blk.{i}.ssm_norm": ("layers.{i}.mixer.norm", in_groups),
        },
        keys={
            **KEYS,
            "ssm.inner_size": n_inner,
            "ssm.time_step_rank": lambda config: n_inner(config) // config["head_dim"],
            "ssm.group_count": "n_groups",
        },
        only=NO_STEP_LIMIT,
    )

    def scan_tensors(self, hp: MambaHParams) -> WeightTable:
        """The tensors of the recurrence of a layer."""
        return mamba2_tensors(hp.n_embd, hp.ssm)

    def scan(self, g: Graph, h: Value, blk: Any, hp: MambaHParams, layer: int) -> Value:
        """The recurrence of one layer."""
        return mamba2(g, h, blk, hp.ssm, layer, hp.norm_eps)


class JambaHParams(MambaHParams):
    """Mamba's hyperparameters, and number and width of experts; a layer without KV heads is recurrent."""

    n_expert: int
    n_expert_used: int
    n_ff_expert: int


class Jamba(Mamba):
    """Jamba (https://arxiv.org/abs/2403.19887): recurrent layers, some attention layers without positions, experts.

    The KV heads of a layer in the metadata tell whether it is attention; the tensors tell whether it has experts.
    """

    name = "jamba"
    checkpoint = Checkpoint(
        classes=("JambaForCausalLM",),
        names={
            "output_norm": "final_layernorm",
            **scan_names("layers.{i}.mamba"),
            "blk.{i}.ssm_dt_norm": "layers.{i}.mamba.dt_layernorm",
            "blk.{i}.ssm_b_norm": "layers.{i}.mamba.b_layernorm",
            "blk.{i}.ssm_c_norm": "layers.{i}.mamba.c_layernorm",
            "blk.{i}.ffn_norm": "layers.{i}.pre_ff_layernorm",
            "blk.{i}.ffn_gate": "layers.{i}.feed_forward.gate_proj",
            "blk.{i}.ffn_up": "layers.{i}.feed_forward.up_proj",
            "blk.{i}.ffn_down": "layers.{i}.feed_forward.down_proj",
            "blk.{i}.ffn_gate_inp": "layers.{i}.feed_forward.router",
            "blk.{i}.ffn_gate_exps": "layers.{i}.feed_forward.experts.{e}.gate_proj",
            "blk.{i}.ffn_up_exps": "layers.{i}.feed_forward.experts.{e}.up_proj",
            "blk.{i}.ffn_down_exps": "layers.{i}.feed_forward.experts.{e}.down_proj",
        },
        keys={
            "attention.head_count_kv": heads_kv,
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.inner_size": n_inner,
            "ssm.state_size": "mamba_d_state",
            "ssm.time_step_rank": dt_rank,
        },
    )

    def hparams(self, md: ArchMetadata) -> JambaHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        n_head = md.positive("attention.head_count")
        head_dim = max(1, hp.n_embd // n_head)
        heads_kv = {"n_head_kv": md.per_layer("attention.head_count_kv")}
        hp = replace(
            hp, n_ff=md.positive("feed_forward_length"), n_head=n_head, n_head_kv=max(heads_kv["n_head_kv"]),
            head_dim=head_dim, head_dim_v=head_dim, by_layer=heads_kv,
        )  # fmt: skip
        return JambaHParams(
            **vars(hp), n_expert=md.integer("expert_count", 0),
            n_expert_used=md.integer("expert_used_count", 0), n_ff_expert=hp.n_ff,
        )  # fmt: skip

    def tensors(self, hp: Any) -> WeightTable:
        """Attention or a recurrence, then experts or a dense feed-forward."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **by_router(swiglu_tensors(hp.n_embd, hp.n_ff), expert_tensors(hp)),
        }
        for i in range(hp.n_layer):
            own = hp.layer(i)
            table.update(layer_tensors(i, qkv_tensors(own) if own.n_head_kv else self.scan_tensors(own)))
        return table

    def scan_tensors(self, hp: MambaHParams) -> WeightTable:
        """Mamba's tensors, and norms of dt, b and c."""
        return {
            **super().scan_tensors(hp),
            "blk.{i}.ssm_dt_norm": Weight((hp.ssm.dt_rank,)),
            "blk.{i}.ssm_b_norm": Weight((hp.ssm.n_state,)),
            "blk.{i}.ssm_c_norm": Weight((hp.ssm.n_state,)),
        }

    def norm_dt_b_c(self, g: Graph, parts: Sequence[Value], blk: Any, hp: MambaHParams) -> Sequence[Value]:
        """dt, b and c, normalized with weights."""
        norms = (blk.ssm_dt_norm, blk.ssm_b_norm, blk.ssm_c_norm)
        return [g.rms_norm(part, norm, eps=hp.norm_eps) for part, norm in zip(parts, norms, strict=True)]

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """x += scan(norm(x)) or attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h, own = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), hp.layer(i)
            if own.n_head_kv:
                q, k, v = qkv(g, h, blk, own)
                x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            else:
                x = x + self.scan(g, h, blk, hp, i)
            x = x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: JambaHParams) -> Value:
        """A dense feed-forward, or experts weighted by the softmax over all of them."""
        if blk.ffn_gate_inp is None:
            return swiglu_ffn(g, h, blk)
        choice = g.route(g.linear(h, blk.ffn_gate_inp), hp.n_expert_used)
        return g.experts(h, choice, gate=blk.ffn_gate_exps, up=blk.ffn_up_exps, down=blk.ffn_down_exps)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Mamba, Mamba2, Jamba]
