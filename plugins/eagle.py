"""EAGLE-3: draft blocks in files of their own, which read hidden states of three layers of another model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

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
)
from realizar.arch.blocks import norm_tensors, qkv, rope_factors, rope_tensors, rotate, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import permuted
from realizar.arch.drafts import DRAFT_TOKENS, FEATURES, HIDDEN, three_layers
from realizar.arch.rope_checkpoint import llama3_factors, whole_head


class Eagle3HParams(HParams):
    """The hyperparameters of a draft, and what it says of the target, the model for which it drafts.

    `target_layers` are the layers whose inputs it reads, each of width `n_target`; `own_layer` is the number of its own
    layer, after those of the target. `n_draft_vocab` tokens have logits; 0: all.
    """

    target_layers: tuple[int, ...]
    n_target: int
    norm_before_fc: bool
    norm_before_residual: bool
    own_layer: int = 0
    n_draft_vocab: int = 0


def _of_layer(name: str) -> str:
    """The name of a tensor of the layer in checkpoints of SafeAILab and of SpecForge, or in those of speculators."""
    return f"midlayer.{name}|layers.{{i}}.{name}"


class Eagle3(Architecture):
    """EAGLE-3 (https://arxiv.org/abs/2503.01840): a draft for another model, given to it as `draft=`.

    Names, order and norms are those of llama.cpp (src/models/eagle3.cpp) and vLLM (llama_eagle3.py). A file without
    token embedding or output matrix uses the target's.
    """

    name = "eagle3"
    is_draft = True
    checkpoint = Checkpoint(
        classes=(
            "LlamaForCausalLMEagle3",
            "Eagle3LlamaForCausalLM",
            "Eagle3Speculator",
            "Eagle3DraftModel",
            "LlamaForCausalLM",
        ),
        applies=lambda config: "draft_vocab_size" in config,
        names={
            "blk.{i}.attn_norm": _of_layer("input_layernorm"),
            "blk.{i}.attn_norm_2": _of_layer("hidden_norm"),
            "blk.{i}.attn_q": (_of_layer("self_attn.q_proj"), permuted("n_head")),
            "blk.{i}.attn_k": (_of_layer("self_attn.k_proj"), permuted("n_head_kv")),
            "blk.{i}.attn_v": _of_layer("self_attn.v_proj"),
            "blk.{i}.attn_output": _of_layer("self_attn.o_proj"),
            "blk.{i}.ffn_norm": _of_layer("post_attention_layernorm"),
            "blk.{i}.ffn_gate": _of_layer("mlp.gate_proj"),
            "blk.{i}.ffn_up": _of_layer("mlp.up_proj"),
            "blk.{i}.ffn_down": _of_layer("mlp.down_proj"),
            "rope_freqs": llama3_factors,
            "fc": "fc",
            "enc.output_norm": "input_norm",
        },
        keys={
            "rope.dimension_count": whole_head,
            "target_layers": three_layers,
            "target_hidden_size": "target_hidden_size",
            "norm_before_fc": "norm_before_fc",
            "norm_before_residual": "norm_before_residual",
        },
        only={
            "attention_bias": (False, None),
            "mlp_bias": (False, None),
            "hidden_act": ("silu",),
            "fc_norm": (False,),
            "norm_output": (False,),
            "num_hidden_layers": (1,),
        },
        ignored=("t2d",),
        tied=lambda config: False,
    )

    def hparams(self, md: ArchMetadata) -> Eagle3HParams:
        """The hyperparameters of a draft."""
        return Eagle3HParams(
            **vars(super().hparams(md)),
            target_layers=md.numbers_of("target_layers", 3),
            n_target=md.positive("target_hidden_size"),
            norm_before_fc=md.boolean("norm_before_fc", False),
            norm_before_residual=md.boolean("norm_before_residual", False),
        )

    def tensors(self, hp: Eagle3HParams) -> WeightTable:
        """Separate q, k and v of both inputs; SwiGLU; the projection of the features."""
        n, n_in = hp.n_embd, len(hp.target_layers) * hp.n_target
        return {
            "token_embd": Weight((hp.n_vocab, n), optional=True),
            "output_norm": Weight((n,)),
            "output": Weight((hp.n_draft_vocab or hp.n_vocab, n), optional=True),
            "fc": Weight((n, n_in)),
            **({"enc.output_norm": Weight((n_in,))} if hp.norm_before_fc else {}),
            **norm_tensors(n, "attn_norm", "attn_norm_2", "ffn_norm"),
            "blk.{i}.attn_q": Weight((hp.n_head * hp.head_dim, 2 * n)),
            "blk.{i}.attn_k": Weight((hp.n_head_kv * hp.head_dim, 2 * n)),
            "blk.{i}.attn_v": Weight((hp.n_head_kv * hp.head_dim_v, 2 * n)),
            "blk.{i}.attn_output": Weight((n, hp.n_head * hp.head_dim_v)),
            **swiglu_tensors(n, hp.n_ff),
            **rope_tensors(hp),
        }

    def fitted(self, hp: Eagle3HParams, shapes: Mapping[str, Sequence[int]], target: Any = None) -> Eagle3HParams:
        """With as many tokens as `d2t` has (without it, all have logits), and the layer after those of the target."""
        n_tokens, n_before = shapes.get(DRAFT_TOKENS, (0,))[-1], 0 if target is None else target.n_layer
        return replace(hp, n_draft_vocab=n_tokens, own_layer=n_before)

    def ignored(self, md: ArchMetadata, hp: Eagle3HParams) -> Sequence[str]:
        """The tokens of the rows of the output matrix, which are no part of the equations."""
        return (*super().ignored(md, hp), DRAFT_TOKENS)

    def build(self, g: Graph, w: Weights, hp: Eagle3HParams) -> Mapping[str, Value]:
        """Program "fuse": the hidden states of three layers, one after the other, as one of the draft's width."""
        x = g.input(FEATURES, (len(hp.target_layers) * hp.n_target,))
        if hp.norm_before_fc:
            x = g.rms_norm(x, w.enc_output_norm, eps=hp.norm_eps)
        return {"hidden": g.linear(x, w.fc)}

    def draft(self, g: Graph, w: Weights, hp: Eagle3HParams) -> Mapping[str, Value]:
        """x = state; x += attention(norm(token), norm(x)); x += ffn(norm(x)).

        Row t reads token t and a state of row t - 1. There is none for the first row, which later ones do not see.
        """
        (blk,) = w.blk
        h = g.input(HIDDEN, (hp.n_embd,))
        e, n = g.embed_ids(w.token_embd), g.rms_norm(h, blk.attn_norm_2, eps=hp.norm_eps)
        e = g.rms_norm(e, blk.attn_norm, eps=hp.norm_eps)
        q, k, v = qkv(g, g.flatten(g.concat(g.heads(e, 1), g.heads(n, 1))), blk, hp)
        q, k = rotate(g, hp, "norm", q, k, rope_factors(w, hp))
        a = g.attention(q, k, v, layer=hp.own_layer, scale=hp.head_dim**-0.5, skip=1)
        x = (n if hp.norm_before_residual else h) + g.linear(a, blk.attn_output)
        x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return {"logits": g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output), "hidden": x}

    def programs(self) -> Mapping[str, Any]:
        """The two programs that the target's engine runs along with its own."""
        return {"fuse": self.build, "draft": self.draft}


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Eagle3]
