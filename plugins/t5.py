"""The T5 family: t5 (T5, Flan-T5, UL2, mT5) and t5encoder (their encoders alone)."""

from collections.abc import Mapping, Sequence
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
from realizar.arch.blocks import mlp
from realizar.arch.checkpoint import Config, Key, Source, number


def _attention(side: str, ours: str, theirs: str) -> dict[str, str]:
    """Names of an attention and its norm: `ours` in GGUF, `theirs` in a checkpoint."""
    block = f"{side}.block.{{i}}.{theirs}"
    names = {f"{side[:3]}.blk.{{i}}.{ours}_{part}": f"{block}.{part}" for part in "qkvo"}
    return {f"{side[:3]}.blk.{{i}}.{ours}_norm": f"{block.rpartition('.')[0]}.layer_norm", **names}


def _side(side: str, last: int) -> dict[str, str]:
    """Names of the encoder or decoder; `last` is the index of the feed-forward in a layer."""
    ffn = f"{side}.block.{{i}}.layer.{last}"
    return {
        f"{side[:3]}.output_norm": f"{side}.final_layer_norm",
        f"{side[:3]}.blk.{{i}}.attn_rel_b": f"{side}.block.{{i}}.layer.0.SelfAttention.relative_attention_bias",
        **_attention(side, "attn", "layer.0.SelfAttention"),
        f"{side[:3]}.blk.{{i}}.ffn_norm": f"{ffn}.layer_norm",
        f"{side[:3]}.blk.{{i}}.ffn_gate": f"{ffn}.DenseReluDense.wi_0",
        f"{side[:3]}.blk.{{i}}.ffn_up": f"{ffn}.DenseReluDense.wi|{ffn}.DenseReluDense.wi_1",
        f"{side[:3]}.blk.{{i}}.ffn_down": f"{ffn}.DenseReluDense.wo",
    }


NAMES: dict[str, Source] = {
    "token_embd": "shared|encoder.embed_tokens",
    **_side("encoder", last=1),
    **_side("decoder", last=2),
    **_attention("decoder", "cross_attn", "layer.1.EncDecAttention"),
}
KEYS: dict[str, Key] = {
    "context_length": lambda config: config.get("n_positions", 512),
    "decoder_block_count": "num_decoder_layers",
    "decoder_start_token_id": "decoder_start_token_id",
    "attention.key_length": "d_kv",
    "attention.value_length": "d_kv",
    "attention.layer_norm_rms_epsilon": number("layer_norm_epsilon"),
    "attention.relative_buckets_count": "relative_attention_num_buckets",
}

ONLY = {"feed_forward_proj": ("relu", "gated-gelu"), "relative_attention_max_distance": (128,)}


class T5HParams(HParams):
    """The hyperparameters of a T5.

    Attributes
    ----------
    n_layer_decoder : int
    n_bucket : int
        Number of buckets of the relative position bias.
    """

    n_layer_decoder: int
    n_bucket: int


class T5Encoder(Architecture):
    """The encoders of T5, as text-to-image models and sentence-T5 use them (https://arxiv.org/abs/1910.10683).

    Learned relative position biases for buckets of distances; scores are not scaled. All layers share the biases of
    the first, except in umT5, where each has its own. T5 1.1, Flan-T5 and mT5 have a gated feed-forward.
    """

    name = "t5encoder"
    checkpoint = Checkpoint(
        classes=("T5EncoderModel", "UMT5EncoderModel", "MT5EncoderModel"),
        names=NAMES,
        keys=KEYS,
        only=ONLY,
        ignored=("*coder.embed_tokens.weight", "decoder.*", "lm_head.weight"),
    )

    def hparams(self, md: ArchMetadata) -> T5HParams:
        """The hyperparameters; the decoder may have a different number of layers."""
        hp = super().hparams(md)
        return T5HParams(
            **vars(hp),
            n_layer_decoder=md.layers("decoder_block_count", hp.n_layer),
            n_bucket=md.positive("attention.relative_buckets_count"),
        )

    def tensors(self, hp: T5HParams) -> WeightTable:
        """The embedding and the encoder's layers."""
        return {"token_embd": Weight((hp.n_vocab, hp.n_embd)), **self.stack_tensors(hp, "enc", hp.n_layer)}

    def ignored(self, md: ArchMetadata, hp: T5HParams) -> Sequence[str]:
        """Position biases of cross-attention, unused in T5 1.0, and the output matrix of an encoder file."""
        return (*super().ignored(md, hp), "dec.blk.*.cross_attn_rel_b.weight", "output.weight")

    def stack_tensors(self, hp: T5HParams, side: str, n_layer: int) -> WeightTable:
        """The layers of the encoder (`side` "enc") or the decoder ("dec")."""
        table = {f"{side}.output_norm": Weight((hp.n_embd,))}
        for i in range(n_layer):
            blk = f"{side}.blk.{i}"
            table[f"{blk}.attn_rel_b"] = Weight((hp.n_bucket, hp.n_head), optional=i > 0)
            table |= self.attention_tensors(hp, f"{blk}.attn")
            if side == "dec":
                table |= self.attention_tensors(hp, f"{blk}.cross_attn")
            table |= {
                f"{blk}.ffn_norm": Weight((hp.n_embd,)),
                f"{blk}.ffn_gate": Weight((hp.n_ff, hp.n_embd), optional=True),
                f"{blk}.ffn_up": Weight((hp.n_ff, hp.n_embd)),
                f"{blk}.ffn_down": Weight((hp.n_embd, hp.n_ff)),
            }
        return table

    def attention_tensors(self, hp: T5HParams, name: str) -> WeightTable:
        """Norm, q, k, v and output; n_head * head_dim may differ from n_embd."""
        n_k, n_v = hp.n_head * hp.head_dim, hp.n_head * hp.head_dim_v
        return {
            f"{name}_norm": Weight((hp.n_embd,)),
            f"{name}_q": Weight((n_k, hp.n_embd)),
            f"{name}_k": Weight((n_k, hp.n_embd)),
            f"{name}_v": Weight((n_v, hp.n_embd)),
            f"{name}_o": Weight((hp.n_embd, n_v)),
        }

    def self_attention(
        self, g: Graph, x: Value, blk: Any, hp: T5HParams, buckets: Any, layer: int | None
    ) -> Value:  # fmt: skip
        """x + attention(norm(x)); causal if the layer has a KV cache."""
        h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
        q, k, v = (g.heads(g.linear(h, weight), hp.n_head) for weight in (blk.attn_q, blk.attn_k, blk.attn_v))
        a = g.attention(q, k, v, layer=layer, scale=1.0, causal=layer is not None, buckets=buckets)
        return x + g.linear(a, blk.attn_o)

    def ffn(self, g: Graph, x: Value, blk: Any, hp: T5HParams) -> Value:
        """x + ffn(norm(x)): relu, or from T5 1.1 on gated gelu (tanh)."""
        h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
        if blk.ffn_gate is None:
            return x + mlp(g, h, blk, g.relu)
        return x + g.linear(g.gelu(g.linear(h, blk.ffn_gate)) * g.linear(h, blk.ffn_up), blk.ffn_down)

    def encoder(self, g: Graph, w: Weights, hp: T5HParams) -> Value:
        """The hidden state of every token of the encoder input."""
        x = g.embed(w.token_embd)
        for blk in w.enc_blk:
            x = self.self_attention(g, x, blk, hp, blk.attn_rel_b or w.enc_blk[0].attn_rel_b, layer=None)
            x = self.ffn(g, x, blk, hp)
        return g.rms_norm(x, w.enc_output_norm, eps=hp.norm_eps)

    def build(self, g: Graph, w: Weights, hp: T5HParams) -> Mapping[str, Value]:
        """The encoder only."""
        return {"hidden": self.encoder(g, w, hp)}

    def programs(self) -> Mapping[str, Any]:
        """Only "encode": an encoder generates no text."""
        return {"encode": self.build}


def scales_outputs(config: Config) -> bool:
    """Whether the output matrix is the embedding, of a scaled state; mT5's state is not scaled in any case."""
    if "MT5ForConditionalGeneration" in config["architectures"]:
        return False
    return bool(config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)))


class T5(T5Encoder):
    """T5, Flan-T5, UL2 and mT5 (https://arxiv.org/abs/1910.10683).

    The encoder reads the prompt once, the decoder generates. If the output matrix is the embedding (T5 1.0), its input
    is multiplied by n_embd^-0.5, as in the original, so that samples follow the model's own probabilities. llama.cpp
    does not do so.
    """

    name = "t5"
    checkpoint = Checkpoint(
        classes=tuple(f"{model}ForConditionalGeneration" for model in ("T5", "MT5", "UMT5")),
        names={**NAMES, "output": "lm_head|shared"},
        keys=KEYS,
        only=ONLY,
        tied=scales_outputs,
        ignored=("*coder.embed_tokens.weight", "*EncDecAttention.relative_attention_bias.weight"),
    )

    def tensors(self, hp: T5HParams) -> WeightTable:
        """Encoder, decoder and an output matrix that may be tied to the embedding."""
        output = Weight((hp.n_vocab, hp.n_embd), alias="token_embd")
        return {**super().tensors(hp), **self.stack_tensors(hp, "dec", hp.n_layer_decoder), "output": output}

    def encode(self, g: Graph, w: Weights, hp: T5HParams) -> Mapping[str, Value]:
        """The encoder, and the cross-attention K and V of every decoder layer."""
        x = self.encoder(g, w, hp)
        for i, blk in enumerate(w.dec_blk):
            k, v = (g.heads(g.linear(x, weight), hp.n_head) for weight in (blk.cross_attn_k, blk.cross_attn_v))
            g.cross_store(k, v, self.cross_cache(g, hp, i))
        return {"hidden": x}

    def cross_cache(self, g: Graph, hp: T5HParams, layer: int) -> Any:
        """Cache the keys and values of the encoder output."""
        return g.cache(layer, "cross", n_head_kv=hp.n_head, head_dim=hp.head_dim, head_dim_v=hp.head_dim_v)

    def build(self, g: Graph, w: Weights, hp: T5HParams) -> Mapping[str, Value]:
        """The decoder: self-attention, cross-attention, feed-forward."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.dec_blk):
            x = self.self_attention(g, x, blk, hp, blk.attn_rel_b or w.dec_blk[0].attn_rel_b, layer=i)
            h = g.rms_norm(x, blk.cross_attn_norm, eps=hp.norm_eps)
            q = g.heads(g.linear(h, blk.cross_attn_q), hp.n_head)
            x = x + g.linear(g.cross_attention(q, self.cross_cache(g, hp, i), scale=1.0), blk.cross_attn_o)
            x = self.ffn(g, x, blk, hp)
        x = g.rms_norm(x, w.dec_output_norm, eps=hp.norm_eps)
        if w.output.name == "token_embd":
            x = hp.n_embd**-0.5 * x
        return {"logits": g.linear(x, w.output)}

    def programs(self) -> Mapping[str, Any]:
        """The encoder runs once per prompt, the decoder for every generated token."""
        return {"encode": self.encode, "decode": self.build}


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [T5Encoder, T5]
