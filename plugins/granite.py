"""IBM's Granite family: granite, granitemoe, granite_swa, and granitehybrid with recurrent layers (also Bamba)."""

from collections.abc import Sequence
from typing import ClassVar

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
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
    rope_factors,
    rope_tensors,
    rotate,
)
from realizar.arch.checkpoint import (
    NO_STEP_LIMIT,
    PERMUTED,
    Config,
    Keys,
    Names,
    in_groups,
    negative_exp,
    number,
    windows,
)
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import half_rope_dims, rope_parameters, whole_head
from realizar.arch.ssm import ScanSizes, mamba2, mamba2_tensors, scan_sizes

KEYS: Keys = {
    "rope.dimension_count": whole_head,
    "attention.scale": number("attention_multiplier"),
    "embedding_scale": number("embedding_multiplier"),
    "residual_scale": number("residual_multiplier"),
    "logit_scale": number("logits_scaling"),
}
EXPERT_NAMES: Names = {
    "blk.{i}.ffn_gate_inp": "layers.{i}.block_sparse_moe.router.layer|layers.{i}.block_sparse_moe.router",
    "blk.{i}.ffn_gate_up_exps": "layers.{i}.block_sparse_moe.input_linear|"
    "layers.{i}.block_sparse_moe.experts.gate_up_proj",
    "blk.{i}.ffn_down_exps": "layers.{i}.block_sparse_moe.output_linear|layers.{i}.block_sparse_moe.experts.down_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.shared_mlp.input_linear",
    "blk.{i}.ffn_down_shexp": "layers.{i}.shared_mlp.output_linear",
}


class GraniteHParams(RoutedHParams):
    """The hyperparameters of Granite.

    Attributes
    ----------
    embedding_scale, residual_scale, attention_scale, logit_scale : float
        The four multipliers; logits are divided by the last one.
    rotated : tuple[bool, ...]
        For each layer, whether q and k are rotated.
    windows : tuple[int, ...]
        Sliding-window size of each layer; 0 for full attention.
    ssm : ScanSizes | None
        Sizes of the recurrent layers, which are those without KV heads.
    """

    embedding_scale: float
    residual_scale: float
    attention_scale: float
    logit_scale: float
    rotated: tuple[bool, ...]
    windows: tuple[int, ...]
    ssm: ScanSizes | None


class Granite(Architecture):
    """Granite 3 and 4 (https://arxiv.org/abs/2408.13359): Llama with multipliers of maximal update parametrization."""

    name = "granite"
    has_sinks: ClassVar[bool] = False
    checkpoint = Checkpoint(("GraniteForCausalLM",), PERMUTED, KEYS)

    def hparams(self, md: ArchMetadata) -> GraniteHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, normalize=True)
        return GraniteHParams(
            **vars(hp),
            embedding_scale=md.between("embedding_scale", 1e-6, 1e6, 1.0),
            residual_scale=md.between("residual_scale", 1e-6, 1e6, 1.0),
            attention_scale=md.between("attention.scale", 1e-6, 1e6, hp.head_dim**-0.5),
            logit_scale=md.between("logit_scale", 1e-6, 1e6, 1.0),
            rotated=self.rotated(md),
            windows=self.layer_windows(md),
            ssm=self.ssm(md),
        )

    def rotated(self, md: ArchMetadata) -> tuple[bool, ...]:
        """Whether q and k are rotated: in all layers or none."""
        return (md.boolean("rope.scaling.finetuned", True),) * md.layers()

    def layer_windows(self, md: ArchMetadata) -> tuple[int, ...]:
        """Sliding-window sizes; here the same in all layers."""
        return (self.window(md),) * md.layers()

    def ssm(self, md: ArchMetadata) -> ScanSizes | None:
        """None, since no layer is recurrent."""
        return None

    def tensors(self, hp: GraniteHParams) -> WeightTable:
        """Attention or a recurrence, then SwiGLU or experts; no frequency factors without rotary embedding."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **routed_tensors(hp, bias=None),
            **(rope_tensors(hp) if any(hp.rotated) else {}),
            **({"blk.{i}.attn_sinks": Weight((hp.n_head,))} if self.has_sinks else {}),
        }
        for i in range(hp.n_layer):
            own = hp.layer(i)
            if hp.ssm is not None and not own.n_head_kv:
                table.update(layer_tensors(i, mamba2_tensors(hp.n_embd, hp.ssm)))
            else:
                table.update(layer_tensors(i, qkv_tensors(own, bias=None, output_bias=None)))
        return table

    def ignored(self, md: ArchMetadata, hp: GraniteHParams) -> Sequence[str]:
        """Frequency factors too, if the model has no rotary embedding."""
        return (*super().ignored(md, hp), *(() if any(hp.rotated) else ("rope_*",)))

    def attention(self, g: Graph, h: Value, w: Weights, hp: GraniteHParams, layer: int) -> Value:
        """Grouped-query attention of one layer, with a window, sinks and rotary embedding as the layer has them."""
        blk = w.blk[layer]
        q, k, v = qkv(g, h, blk, hp.layer(layer))
        if hp.rotated[layer]:
            q, k = rotate(g, hp, "norm", q, k, rope_factors(w, hp))
        sinks = blk.attn_sinks if self.has_sinks else None
        a = g.attention(q, k, v, layer=layer, scale=hp.attention_scale, window=hp.windows[layer], sinks=sinks)
        return g.linear(a, blk.attn_output)

    def build(self, g: Graph, w: Weights, hp: GraniteHParams) -> Value:
        """x += r * attention(norm(x)), or r * scan(norm(x)); x += r * ffn(norm(x))."""
        x = g.embed(w.token_embd) * hp.embedding_scale
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            if hp.ssm is not None and not hp.layer(i).n_head_kv:
                y = mamba2(g, h, blk, hp.ssm, i, hp.norm_eps)
            else:
                y = self.attention(g, h, w, hp, i)
            x = x + y * hp.residual_scale
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i) * hp.residual_scale
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output) * (1.0 / hp.logit_scale)


class GraniteMoe(Granite):
    """Granite 3 MoE (1B-A400M, 3B-A800M), with a shared expert in some models."""

    name = "granitemoe"
    checkpoint = Checkpoint(
        classes=("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"),
        names={**PERMUTED, **EXPERT_NAMES},
        keys={**KEYS, "expert_shared_feed_forward_length": "shared_intermediate_size"},
    )


def rope_pattern(config: Config) -> list[bool] | None:
    """Which layers have positions, if not all: those whose rotary base in "layer_rope_theta" is not 0."""
    flags = [bool(flag) for flag in config.get("layer_rope_theta") or config.get("no_rope_layers") or ()]
    return None if all(flags) else flags


def rope_base(config: Config) -> float:
    """The rotary base, which all layers with positions must share.

    Raises
    ------
    ValueError
        If they have several.
    """
    usual = float(rope_parameters(config).get("rope_theta", 10000.0))
    found = {float(base) for base in config.get("layer_rope_theta") or () if base} or {usual}
    if len(found) > 1:
        raise ValueError(f"layer_rope_theta has several rotary bases: {sorted(found)}")
    return found.pop()


class GraniteSWA(Granite):
    """Granite with attention sinks and sliding windows; some layers may be without positions."""

    name = "granite_swa"
    has_sinks = True
    checkpoint = Checkpoint(
        classes=("GraniteSWAForCausalLM", "GraniteMoeSWAForCausalLM"),
        names={**PERMUTED, **EXPERT_NAMES, "blk.{i}.attn_sinks": "layers.{i}.self_attn.sinks"},
        keys={
            **KEYS,
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": windows,
            "attention.rope_pattern": rope_pattern,
            "rope.freq_base": rope_base,
            "expert_shared_feed_forward_length": "shared_intermediate_size",
        },
    )

    def rotated(self, md: ArchMetadata) -> tuple[bool, ...]:
        """Whether q and k are rotated in each layer; without the key in all layers."""
        return md.flags("attention.rope_pattern", True)

    def layer_windows(self, md: ArchMetadata) -> tuple[int, ...]:
        """Sliding windows in the layers that the pattern of the file names."""
        return tuple(self.window(md) if narrow else 0 for narrow in md.flags("attention.sliding_window_pattern"))


def is_attention(config: Config) -> list[bool]:
    """Return which layers have attention."""
    kinds = config.get("layer_types") or config.get("layers_block_type")
    if kinds:
        return [kind in ("attention", "full_attention") for kind in kinds]
    return [i in (config.get("attn_layer_indices") or ()) for i in range(config["num_hidden_layers"])]


def heads_kv(config: Config) -> list[int]:
    """KV heads of each layer; 0 for recurrent layers."""
    return [config["num_key_value_heads"] if attends else 0 for attends in is_attention(config)]


def is_bamba(config: Config) -> bool:
    """Whether a checkpoint is a Bamba, whose attention has positions."""
    return bool(config.get("model_type") == "bamba")


def n_ff(config: Config) -> int:
    """Feed-forward width; without experts, config.json has it as that of the shared expert."""
    dense = not config.get("num_local_experts") and "shared_intermediate_size" in config
    return int(config["shared_intermediate_size" if dense else "intermediate_size"])


class GraniteHybrid(Granite):
    """Granite 4 H (https://huggingface.co/ibm-granite/granite-4.0-h-small) and Bamba: most layers are Mamba 2.

    Granite's attention layers have no positions; those of Bamba rotate half of a head.
    """

    name = "granitehybrid"
    varies = ("n_head_kv",)
    checkpoint = Checkpoint(
        classes=("GraniteMoeHybridForCausalLM", "BambaForCausalLM"),
        names={
            **PERMUTED,
            **EXPERT_NAMES,
            "output_norm": "norm|final_layernorm",
            "blk.{i}.ffn_norm": "layers.{i}.post_attention_layernorm|layers.{i}.pre_ff_layernorm",
            "blk.{i}.ffn_gate": "layers.{i}.feed_forward.gate_proj",
            "blk.{i}.ffn_up": "layers.{i}.feed_forward.up_proj|layers.{i}.shared_mlp.input_linear",
            "blk.{i}.ffn_down": "layers.{i}.feed_forward.down_proj|layers.{i}.shared_mlp.output_linear",
            "blk.{i}.ssm_in": "layers.{i}.mamba.in_proj",
            "blk.{i}.ssm_conv1d": "layers.{i}.mamba.conv1d",
            "blk.{i}.ssm_dt": "layers.{i}.mamba.dt_bias",
            "blk.{i}.ssm_a": ("layers.{i}.mamba.A_log", negative_exp),
            "blk.{i}.ssm_d": "layers.{i}.mamba.D",
            "blk.{i}.ssm_norm": ("layers.{i}.mamba.norm", in_groups),
            "blk.{i}.ssm_out": "layers.{i}.mamba.out_proj",
        },
        keys={
            **KEYS,
            "rope.dimension_count": lambda config: (half_rope_dims if is_bamba(config) else whole_head)(config),
            "feed_forward_length": n_ff,
            "attention.head_count_kv": heads_kv,
            "expert_shared_feed_forward_length": "shared_intermediate_size",
            "rope.scaling.finetuned": lambda config: (
                is_bamba(config) or config.get("position_embedding_type") == "rope"
            ),
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.state_size": "mamba_d_state",
            "ssm.group_count": "mamba_n_groups",
            "ssm.inner_size": lambda config: int(config["mamba_expand"] * config["hidden_size"]),
            "ssm.time_step_rank": "mamba_n_heads",
        },
        only=NO_STEP_LIMIT,
    )

    def ssm(self, md: ArchMetadata) -> ScanSizes | None:
        """The sizes of the recurrent layers."""
        return scan_sizes(md)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Granite, GraniteMoe, GraniteSWA, GraniteHybrid]
