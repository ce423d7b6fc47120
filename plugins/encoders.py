"""Encoders with norms before attention and feed-forward: modern-bert, neo-bert, eurobert and llama-embed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    gqa_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rank_head,
    rank_outputs,
    rank_tensors,
    rope_factors,
    rope_tensors,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import PERMUTED, Config, class_labels, number
from realizar.arch.rope_checkpoint import llama3_factors, rope_parameters

Activation = Callable[[Graph, Value], Value]

GATES: Mapping[str, Activation] = {
    "gelu": Graph.gelu_erf,
    "gelu_pytorch_tanh": Graph.gelu,
    "silu": Graph.silu,
}
"""Values of the key "hidden_activation": names of transformers."""
CLASS_NUMBERS = {"mean": 1, "cls": 2}
"""What config.json calls those of `CLASS_POOLINGS`."""
CLASS_POOLINGS: Mapping[int, Activation] = {1: Graph.pool_mean, 2: Graph.pool_first}
"""Values of the key "classifier.pooling_type"."""


def pattern(config: Config) -> int | list[bool]:
    """Which layers have a window: all but the first of so many, or a flag for each."""
    kinds = config.get("layer_types")
    return [kind == "sliding_attention" for kind in kinds] if kinds else int(config["global_attn_every_n_layers"])


def rope_base(kind: str, old: str) -> Callable[[Config], float | None]:
    """The rotary base of a kind of layer; its key was `old` before transformers 5."""
    return lambda config: number("rope_theta")(rope_parameters(config, kind)) or number(old)(config)


class EuroBert(Architecture):
    """EuroBERT and Jina Embeddings 5 nano: Llama with bidirectional attention (https://arxiv.org/abs/2503.05500)."""

    name = "eurobert"
    checkpoint: ClassVar[Checkpoint | None] = Checkpoint(
        ("EuroBertModel", "EuroBertForMaskedLM"), keys={"attention.causal": lambda config: False}
    )
    style = "neox"

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; SwiGLU; no output matrix."""
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "output_norm": Weight((hp.n_embd,)),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Mapping[str, Value]:
        """x += attention(norm(x)); x += ffn(norm(x)); the state of every token after a norm."""
        x = g.embed(w.token_embd)
        for blk in w.blk:
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            x = x + attend(g, *rotate(g, hp, self.style, q, k, self.factors(w, hp)), v, blk)
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return {"hidden": g.rms_norm(x, w.output_norm, eps=hp.norm_eps)}

    def factors(self, w: Weights, hp: HParams) -> Any:
        """Divisors of the rotary frequencies: none."""
        return None

    def programs(self) -> Mapping[str, Any]:
        """Only "encode": an encoder generates no text."""
        return {"encode": self.build}


class LlamaEmbed(EuroBert):
    """Llama-Embed-Nemotron: Llama 3 with bidirectional attention (https://arxiv.org/abs/2511.07025)."""

    name = "llama-embed"
    checkpoint = Checkpoint(
        ("LlamaBidirectionalModel", "LlamaBidirectionalForSequenceClassification"),
        {**PERMUTED, "rope_freqs": llama3_factors},
        keys={"attention.causal": lambda config: False},
        only={"hidden_act": ("silu",)},
    )
    style = "norm"

    def tensors(self, hp: HParams) -> WeightTable:
        """Also divisors of the rotary frequencies."""
        return {**super().tensors(hp), **rope_tensors(hp)}

    def ignored(self, md: ArchMetadata, hp: HParams) -> Sequence[str]:
        """The output matrix too, which hidden states do not depend on."""
        return (*super().ignored(md, hp), "output.weight")

    def factors(self, w: Weights, hp: HParams) -> Any:
        """Divisors of the rotary frequencies, as Llama 3 has them."""
        return rope_factors(w, hp)


def two_thirds(config: Config) -> int:
    """The width of NeoBERT's feed-forward: two thirds of intermediate_size, a multiple of 8."""
    return -(-int(2 * config["intermediate_size"] / 3) // 8) * 8


class NeoBert(Architecture):
    """NeoBERT (https://arxiv.org/abs/2502.19587): rms norms, rotary pairs, SwiGLU.

    The rows of the fused q, k and v go head by head, as in the model's own code. llama.cpp, whose converter leaves them
    so, takes them for all of q, then k, then v, and gives other vectors (docs/decisions/0036).
    """

    name = "neo-bert"
    checkpoint = Checkpoint(
        classes=("NeoBERT", "NeoBERTLMHead", "NeoBERTForSequenceClassification"),
        names={
            "token_embd": "encoder",
            "enc.output_norm": "layer_norm",
            "blk.{i}.attn_norm": "transformer_encoder.{i}.attention_norm",
            "blk.{i}.attn_qkv": "transformer_encoder.{i}.qkv",
            "blk.{i}.attn_output": "transformer_encoder.{i}.wo",
            "blk.{i}.ffn_norm": "transformer_encoder.{i}.ffn_norm",
            "blk.{i}.ffn_up": "transformer_encoder.{i}.ffn.w12",
            "blk.{i}.ffn_down": "transformer_encoder.{i}.ffn.w3",
            "cls": "dense",
            "cls.output": "classifier",
        },
        keys={
            "attention.causal": lambda config: False,
            "context_length": "max_length",
            "feed_forward_length": two_thirds,
            "attention.layer_norm_rms_epsilon": number("norm_eps"),
            "rope.freq_base": lambda config: 10000.0,
            "classifier.output_labels": class_labels,
        },
        only={"hidden_act": ("SwiGLU", "swiglu"), "rms_norm": (True,), "rope": (True,), "ngpt": (False,)},
        ignored=("decoder.*",),
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Fused q, k, v, in one order only; the classification head of a reranker."""
        n = hp.n_head * hp.head_dim
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "enc.output_norm": Weight((hp.n_embd,)),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            "blk.{i}.attn_qkv": Weight((3 * n, hp.n_embd)),
            "blk.{i}.attn_output": Weight((hp.n_embd, n)),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
            **rank_tensors(hp),
        }

    def hidden(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for blk in w.blk:
            h = g.heads(g.linear(g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk.attn_qkv), hp.n_head)
            q, k, v = (g.slice(h, i * hp.head_dim, hp.head_dim) for i in range(3))
            x = x + attend(g, *rotate(g, hp, "norm", q, k), v, blk)
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.rms_norm(x, w.enc_output_norm, eps=hp.norm_eps)

    def build(self, g: Graph, w: Weights, hp: HParams) -> Mapping[str, Value]:
        """The hidden state of every token."""
        return {"hidden": self.hidden(g, w, hp)}

    def rank(self, g: Graph, w: Weights, hp: HParams) -> Mapping[str, Value] | None:
        """The classification head on the first token's state."""
        return rank_head(g, w, lambda: g.pool_first(self.hidden(g, w, hp)))

    def programs(self) -> Mapping[str, Any]:
        """An encoder generates no text; rerankers have a head."""
        return {"encode": self.build, "rank": self.rank}


class ModernBertHParams(HParams):
    """The hyperparameters of ModernBERT.

    Attributes
    ----------
    windows : Windows
    gate : callable
        The activation of the gate.
    class_pooling : callable
        Which state of a text the classification head reads.
    """

    windows: Windows
    gate: Activation
    class_pooling: Activation


class ModernBert(Architecture):
    """ModernBERT (https://arxiv.org/abs/2412.13663), Granite Embedding R2: two of three layers have a window.

    The window is symmetric. Layer norms without biases; the first layer has none before attention.
    """

    name = "modern-bert"
    norm_eps_key = LAYER_NORM_EPS
    checkpoint = Checkpoint(
        classes=("ModernBertModel", "ModernBertForSequenceClassification"),
        names={
            "token_embd": "embeddings.tok_embeddings",
            "token_embd_norm": "embeddings.norm",
            "output_norm": "final_norm",
            "blk.{i}.attn_norm": "layers.{i}.attn_norm",
            "blk.{i}.attn_qkv": "layers.{i}.attn.Wqkv",
            "blk.{i}.attn_output": "layers.{i}.attn.Wo",
            "blk.{i}.ffn_norm": "layers.{i}.mlp_norm",
            "blk.{i}.ffn_up": "layers.{i}.mlp.Wi",
            "blk.{i}.ffn_down": "layers.{i}.mlp.Wo",
            "cls": "head.dense",
            "cls.norm": "head.norm",
            "cls.output": "classifier",
        },
        keys={
            "attention.causal": lambda config: False,
            "attention.layer_norm_epsilon": number("norm_eps"),
            "attention.sliding_window": "local_attention",
            "attention.sliding_window_pattern": pattern,
            "rope.freq_base": rope_base("full_attention", "global_rope_theta"),
            "rope.freq_base_swa": rope_base("sliding_attention", "local_rope_theta"),
            "hidden_activation": "hidden_activation",
            "classifier.pooling_type": lambda config: CLASS_NUMBERS.get(config.get("classifier_pooling", "cls")),
            "classifier.output_labels": class_labels,
        },
    )

    def hparams(self, md: ArchMetadata) -> ModernBertHParams:
        """The hyperparameters of this model; of every `period` layers the first has no window."""
        hp = super().hparams(md)
        windows = self.windows(md, 3, rope_scaling=RopeScaling())
        if isinstance(period := windows.pattern, int):
            windows = replace(windows, pattern=tuple(i % period != 0 for i in range(hp.n_layer)))
        return ModernBertHParams(
            **vars(hp),
            windows=windows,
            gate=md.choice("hidden_activation", GATES, "gelu"),
            class_pooling=md.choice("classifier.pooling_type", CLASS_POOLINGS, 1),
        )

    def tensors(self, hp: ModernBertHParams) -> WeightTable:
        """Fused q, k, v; a gated feed-forward; the classification head of a reranker."""
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "token_embd_norm": Weight((hp.n_embd,)),
            "output_norm": Weight((hp.n_embd,)),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            "blk.0.attn_norm": Weight((hp.n_embd,), optional=True),
            **qkv_tensors(hp),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
            **rank_tensors(hp),
            "cls.norm": Weight((hp.n_embd,), optional=True),
        }

    def hidden(self, g: Graph, w: Weights, hp: ModernBertHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.layer_norm(g.embed(w.token_embd), w.token_embd_norm, eps=hp.norm_eps)
        for i, blk in enumerate(w.blk):
            h = x if blk.attn_norm is None else g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            q, k, v = qkv(g, h, blk, hp)
            q, k = rotate(g, hp.windows.rotation(hp, i), "neox", q, k)
            x = x + attend(g, q, k, v, blk, hp.windows[i])
            h = g.layer_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            x = x + g.linear(hp.gate(g, g.linear(h, blk.ffn_gate)) * g.linear(h, blk.ffn_up), blk.ffn_down)
        return g.layer_norm(x, w.output_norm, eps=hp.norm_eps)

    def build(self, g: Graph, w: Weights, hp: ModernBertHParams) -> Mapping[str, Value]:
        """The hidden state of every token."""
        return {"hidden": self.hidden(g, w, hp)}

    def rank(self, g: Graph, w: Weights, hp: ModernBertHParams) -> Mapping[str, Value] | None:
        """output(norm(gelu(dense(x)))) of the first state or of the mean."""
        if w.cls_output is None:
            return None
        x = hp.class_pooling(g, self.hidden(g, w, hp))
        if w.cls is not None:
            x = g.gelu_erf(g.linear(x, w.cls))
        if w.cls_norm is not None:
            x = g.layer_norm(x, w.cls_norm, eps=hp.norm_eps)
        return rank_outputs(g, g.linear(x, w.cls_output))

    def programs(self) -> Mapping[str, Any]:
        """An encoder generates no text; rerankers have a head."""
        return {"encode": self.build, "rank": self.rank}


def attend(g: Graph, q: Value, k: Value, v: Value, blk: Any, window: int = 0) -> Value:
    """Bidirectional attention and its output matrix."""
    a = g.attention(q, k, v, scale=q.shape[1] ** -0.5, window=window, causal=False)
    return g.linear(a, blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this file."""
    return [EuroBert, LlamaEmbed, NeoBert, ModernBert]
