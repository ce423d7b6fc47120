"""The Jais family of Inception and MBZUAI: jais2."""

from collections.abc import Sequence
from functools import partial

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa, mlp, mlp_tensors, norm_tensors, qkv_tensors, relu2
from realizar.arch.rope_checkpoint import whole_head


class Jais2(Architecture):
    """Jais 2 (https://huggingface.co/inceptionai/Jais-2-8B-Chat): layer norms, biases, squared relu without a gate."""

    name = "jais2"
    checkpoint = Checkpoint(
        ("Jais2ForCausalLM",), keys={"rope.dimension_count": whole_head}, only={"hidden_act": ("relu2",)}
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
            x = x + mlp(g, g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, partial(relu2, g))
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Jais2]
