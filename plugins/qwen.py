"""The Qwen family: qwen (Qwen 1), qwen2 (Qwen 1.5 to 2.5), qwen2moe, qwen3, qwen3moe, and the VL models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from realizar.arch import (
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
    mrope_axes,
)
from realizar.arch.blocks import (
    deepstack_rows,
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa,
    normed_gqa_tensors,
    qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Array, Config, number, of_text_model
from realizar.arch.experts import (
    ExpertHParams,
    expert_ffn,
    expert_hparams,
    expert_tensors,
    shared_ffn,
    shared_tensors,
)
from realizar.arch.rope_checkpoint import rope_parameters

H = TypeVar("H", bound=HParams)


def decoder(g: Graph, w: Weights, hp: HParams) -> Value:
    """Llama's layers with rotary halves ("neox"), for Qwen 1 and 2."""
    x = g.embed(w.token_embd)
    for i, blk in enumerate(w.blk):
        x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
        x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
    return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Qwen(Architecture):
    """The first Qwen (https://arxiv.org/abs/2309.16609): Llama with fused q, k and v that have a bias.

    The file's `feed_forward_length` counts gate and up together.
    """

    name = "qwen"
    checkpoint = Checkpoint(
        classes=("QWenLMHeadModel",),
        names={
            "token_embd": "wte",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.ln_1",
            "blk.{i}.attn_qkv": "h.{i}.attn.c_attn",
            "blk.{i}.attn_output": "h.{i}.attn.c_proj",
            "blk.{i}.ffn_norm": "h.{i}.ln_2",
            "blk.{i}.ffn_up": "h.{i}.mlp.w1",
            "blk.{i}.ffn_gate": "h.{i}.mlp.w2",
            "blk.{i}.ffn_down": "h.{i}.mlp.c_proj",
        },
        keys={"attention.layer_norm_rms_epsilon": number("layer_norm_epsilon")},
    )

    def hparams(self, md: ArchMetadata) -> HParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        return replace(hp, n_ff=hp.n_ff // 2)

    def tensors(self, hp: HParams) -> WeightTable:
        """Fused q, k, v with a bias; SwiGLU."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **qkv_tensors(hp, bias=True),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        return decoder(g, w, hp)


QWEN2_AUDIO = {
    "embedding_length": ("hidden_size", 4096), "block_count": ("num_hidden_layers", 32),
    "attention.head_count": ("num_attention_heads", 32), "attention.head_count_kv": ("num_key_value_heads", 32),
}  # fmt: skip
"""GGUF key -> key of config.json, and its default in transformers: published checkpoints of Qwen2-Audio lack it."""


def audio_default(name: str, default: int) -> Callable[[Config], int | None]:
    """A key of config.json, which a model that hears may lack."""
    return lambda config: config.get(name, default if "audio_config" in config else None)


class Qwen2(Architecture):
    """Qwen 2 and 2.5 (https://arxiv.org/abs/2407.10671): Llama with biases on q, k, v and rotary halves ("neox")."""

    name = "qwen2"
    checkpoint = Checkpoint(
        classes=(
            "Qwen2ForCausalLM",
            "InternVLForConditionalGeneration",
            "LlavaForConditionalGeneration",
            "Qwen2AudioForConditionalGeneration",
        ),
        keys={key: audio_default(*source) for key, source in QWEN2_AUDIO.items()},
        applies=of_text_model("qwen2"),
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with biases; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            "output": Weight((hp.n_vocab, hp.n_embd), bias=None, alias="token_embd"),
            **gqa_tensors(hp, bias=True),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        return decoder(g, w, hp)


class Qwen3(Architecture):
    """Qwen 3, its embedding models and rerankers: Llama with a norm over each head of q and k.

    https://arxiv.org/abs/2505.09388; rerankers: https://arxiv.org/abs/2506.05176.
    """

    name = "qwen3"
    checkpoint = Checkpoint(
        classes=("Qwen3ForCausalLM", "InternVLForConditionalGeneration"),
        applies=of_text_model("qwen3"),
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with norms over a head, biases in some files; SwiGLU; the output may be tied."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
            "cls.output": Weight((max(1, len(hp.labels)), hp.n_embd), optional=True),
        }

    def hidden(self, g: Graph, w: Weights, hp: HParams, deepstack: Sequence[Value] = ()) -> Value:
        """x += attention(norm(x)), q and k normalized before they are rotated; x += ffn(norm(x)).

        `deepstack` is added to the states after the first layers.
        """
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + normed_gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
            x = x + deepstack[i] if i < len(deepstack) else x
        return g.rms_norm(x, w.output_norm, eps=hp.norm_eps)

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """The logits."""
        return g.linear(self.hidden(g, w, hp), w.output)

    def rank(self, g: Graph, w: Weights, hp: HParams) -> Mapping[str, Value] | None:
        """The probabilities of "yes" and "no" among the two, which Qwen3-Reranker answers with."""
        if w.cls_output is None:
            return None
        p = g.softmax(g.linear(self.hidden(g, w, hp), w.cls_output))
        return {"rank": p, "classes": p}

    def programs(self) -> Mapping[str, Any]:
        """A reranker's file also has a head, for the last token of a text."""
        return {"decode": self.build, "rank": self.rank}


class Qwen2MoeHParams(ExpertHParams):
    """The hyperparameters of Qwen 2 MoE: the width of the shared expert."""

    n_ff_shared: int


# Layers without experts, and weights that are not as each architecture has them, have no key in files.
ALL_EXPERTS: dict[str, tuple[Any, ...]] = {"decoder_sparse_step": (1,), "mlp_only_layers": ([], None)}


class Qwen2Moe(Architecture):
    """Qwen 1.5 MoE and Qwen 2 57B-A14B (https://arxiv.org/abs/2407.10671): routed experts and a shared one.

    The shared expert has a sigmoid gate. The weights of the chosen experts are not normalized.
    """

    name = "qwen2moe"
    checkpoint = Checkpoint(
        classes=("Qwen2MoeForCausalLM",),
        names={
            "blk.{i}.ffn_gate_inp_shexp": "layers.{i}.mlp.shared_expert_gate",
            "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_expert.gate_proj",
            "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_expert.up_proj",
            "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_expert.down_proj",
        },
        keys={
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
        },
        only={**ALL_EXPERTS, "norm_topk_prob": (False,)},
    )

    def hparams(self, md: ArchMetadata) -> Qwen2MoeHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        experts = expert_hparams(hp, md, n_ff=max(1, hp.n_ff // md.positive("expert_used_count")))
        return Qwen2MoeHParams(**vars(experts), n_ff_shared=md.positive("expert_shared_feed_forward_length", hp.n_ff))

    def tensors(self, hp: Qwen2MoeHParams) -> WeightTable:
        """Separate q, k, v, in most files with biases; experts, the shared one and its gate."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **gqa_tensors(hp, bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **expert_tensors(hp),
            "blk.{i}.ffn_gate_inp_shexp": Weight((1, hp.n_embd)),
            **shared_tensors(hp.n_embd, hp.n_ff_shared),
        }

    def build(self, g: Graph, w: Weights, hp: Qwen2MoeHParams) -> Value:
        """x += attention(norm(x)); x += experts(h) + sigmoid(gate h) * shared(h), h = norm(x)."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            shared = shared_ffn(g, h, blk) * g.sigmoid(g.linear(h, blk.ffn_gate_inp_shexp))
            x = x + expert_ffn(g, h, blk, hp) + shared
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Qwen3Moe(Architecture):
    """Qwen 3 with experts (https://arxiv.org/abs/2505.09388); the weights of the chosen ones are normalized."""

    name = "qwen3moe"
    checkpoint = Checkpoint(
        ("Qwen3MoeForCausalLM",),
        keys={"expert_feed_forward_length": "moe_intermediate_size"},
        only={**ALL_EXPERTS, "norm_topk_prob": (True,)},
    )

    def hparams(self, md: ArchMetadata) -> ExpertHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        return expert_hparams(hp, md, n_ff=max(1, hp.n_ff // md.positive("expert_used_count")))

    def tensors(self, hp: ExpertHParams) -> WeightTable:
        """Separate q, k, v with norms over a head; experts; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **expert_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: ExpertHParams, deepstack: Sequence[Value] = ()) -> Value:
        """x += attention(norm(x)), q and k normalized before they are rotated; x += experts(norm(x)).

        `deepstack` is added to the states after the first layers.
        """
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + normed_gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + expert_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, normalize=True)
            x = x + deepstack[i] if i < len(deepstack) else x
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def with_deepstack(hp: H, md: ArchMetadata) -> H:
    """The hyperparameters with the number of layers after which rows of a picture are added."""
    return replace(hp, n_deepstack=md.integer_between("n_deepstack_layers", 0, hp.n_layer, 0))


def n_deepstack(config: Config) -> int:
    """The number of layers of the vision encoder whose states the language model reads."""
    return len(config.get("vision_config", {}).get("deepstack_visual_indexes") or ())


def sections(config: Config) -> list[int] | None:
    """Number of rotary frequencies of each axis of positions; llama.cpp's converter writes four numbers."""
    found = rope_parameters(config).get("mrope_section")
    return None if found is None else [*found, *[0] * (4 - len(found))]


class Qwen2VL(Qwen2):
    """The language model of Qwen 2 and 2.5 VL, and of 2.5 Omni: positions have three axes.

    https://arxiv.org/abs/2409.12191, https://arxiv.org/abs/2503.20215
    """

    name = "qwen2vl"
    checkpoint = Checkpoint(
        (
            "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5OmniModel",
            "Qwen2_5OmniForConditionalGeneration", "Qwen2_5OmniThinkerForConditionalGeneration",
        ),
        keys={"rope.dimension_sections": sections},
        ignored=("talker.*", "token2wav.*"),  # Qwen 2.5 Omni's, which make speech
    )  # fmt: skip

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """One axis after another."""
        return mrope_axes(md)


class Qwen3VL(Qwen3):
    """The language model of Qwen 3 VL (https://arxiv.org/abs/2511.21631): the axes of positions alternate."""

    name = "qwen3vl"
    checkpoint = Checkpoint(
        ("Qwen3VLForConditionalGeneration",),
        keys={"rope.dimension_sections": sections, "n_deepstack_layers": n_deepstack},
    )

    def hparams(self, md: ArchMetadata) -> HParams:
        """The hyperparameters of this model."""
        return with_deepstack(super().hparams(md), md)

    def pictures(self, g: Graph, w: Weights, hp: HParams) -> Value | None:
        """The logits where some rows are those of pictures; None if the model has no deepstack."""
        if not hp.n_deepstack:
            return None
        return g.linear(self.hidden(g, w, hp, deepstack_rows(g, hp)), w.output)

    def programs(self) -> Mapping[str, Any]:
        """Steps with rows of pictures have a program of their own."""
        return {**super().programs(), "pictures": self.pictures}

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """The axes alternate."""
        return mrope_axes(md, interleaved=True)


def expert_rows(x: Array, hp: ExpertHParams) -> Array:
    """Stacked experts with rows of the input's width; published checkpoints have them transposed."""
    rows_first = x.shape[-2:] in ((2 * hp.n_ff_expert, hp.n_embd), (hp.n_embd, hp.n_ff_expert))
    return x if rows_first else x.swapaxes(-1, -2)


class Qwen3VLMoe(Qwen3Moe):
    """The language model of Qwen 3 VL with experts (https://arxiv.org/abs/2511.21631)."""

    name = "qwen3vlmoe"
    checkpoint = Checkpoint(
        classes=("Qwen3VLMoeForConditionalGeneration",),
        names={
            "blk.{i}.ffn_gate_up_exps": ("layers.{i}.mlp.experts.gate_up_proj", expert_rows),
            "blk.{i}.ffn_down_exps": ("layers.{i}.mlp.experts.down_proj", expert_rows),
        },
        keys={
            "rope.dimension_sections": sections,
            "n_deepstack_layers": n_deepstack,
            "expert_feed_forward_length": "moe_intermediate_size",
        },
        only={**ALL_EXPERTS, "norm_topk_prob": (True,)},
    )

    def hparams(self, md: ArchMetadata) -> ExpertHParams:
        """The hyperparameters of this model."""
        return with_deepstack(super().hparams(md), md)

    def pictures(self, g: Graph, w: Weights, hp: ExpertHParams) -> Value | None:
        """The logits where some rows are those of pictures; None if the model has no deepstack."""
        return self.build(g, w, hp, deepstack_rows(g, hp)) if hp.n_deepstack else None

    def programs(self) -> Mapping[str, Any]:
        """Steps with rows of pictures have a program of their own."""
        return {**super().programs(), "pictures": self.pictures}

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """The axes alternate."""
        return mrope_axes(md, interleaved=True)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Qwen, Qwen2, Qwen2VL, Qwen2Moe, Qwen3, Qwen3VL, Qwen3Moe, Qwen3VLMoe]
