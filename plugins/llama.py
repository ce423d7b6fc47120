"""Llama and its kin under the GGUF name "llama": Llama 2 and 3, Mistral, SmolLM2."""

from collections.abc import Sequence

from realizar.arch import Architecture, Checkpoint, Graph, HParams, Value, Weight, Weights, WeightTable, hookimpl
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import llama3_factors, permuted, rope_dims


class Llama(Architecture):
    """Llama 2 and 3, Mistral, SmolLM2 (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783).

    The converter permutes the rows of q and k, so that rotary pairs are neighbours ("norm"). Llama 3's frequency
    factors come as the tensor `rope_freqs`, linear and yarn scaling as metadata.
    """

    name = "llama"
    checkpoint = Checkpoint(
        classes=("LlamaForCausalLM", "MistralForCausalLM"),
        names={
            "blk.{i}.attn_q": ("layers.{i}.self_attn.q_proj", permuted("n_head")),
            "blk.{i}.attn_k": ("layers.{i}.self_attn.k_proj", permuted("n_head_kv")),
            "rope_freqs": llama3_factors,
        },
        keys={"rope.dimension_count": rope_dims},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with optional biases; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            "rope_freqs": Weight((hp.rope_dims // 2,), optional=True),
            **gqa_tensors(hp, bias=None, output_bias=None),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,)),
            **swiglu_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm", w.rope_freqs)
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Llama]
