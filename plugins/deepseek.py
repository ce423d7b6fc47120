"""DeepSeek's models and those of its design: deepseek, deepseek2, deepseek32, glm-dsa (GLM-5) and mistral4."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    RopeScaling,
    Value,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, norm_tensors
from realizar.arch.checkpoint import PERMUTED, ROUTED_KEYS, ROUTED_NAMES, Config, Keys, Names
from realizar.arch.drafts import draft, draft_tensors
from realizar.arch.experts import RoutedHParams, routed_expert_tensors, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.indexer import IndexerHParams, indexer, indexer_hparams, indexer_tensors
from realizar.arch.mla import MLA_KEYS, MLA_NAMES, compressed_queries, mla, mla_tensors
from realizar.arch.rope_checkpoint import rope_parameters, yarn_factor


class DeepSeek(Architecture):
    """DeepSeekMoE 16B (https://arxiv.org/abs/2401.06066): Llama's attention; dense layers, then experts.

    The weights of the chosen experts are not normalized; shared ones are beside them.
    """

    name = "deepseek"
    checkpoint = Checkpoint(("DeepseekForCausalLM",), {**PERMUTED, **ROUTED_NAMES}, ROUTED_KEYS)

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md)

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Separate q, k, v; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm")
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class DeepSeek2HParams(RoutedHParams):
    """The hyperparameters of experts, and:

    Attributes
    ----------
    n_nope, n_value : int
        Dimensions of a head without rotary embedding, and of its value.
    n_q_latent, n_latent : int
        Dimensions of compressed queries (0: not compressed), and of the compressed keys and values together.
    fused_kv : bool
        Whether the up-projections of keys and values are one tensor, as in files converted before April 2025.
    qk_scale : float
        Scale of attention scores.
    temperature, scale_period : float, int
        Factor and period of the scale of queries by position (`Graph.position_scale`); a factor of 0: no scale.
    """

    n_nope: int
    n_value: int
    n_q_latent: int
    n_latent: int
    fused_kv: bool
    qk_scale: float
    temperature: float
    scale_period: int


def gating(config: Config) -> int:
    """llama.cpp's number for softmax or sigmoid gating; config.json does not always have it."""
    names = "".join(config.get("architectures", ()))
    default = "sigmoid" if any(name in names for name in ("V3", "Glm4MoeLite", "GlmMoeDsa")) else "softmax"
    return 2 if config.get("scoring_func", default) == "sigmoid" else 1


def usual_factor(config: Config, stretch: float) -> float:
    """YaRN's factor on cos and sin in files without a key for it: none, if scores have one."""
    return 1.0 if rope_parameters(config).get("mscale_all_dim") else 1.0 + stretch


def log_multiplier(config: Config) -> float | None:
    """YaRN's factor for scores, a tenth of that in config.json, as llama.cpp's converter writes it."""
    found = rope_parameters(config).get("mscale_all_dim")
    return None if found is None else 0.1 * float(found)


NAMES: Names = {
    **MLA_NAMES,
    **ROUTED_NAMES,
}
KEYS: Keys = {
    "attention.head_count_kv": lambda config: 1,  # the latent, which all heads share
    **MLA_KEYS,
    "rope.scaling.yarn_log_multiplier": log_multiplier,
    "rope.scaling.yarn_attn_factor": yarn_factor(usual_factor),
    **ROUTED_KEYS,
    "expert_gating_func": gating,
}


ONLY = {"rope_interleave": (True,), "moe_layer_freq": (1,)}


class DeepSeek2(Architecture):
    """DeepSeek V2 (https://arxiv.org/abs/2405.04434) and V3 (https://arxiv.org/abs/2412.19437).

    Multi-head latent attention (MLA): keys and values of all heads are projections of one latent vector; the KV cache
    has only that vector and one rotated key. The up-projections are absorbed into query and output, so that the latent
    vector is both key and value.
    """

    name = "deepseek2"
    gating: ClassVar[str] = "softmax"  # of experts, in files without the key
    checkpoint = Checkpoint(
        classes=("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM"),
        names=NAMES,
        keys=KEYS,
        only=ONLY,
    )

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """YaRN: if the file has a factor for scores, cos and sin get none, unless it has one for them, too."""
        scaling = super().rope_scaling(md)
        has_multiplier = md.number("rope.scaling.yarn_log_multiplier", 0.0) != 0
        if scaling.kind != "yarn" or not has_multiplier or scaling.yarn_attn_factor is not None:
            return scaling
        return replace(scaling, yarn_attn_factor=1.0)

    def hparams(self, md: ArchMetadata) -> DeepSeek2HParams:
        """The hyperparameters; head sizes are those of uncompressed keys and values."""
        hp = super().hparams(md)
        head_dim = md.positive("attention.key_length_mla", hp.head_dim)
        # Early files of GLM-4.7-Flash lack the gating of experts; llama.cpp recognizes them by these numbers.
        glm_flash = hp.n_layer in (47, 48) and hp.n_vocab == 154880
        return DeepSeek2HParams(
            **vars(routed_hparams(hp, md, "sigmoid" if glm_flash else self.gating)), n_nope=head_dim - hp.rope_dims,
            n_value=md.positive("attention.value_length_mla", hp.head_dim_v),
            n_q_latent=md.integer("attention.q_lora_rank", 0), n_latent=md.positive("attention.kv_lora_rank"),
            fused_kv=not md.integer("attention.key_length_mla", 0),
            qk_scale=self.qk_scale(md, hp.rope_scaling, head_dim),
            temperature=md.between("attention.temperature_scale", 0.0, 1e3, 0.0),
            scale_period=md.positive("attention.temperature_length", hp.rope_scaling.n_ctx_orig),
        )  # fmt: skip

    def qk_scale(self, md: ArchMetadata, scaling: RopeScaling, head_dim: int) -> float:
        """1 / sqrt(head_dim), times the square of YaRN's factor for scores, as in transformers.

        A file without that factor has the other one, on cos and sin (`rope_scaling`).
        """
        multiplier = md.number("rope.scaling.yarn_log_multiplier", 0.0)
        if scaling.kind != "yarn" or multiplier == 0:
            return 1.0 / math.sqrt(head_dim)
        factor: float = scaling.attn_factor * (1.0 + multiplier * math.log(max(scaling.factor, 1.0)))
        return factor * factor / math.sqrt(head_dim)

    def tensors(self, hp: DeepSeek2HParams) -> WeightTable:
        """Multi-head latent attention; dense feed-forwards, then experts."""
        attention = {**norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"), **mla_tensors(hp)}
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **attention,
            **routed_tensors(hp),
            **draft_tensors(hp, attention, routed_expert_tensors(hp)),
        }

    def attention(self, g: Graph, h: Value, blk: Any, hp: DeepSeek2HParams, layer: int, q_scale: Value | None) -> Value:
        """Multi-head latent attention with rotary embedding."""
        rope = {"style": "norm", "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling}
        return g.linear(g.flatten(mla(g, h, blk, hp, layer, rope, q_scale)), blk.attn_output)

    def layer(self, g: Graph, x: Value, blk: Any, hp: DeepSeek2HParams, i: int, q_scale: Value | None = None) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, q_scale)
        return x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)

    def q_scale(self, g: Graph, hp: DeepSeek2HParams) -> Value | None:
        """The scale of queries by position, if the model has one."""
        return g.position_scale(factor=hp.temperature, period=hp.scale_period) if hp.temperature else None

    def build(self, g: Graph, w: Weights, hp: DeepSeek2HParams) -> Value:
        """All layers, then the norm and the output matrix."""
        q_scale = self.q_scale(g, hp)
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i, q_scale)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def draft(self, g: Graph, w: Weights, hp: DeepSeek2HParams) -> Mapping[str, Value] | None:
        """The draft block of DeepSeek V3 and GLM-4.7-Flash, which has experts."""
        return draft(g, w, hp, partial(self.layer, q_scale=self.q_scale(g, hp)))


class Mistral4(DeepSeek2):
    """Mistral Small 4 (https://huggingface.co/mistralai/Mistral-Small-4-119B-2603): softmax routing."""

    name = "mistral4"
    checkpoint = Checkpoint(
        classes=("Mistral4ForCausalLM",),
        names={
            **NAMES,
            "blk.{i}.ffn_gate_up_exps": "layers.{i}.mlp.experts.gate_up_proj",
            "blk.{i}.ffn_down_exps": "layers.{i}.mlp.experts.down_proj",
        },
        keys={
            **KEYS,
            "attention.temperature_scale": lambda config: rope_parameters(config).get("llama_4_scaling_beta"),
        },
        only=ONLY,
    )

    def hparams(self, md: ArchMetadata) -> DeepSeek2HParams:
        """The hyperparameters; a group of experts counts as much as its best two, as in DeepSeek V3."""
        hp = super().hparams(md)
        return replace(hp, routing={**hp.routing, "n_group_best": 2}) if hp.n_expert else hp


class SparseHParams(DeepSeek2HParams):
    """The hyperparameters of DeepSeek V2 and V3, and `indexer`, those of its indexer."""

    indexer: IndexerHParams


INDEXER_NAMES: Names = {
    "blk.{i}.indexer.attn_q_b": "layers.{i}.self_attn.indexer.wq_b",
    "blk.{i}.indexer.attn_k": "layers.{i}.self_attn.indexer.wk",
    "blk.{i}.indexer.k_norm": "layers.{i}.self_attn.indexer.k_norm",
    "blk.{i}.indexer.proj": "layers.{i}.self_attn.indexer.weights_proj",
}
INDEXER_KEYS: Keys = {
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
}


class DeepSeek32(DeepSeek2):
    """DeepSeek V3.2 (https://arxiv.org/abs/2512.02556): V3 with sparse attention.

    A small indexer with keys of its own chooses the keys that a query attends to. Its rotary embedding pairs the halves
    of the rotated elements, that of the attention neighbours.
    """

    name = "deepseek32"
    gating = "sigmoid"
    indexer_rope: ClassVar[str] = "neox"
    checkpoint = Checkpoint(
        classes=("DeepseekV32ForCausalLM",), names={**NAMES, **INDEXER_NAMES}, keys={**KEYS, **INDEXER_KEYS}
    )

    def full_layers(self, md: ArchMetadata) -> tuple[bool, ...]:
        """Which layers choose keys, in files that do not say so: all."""
        return (True,) * md.layers()

    def hparams(self, md: ArchMetadata) -> SparseHParams:
        """The hyperparameters, with those of the indexer."""
        return SparseHParams(**vars(super().hparams(md)), indexer=indexer_hparams(md, self.full_layers(md)))

    def tensors(self, hp: Any) -> WeightTable:
        """Those of DeepSeek V3, and the indexers."""
        own = replace(hp.indexer, full=(*hp.indexer.full, hp.has_draft))
        return {**super().tensors(hp), **indexer_tensors(hp.n_embd, hp.n_q_latent, own)}

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """All layers, then the norm and the output matrix; some layers share the keys that one before them chose."""
        x, chosen = g.embed(w.token_embd), None
        for i, blk in enumerate(w.blk):
            x, chosen = self.sparse_layer(g, x, blk, hp, i, None if hp.indexer.full[i] else chosen)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def sparse_layer(
        self, g: Graph, x: Value, blk: Any, hp: Any, i: int, chosen: Value | None = None
    ) -> tuple[Value, Value]:
        """x += attention(norm(x), chosen keys), which are chosen if there are none; x += ffn(norm(x)) or experts."""
        rope = {"style": "norm", "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling}
        h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
        latent = compressed_queries(g, h, blk, hp)
        if chosen is None:
            chosen = indexer(g, h, latent, blk, hp.indexer, i, {**rope, "style": self.indexer_rope})
        a = mla(g, h, blk, hp, i, rope, q_latent=latent, chosen=chosen)
        x = x + g.linear(g.flatten(a), blk.attn_output)
        return x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i), chosen

    def draft(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value] | None:
        """The draft block, with an indexer of its own, as in vLLM (deepseek_mtp.py); llama.cpp attends to all keys."""
        return draft(g, w, hp, lambda *layer: self.sparse_layer(*layer)[0])


def indexer_types(config: Config) -> list[bool] | None:
    """Which layers choose keys; None if config.json does not say so."""
    kinds = config.get("indexer_types")
    return [kind == "full" for kind in kinds] if kinds else None


class GlmDsa(DeepSeek32):
    """GLM-5 to 5.2 (https://arxiv.org/abs/2602.15763): DeepSeek V3.2; in GLM-5.2 some layers share the chosen keys.

    The rotary embedding of the indexer pairs neighbours, too.
    """

    name = "glm-dsa"
    indexer_rope = "norm"
    checkpoint = Checkpoint(
        classes=("GlmMoeDsaForCausalLM",),
        names={**NAMES, **INDEXER_NAMES},
        keys={**KEYS, **INDEXER_KEYS, "attention.indexer.types": indexer_types},
    )

    def full_layers(self, md: ArchMetadata) -> tuple[bool, ...]:
        """Early files of GLM-5.2 do not say it; llama.cpp recognizes them by their context of 2^20 tokens."""
        shares = md.positive("context_length") >= 2**20
        return tuple(not shares or i < 2 or i % 4 == 2 for i in range(md.layers()))

    def draft(self, g: Graph, w: Weights, hp: Any) -> None:
        """Not computed: whether the draft block chooses keys itself differs between versions of the model."""

    def ignored(self, md: ArchMetadata, hp: Any) -> Sequence[str]:
        """The indexers of layers that do not choose keys, which some files have."""
        return (*super().ignored(md, hp), *(f"blk.{i}.indexer.*" for i, full in enumerate(hp.indexer.full) if not full))


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [DeepSeek, DeepSeek2, DeepSeek32, GlmDsa, Mistral4]
