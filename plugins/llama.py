"""Llama and its variants: llama (Llama, Mistral, Mixtral), mistral3, smollm3, olmo2, olmoe, stablelm and starcoder2."""

import math
from collections.abc import Sequence
from dataclasses import replace

from realizar.arch import (
    LAYER_NORM_EPS,
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
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rope_factors,
    rope_tensors,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
    wide_normed_qkv,
    wide_normed_qkv_tensors,
)
from realizar.arch.checkpoint import GELU_TANH, MIXTRAL_EXPERTS, PERMUTED, Config, Values, of_text_model, windows
from realizar.arch.experts import (
    ExpertHParams,
    RoutedHParams,
    expert_ffn,
    expert_hparams,
    expert_tensors,
    routed_ffn,
    routed_hparams,
    routed_tensors,
)
from realizar.arch.rope_checkpoint import quarter_rope_dims, rope_parameters, whole_head, yarn_factor


class Llama(Architecture):
    """Llama 2 and 3, Mistral, Mixtral, SmolLM2 (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783).

    The converter permutes the rows of q and k so that rotary pairs are adjacent ("norm"). Llama 3's frequency factors
    are the tensor `rope_freqs`, longrope's two tensors; linear and YaRN scaling are metadata. Mixtral has a mixture of
    experts as feed-forward (https://arxiv.org/abs/2401.04088).
    """

    name = "llama"
    checkpoint = Checkpoint(
        classes=(
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "MixtralForCausalLM",
            "Idefics3ForConditionalGeneration",
            "SmolVLMForConditionalGeneration",
            "Mistral3ForConditionalGeneration",
            "LlavaForConditionalGeneration",
            "VoxtralForConditionalGeneration",
        ),
        names={**PERMUTED, **MIXTRAL_EXPERTS},
        keys={"rope.dimension_count": whole_head, "attention.sliding_window": "sliding_window"},
        applies=lambda config: (
            "draft_vocab_size" not in config and config.get("model_type") not in ("ministral3", "qwen2")
        ),
    )

    def hparams(self, md: ArchMetadata) -> HParams:
        """The hyperparameters of this model, and of its experts if it has any."""
        hp = super().hparams(md)
        return expert_hparams(hp, md) if md.integer("expert_count", 0) else hp

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with optional biases; SwiGLU or experts; the output may be tied to the embedding."""
        return {**llama_tensors(hp), **rope_tensors(hp)}

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm", rope_factors(w, hp))
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            experts = isinstance(hp, ExpertHParams)
            x = x + (expert_ffn(g, h, blk, hp, normalize=True) if experts else swiglu_ffn(g, h, blk))
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def with_factor(md: ArchMetadata, scaling: RopeScaling) -> RopeScaling:
    """YaRN's factor on cos and sin if the file has no key for it, but a multiplier m.

    (1 + 0.1 ln s) / (1 + 0.1 m ln s), as llama.cpp.
    """
    multiplier = md.number("rope.scaling.yarn_log_multiplier", 0.0)
    if scaling.kind != "yarn" or not multiplier or scaling.yarn_attn_factor is not None:
        return scaling
    stretch = 0.1 * math.log(max(scaling.factor, 1.0))
    return replace(scaling, yarn_attn_factor=(1.0 + stretch) / (1.0 + multiplier * stretch))


def usual_factor(config: Config, stretch: float) -> float:
    """YaRN's factor on cos and sin in files without a key for it, as `with_factor` computes it."""
    return (1.0 + stretch) / (1.0 + (rope_parameters(config).get("mscale_all_dim") or 0.0) * stretch)


class Mistral3HParams(RoutedHParams):
    """The hyperparameters, with the factor of `Graph.position_scale` for queries; 0 if there is none."""

    temperature: float


class Mistral3(Architecture):
    """Ministral 3 and Devstral 2 (https://arxiv.org/abs/2601.08584): queries scaled by position in long contexts."""

    name = "mistral3"
    checkpoint = Checkpoint(
        classes=("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"),
        names=PERMUTED,
        keys={
            "rope.dimension_count": whole_head,
            "rope.scaling.yarn_log_multiplier": lambda config: rope_parameters(config).get("mscale_all_dim"),
            "rope.scaling.yarn_attn_factor": yarn_factor(usual_factor),
            "attention.temperature_scale": lambda config: rope_parameters(config).get("llama_4_scaling_beta"),
        },
        applies=of_text_model("ministral3"),
    )

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """YaRN with the factor that follows from the multiplier."""
        return with_factor(md, super().rope_scaling(md))

    def hparams(self, md: ArchMetadata) -> Mistral3HParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, normalize=True)
        return Mistral3HParams(**vars(hp), temperature=md.between("attention.temperature_scale", 0.0, 1e3, 0.0))

    def tensors(self, hp: Mistral3HParams) -> WeightTable:
        """As Llama."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp, bias=None),
            **rope_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: Mistral3HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        q_scale = g.position_scale(factor=hp.temperature, period=hp.rope_scaling.n_ctx_orig) if hp.temperature else None
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + gqa(g, h, blk, hp, i, "norm", rope_factors(w, hp), q_scale)
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def llama_tensors(hp: HParams) -> WeightTable:
    """The tensors that Llama and SmolLM3 share."""
    return {
        **embedding_tensors(hp.n_vocab, hp.n_embd),
        **gqa_tensors(hp, bias=None, output_bias=None),
        **norm_tensors(hp.n_embd, "ffn_norm"),
        **(expert_tensors(hp) if isinstance(hp, ExpertHParams) else swiglu_tensors(hp.n_embd, hp.n_ff, bias=None)),
    }


NO_ROPE_PERIOD = 4  # of SmolLM3, not in the metadata; llama.cpp uses 4 too


def every_fourth_without_rope(config: Config) -> Values:
    """The layers with positions: a flag for each, or only a period."""
    flags = [int((i + 1) % NO_ROPE_PERIOD != 0) for i in range(config["num_hidden_layers"])]
    if config.get("no_rope_layers") is None:
        return {"no_rope_layer_interval": (NO_ROPE_PERIOD,)}
    return {"no_rope_layers": (flags,)}


class SmolLM3(Architecture):
    """SmolLM3 (https://huggingface.co/blog/smollm3): Llama, but no rotary embedding in every fourth layer."""

    name = "smollm3"
    checkpoint = Checkpoint(
        ("SmolLM3ForCausalLM",), PERMUTED, {"rope.dimension_count": whole_head}, only=every_fourth_without_rope
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """As Llama."""
        return {**llama_tensors(hp), **rope_tensors(hp)}

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)), q and k rotated or not; x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            if (i + 1) % NO_ROPE_PERIOD:
                q, k = rotate(g, hp, "norm", q, k, rope_factors(w, hp))
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=hp.window)
            x = x + g.linear(a, blk.attn_output)
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class OlmoHParams(HParams):
    """The hyperparameters of OLMo: its sliding-window layers."""

    windows: Windows


class Olmo2(Architecture):
    """OLMo 2 and 3 (https://arxiv.org/abs/2501.00656): norms after attention and feed-forward instead of before.

    q and k are normalized over their whole width. In OLMo 3, three layers of four have sliding-window attention,
    without rope scaling.
    """

    name = "olmo2"
    checkpoint = Checkpoint(
        classes=("Olmo2ForCausalLM", "Olmo3ForCausalLM"),
        names={
            "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm",
            "blk.{i}.post_ffw_norm": "layers.{i}.post_feedforward_layernorm",
        },
        keys={"attention.sliding_window": "sliding_window", "attention.sliding_window_pattern": windows},
    )

    def hparams(self, md: ArchMetadata) -> OlmoHParams:
        """The hyperparameters of this model."""
        windows = self.windows(md, 4, rope_scaling=RopeScaling())
        return OlmoHParams(**vars(super().hparams(md)), windows=windows)

    def tensors(self, hp: OlmoHParams) -> WeightTable:
        """Separate q, k, v with their norms; SwiGLU."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **wide_normed_qkv_tensors(hp),
            **norm_tensors(hp.n_embd, "post_attention_norm", "post_ffw_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: OlmoHParams) -> Value:
        """x += norm(attention(x)); x += norm(ffn(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = wide_normed_qkv(g, x, blk, hp)
            q, k = rotate(g, hp.windows.rotation(hp, i), "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=hp.windows[i])
            a = g.linear(a, blk.attn_output)
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
            x = x + g.rms_norm(swiglu_ffn(g, x, blk), blk.post_ffw_norm, eps=hp.norm_eps)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class OlmoE(Architecture):
    """OLMoE (https://arxiv.org/abs/2409.02060): pre-norms, norms over the whole width of q and k, and experts.

    The weights of the chosen experts are not normalized.
    """

    name = "olmoe"
    checkpoint = Checkpoint(("OlmoeForCausalLM",), only={"norm_topk_prob": (False,)})

    def hparams(self, md: ArchMetadata) -> ExpertHParams:
        """The hyperparameters of this model."""
        return expert_hparams(super().hparams(md), md)

    def tensors(self, hp: ExpertHParams) -> WeightTable:
        """Separate q, k, v with their norms; experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **wide_normed_qkv_tensors(hp),
            **expert_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: ExpertHParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = wide_normed_qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "neox", q, k)
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            x = x + expert_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class StableLM(Architecture):
    """StableLM 1 to 3 (https://arxiv.org/abs/2402.17834): Llama with layer norms and partial rotary embedding.

    StableLM 2 12B normalizes each head of q and k with its own weights, and has parallel attention and feed-forward
    after one norm.
    """

    name = "stablelm"
    checkpoint = Checkpoint(
        classes=("StableLmForCausalLM", "StableLMEpochForCausalLM"),
        names={
            "blk.{i}.attn_q_norm": "layers.{i}.self_attn.q_layernorm.norms.{e}",
            "blk.{i}.attn_k_norm": "layers.{i}.self_attn.k_layernorm.norms.{e}",
        },
        keys={"rope.dimension_count": quarter_rope_dims, "use_parallel_residual": "use_parallel_residual"},
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases on q, k, v in some models; without `ffn_norm` the layer is parallel."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", bias=True),
            **qkv_tensors(hp, bias=None),
            "blk.{i}.attn_q_norm": Weight((hp.n_head, hp.head_dim), optional=True),
            "blk.{i}.attn_k_norm": Weight((hp.n_head_kv, hp.head_dim), optional=True),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,), bias=None, optional=True),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)); or both of the same norm(x)."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            q, k, v = qkv(g, h, blk, hp)
            if blk.attn_q_norm is not None:
                q = g.layer_norm(q, blk.attn_q_norm, eps=hp.norm_eps)
            if blk.attn_k_norm is not None:
                k = g.layer_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
            q, k = rotate(g, hp, "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=hp.window)
            x = x + g.linear(a, blk.attn_output)
            x = x + swiglu_ffn(g, h if blk.ffn_norm is None else g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class StarCoder2(Architecture):
    """StarCoder 2 (https://arxiv.org/abs/2402.19173): layer norms, biases, and a plain feed-forward with gelu."""

    name = "starcoder2"
    checkpoint = Checkpoint(
        classes=("Starcoder2ForCausalLM",),
        names={"blk.{i}.ffn_up": "layers.{i}.mlp.c_fc", "blk.{i}.ffn_down": "layers.{i}.mlp.c_proj"},
        keys={"attention.sliding_window": "sliding_window"},
        only={"hidden_act": GELU_TANH},
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases everywhere; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, g.gelu)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Llama, Mistral3, SmolLM3, Olmo2, OlmoE, StableLM, StarCoder2]
