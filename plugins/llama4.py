"""Llama 4: llama4 (Scout and Maverick)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    Value,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa_tensors,
    layer_tensors,
    norm_tensors,
    qkv,
    rope_factors,
    rope_tensors,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Config, Names, Values, transposed
from realizar.arch.experts import RoutedHParams, expert_tensors, routed_hparams, shared_ffn, shared_tensors
from realizar.arch.rope_checkpoint import llama3_factors, whole_head

MAVERICK_EXPERTS = 128  # whose q and k are not normalized; files do not say it

NAMES: Names = {
    "rope_freqs": llama3_factors,
    "blk.{i}.ffn_gate": "layers.{i}.feed_forward.gate_proj",
    "blk.{i}.ffn_up": "layers.{i}.feed_forward.up_proj",
    "blk.{i}.ffn_down": "layers.{i}.feed_forward.down_proj",
    "blk.{i}.ffn_gate_inp": "layers.{i}.feed_forward.router",
    "blk.{i}.ffn_gate_up_exps": ("layers.{i}.feed_forward.experts.gate_up_proj", transposed),
    "blk.{i}.ffn_down_exps": ("layers.{i}.feed_forward.experts.down_proj", transposed),
    "blk.{i}.ffn_gate_shexp": "layers.{i}.feed_forward.shared_expert.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.feed_forward.shared_expert.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.feed_forward.shared_expert.down_proj",
}


class Llama4HParams(RoutedHParams):
    """The hyperparameters of experts, the layers with chunks, and whether q and k are normalized."""

    windows: Windows
    normed: bool


# Not in the metadata; llama.cpp has the same constants (src/models/llama4.cpp).
CHUNK = 8192
SCALE_FACTOR, SCALE_PERIOD = 0.1, 8192
NO_ROPE_PERIOD = 4


def constants(config: Config) -> Values:
    """The values that are not in the metadata."""
    return {
        "hidden_act": ("silu",),
        "use_qk_norm": (config["num_local_experts"] != MAVERICK_EXPERTS,),
        "no_rope_layers": ([int((i + 1) % NO_ROPE_PERIOD != 0) for i in range(config["num_hidden_layers"])], [], None),
        "attention_chunk_size": (CHUNK,),
        "attn_temperature_tuning": (True, NO_ROPE_PERIOD),
        "attn_scale": (SCALE_FACTOR,),
        "floor_scale": (SCALE_PERIOD,),
    }


class Llama4(Architecture):
    """Llama 4 (https://ai.meta.com/blog/llama-4-multimodal-intelligence/): chunked attention, and one expert of many.

    Three layers of four attend within chunks of 8192 tokens; they have positions. In the others, queries grow with the
    position. The expert of a token gets its input times the sigmoid of the router's logit; a shared one is beside it.
    """

    name = "llama4"
    checkpoint = Checkpoint(
        classes=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
        names=NAMES,
        keys={
            "rope.dimension_count": whole_head,
            "feed_forward_length": "intermediate_size_mlp",
            "expert_feed_forward_length": "intermediate_size",
            "interleave_moe_layer_step": "interleave_moe_layer_step",
        },
        only=constants,
    )
    CHUNK = CHUNK  # a test has shorter ones

    def window(self, md: ArchMetadata) -> int:
        """Size of a chunk; the file only says whether there are chunks, which is the default."""
        return self.CHUNK if md.integer("attention.sliding_window", self.CHUNK) else 0

    def hparams(self, md: ArchMetadata) -> Llama4HParams:
        """The hyperparameters of this model; a token has one expert, and a shared one of the same width."""
        md.between("expert_used_count", 1, 1)
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return Llama4HParams(
            **vars(replace(hp, n_ff_shared=hp.n_ff_expert)),
            windows=self.windows(md, NO_ROPE_PERIOD),
            normed=hp.n_expert != MAVERICK_EXPERTS,
        )

    def tensors(self, hp: Llama4HParams) -> WeightTable:
        """Separate q, k, v; dense feed-forwards and experts; the output may be tied to the embedding."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
        }
        dense = swiglu_tensors(hp.n_embd, hp.n_ff)
        experts = {**expert_tensors(hp), **shared_tensors(hp.n_embd, hp.n_ff_shared)}
        for i in range(hp.n_layer):
            table.update(layer_tensors(i, dense if hp.is_dense(i) else experts))
        return table

    def build(self, g: Graph, w: Weights, hp: Llama4HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        q_scale = g.position_scale(factor=SCALE_FACTOR, period=SCALE_PERIOD, offset=1) if hp.window else None
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            chunk = hp.windows[i]
            if chunk or q_scale is None:
                q, k = rotate(g, hp.windows.rotation(hp, i), "norm", q, k, rope_factors(w, hp))
                if hp.normed:
                    q, k = g.rms_norm(q, None, eps=hp.norm_eps), g.rms_norm(k, None, eps=hp.norm_eps)
            else:
                q = q * q_scale
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=chunk, chunked=bool(chunk))
            x = x + g.linear(a, blk.attn_output)
            x = x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Llama4HParams, layer: int) -> Value:
        """A dense feed-forward, or the sum of the chosen expert, with a weight of one, and the shared one."""
        if hp.is_dense(layer):
            return swiglu_ffn(g, h, blk)
        logits = g.linear(h, blk.ffn_gate_inp)
        choice = g.route(logits, 1, gating="softmax_chosen")
        _, weight = g.route(logits, 1, gating="sigmoid")
        weights = {"gate": blk.ffn_gate_exps, "up": blk.ffn_up_exps, "down": blk.ffn_down_exps}
        return g.experts(h * weight, choice, **weights) + shared_ffn(g, h, blk)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Llama4]
