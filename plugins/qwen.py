"""The Qwen family: qwen2 (Qwen 2 and 2.5)."""

from collections.abc import Sequence

from realizar.arch import Architecture, Checkpoint, Graph, HParams, Value, Weight, Weights, WeightTable, hookimpl
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, swiglu_ffn, swiglu_tensors


class Qwen2(Architecture):
    """Qwen 2 and 2.5 (https://arxiv.org/abs/2407.10671): Llama with biases on q, k, v and rotary halves ("neox")."""

    name = "qwen2"
    checkpoint = Checkpoint(classes=("Qwen2ForCausalLM",))

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with biases; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=True),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,)),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Qwen2]
