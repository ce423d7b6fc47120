"""The Mellum family of JetBrains: mellum (Mellum 2)."""

from collections.abc import Sequence

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    RopeScaling,
    Value,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, norm_tensors, normed_gqa_tensors, normed_qkv, rotate
from realizar.arch.checkpoint import number, windows
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors
from realizar.arch.rope_checkpoint import rope_dims, rope_parameters


class MellumHParams(ExpertHParams):
    """The hyperparameters of experts, with the sliding-window layers."""

    windows: Windows


class Mellum(Architecture):
    """Mellum 2 (https://huggingface.co/JetBrains/Mellum2-12B-A2.5B-Base): Qwen 3 with experts and windows.

    Three layers of four have sliding-window attention, without rope scaling.
    """

    name = "mellum"
    checkpoint = Checkpoint(
        classes=("MellumForCausalLM",),
        keys={
            "expert_feed_forward_length": "moe_intermediate_size",
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": windows,
            "rope.dimension_count": rope_dims,
            "rope.dimension_count_swa": lambda config: rope_dims(config, kind="sliding_attention"),
            "rope.freq_base_swa": lambda config: number("rope_theta")(rope_parameters(config, "sliding_attention")),
        },
        only={"norm_topk_prob": (True,)},
    )

    def hparams(self, md: ArchMetadata) -> MellumHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        experts = expert_hparams(hp, md, n_ff=max(1, hp.n_ff // md.positive("expert_used_count")))
        return MellumHParams(**vars(experts), windows=self.windows(md, 4, rope_scaling=RopeScaling()))

    def tensors(self, hp: MellumHParams) -> WeightTable:
        """Separate q, k, v with norms over a head; experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **expert_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: MellumHParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = normed_qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp.windows.rotation(hp, i), "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5, window=hp.windows[i])
            x = x + g.linear(a, blk.attn_output)
            x = x + expert_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, normalize=True)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Mellum]
