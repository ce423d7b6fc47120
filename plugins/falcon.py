"""The Falcon family: falcon (7B, 40B, 180B) and falcon-h1 (attention and Mamba 2 in every layer)."""

from collections.abc import Sequence

from realizar.arch import (
    LAYER_NORM_EPS,
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
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Config, grouped_qkv
from realizar.arch.ssm import ScanSizes, mamba2, mamba2_tensors, scan_sizes


def n_head_kv(config: Config) -> int:
    """KV heads: config.json has their number only for grouped-query attention."""
    if config.get("multi_query", True) and not config.get("new_decoder_architecture", False):
        return 1
    return int(config.get("num_kv_heads") or config.get("n_head_kv") or config["num_attention_heads"])


class Falcon(Architecture):
    """Falcon 7B, 40B and 180B (https://arxiv.org/abs/2311.16867).

    Parallel attention and feed-forward. 7B has one KV head and one norm for both; 40B and 180B have grouped KV heads
    and a norm for each: `attn_norm_2` is attention's, `attn_norm` the feed-forward's. The converter sorts the rows of
    q, k and v, which checkpoints interleave.
    """

    name = "falcon"
    checkpoint = Checkpoint(
        classes=("FalconForCausalLM", "RWForCausalLM"),
        names={
            "token_embd": "word_embeddings",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.ln_mlp|h.{i}.input_layernorm",
            "blk.{i}.attn_norm_2": "h.{i}.ln_attn",
            "blk.{i}.attn_qkv": ("h.{i}.self_attention.query_key_value", grouped_qkv),
            "blk.{i}.attn_output": "h.{i}.self_attention.dense",
            "blk.{i}.ffn_up": "h.{i}.mlp.dense_h_to_4h",
            "blk.{i}.ffn_down": "h.{i}.mlp.dense_4h_to_h",
        },
        keys={
            "context_length": lambda config: config.get("max_position_embeddings", 2048),
            "feed_forward_length": lambda config: config.get("ffn_hidden_size") or 4 * config["hidden_size"],
            "attention.head_count_kv": n_head_kv,
            "tensor_data_layout": lambda config: "jploski",  # llama.cpp's name for sorted rows of q, k and v
        },
    )
    norm_eps_key = LAYER_NORM_EPS

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases only in norms; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True),
            **norm_tensors(hp.n_embd, "attn_norm", bias=True),
            "blk.{i}.attn_norm_2": Weight((hp.n_embd,), bias=True, optional=True),
            **qkv_tensors(hp),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=False),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)) + ffn(norm(x)), with one norm or two."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            h_attn = h if blk.attn_norm_2 is None else g.layer_norm(x, blk.attn_norm_2, eps=hp.norm_eps)
            x = x + gqa(g, h_attn, blk, hp, i, "neox") + mlp(g, h, blk, g.gelu_erf)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class FalconH1HParams(HParams):
    """The hyperparameters, with the sizes of the recurrence."""

    ssm: ScanSizes


class FalconH1(Architecture):
    """Falcon-H1 (https://arxiv.org/abs/2507.22448): each layer is the sum of attention and the recurrence of Mamba 2.

    The converter folds the model's multipliers into the weights. Only some models normalize the gated recurrence.
    """

    name = "falcon-h1"

    def hparams(self, md: ArchMetadata) -> FalconH1HParams:
        """The hyperparameters of this model."""
        return FalconH1HParams(**vars(super().hparams(md)), ssm=scan_sizes(md))

    def tensors(self, hp: FalconH1HParams) -> WeightTable:
        """Attention, a recurrence and SwiGLU in each layer; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **mamba2_tensors(hp.n_embd, hp.ssm, norm=None),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,), suffix=""),
            **swiglu_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: FalconH1HParams) -> Value:
        """x += attention(h) + scan(h), h = norm(x); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + (gqa(g, h, blk, hp, i, "neox") + mamba2(g, h, blk, hp.ssm, i, hp.norm_eps))
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Falcon, FalconH1]
