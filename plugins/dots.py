"""The dots family of rednote: dots1."""

from collections.abc import Sequence

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import embedding_tensors, norm_tensors, normed_gqa, normed_gqa_tensors
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors


class Dots1(Architecture):
    """dots.llm1 (https://arxiv.org/abs/2506.05767): Qwen 3's attention and DeepSeek V3's experts.

    Behind the dense layers, experts are chosen by sigmoids with a bias, beside shared ones.
    """

    name = "dots1"
    checkpoint = Checkpoint(
        ("Dots1ForCausalLM",), ROUTED_NAMES, {**ROUTED_KEYS, "expert_gating_func": lambda config: 2}
    )

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "sigmoid")

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Separate q, k, v with norms over a head; dense feed-forwards, then experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + normed_gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Dots1]
