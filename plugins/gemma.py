"""The Gemma family: gemma, gemma2, gemma3 and gemma-embedding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
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
    embedding_tensors,
    geglu_ffn,
    gqa,
    gqa_tensors,
    norm_tensors,
    qkv,
    rotate,
    swiglu_tensors,
)
from realizar.arch.checkpoint import GELU_TANH, Config, Keys, Names, number, one_more, uneven_windows
from realizar.arch.rope_checkpoint import rope_parameters

# Checkpoints store w of the norms, GGUF files 1 + w.
NAMES: Names = {"output_norm": ("norm", one_more), "blk.{i}.attn_norm": ("layers.{i}.input_layernorm", one_more)}
POST_NORMS: Names = {
    **NAMES,
    "blk.{i}.post_attention_norm": ("layers.{i}.post_attention_layernorm", one_more),
    "blk.{i}.ffn_norm": ("layers.{i}.pre_feedforward_layernorm", one_more),
    "blk.{i}.post_ffw_norm": ("layers.{i}.post_feedforward_layernorm", one_more),
}
WINDOWS: Keys = {
    "attention.sliding_window": "sliding_window",
    "final_logit_softcapping": number("final_logit_softcapping"),
}

# Gemma's first checkpoints say "gelu" for what the original code computes with tanh.
ONLY = {"hidden_act": ("gelu", *GELU_TANH), "hidden_activation": (None, *GELU_TANH)}


def softcap(name: str) -> Callable[[Config], float | None]:
    """A soft cap of Gemma 2; 0 where config.json has null, since files without the key have the usual one."""
    return lambda config: float(config[name] or 0.0) if name in config else None


def query_scale(n_layer_27b: int) -> Callable[[Config], float | None]:
    """query_pre_attn_scalar ** -0.5, unless it is what `attn_scale` computes for files without the key."""

    def scale(config: Config) -> float | None:
        found = config.get("query_pre_attn_scalar")
        usual = config["head_dim"]
        if config["num_hidden_layers"] == n_layer_27b:
            usual = config["hidden_size"] // config["num_attention_heads"]
        return None if found is None or found == usual else float(found**-0.5)

    return scale


def window_base(config: Config) -> float | None:
    """The rotary base of sliding-window layers."""
    inner = config.get("rope_parameters") or {}
    if "sliding_attention" in inner:
        return number("rope_theta")(rope_parameters(config, "sliding_attention"))
    return number("rope_local_base_freq")(config)


# Files lack query_pre_attn_scalar; it is head_dim except in the 27B models, which llama.cpp recognises by their number
# of layers (src/models/gemma2.cpp, gemma3.cpp).
GEMMA2_27B_LAYERS, GEMMA3_27B_LAYERS = 46, 62


class Gemma(Architecture):
    """Gemma (https://arxiv.org/abs/2403.08295): the embedding is scaled by sqrt(n_embd), the gate is a gelu.

    The norms multiply by 1 + w, which is what files store.
    """

    name = "gemma"
    checkpoint = Checkpoint(
        ("GemmaForCausalLM",),
        {**NAMES, "blk.{i}.ffn_norm": ("layers.{i}.post_attention_layernorm", one_more)},
        only=ONLY,
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; a gated feed-forward; the output is tied to the embedding."""
        return tensors(hp)

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd, scale=hp.n_embd**0.5)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + geglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class GemmaHParams(HParams):
    """The hyperparameters of Gemma 2, Gemma 3 and EmbeddingGemma.

    Attributes
    ----------
    windows : Windows
    attn_scale : float
    attn_softcap, logit_softcap : float
        0 for none.
    dense : tuple of (int, int)
        Shapes of EmbeddingGemma's matrices after the final norm, which only some files have.
    """

    windows: Windows
    attn_scale: float
    attn_softcap: float
    logit_softcap: float
    dense: tuple[tuple[int, int], ...] = ()


class Gemma2(Architecture):
    """Gemma 2 (https://arxiv.org/abs/2408.00118): alternating sliding windows; pre- and post-norms; softcaps."""

    name = "gemma2"
    checkpoint = Checkpoint(
        ("Gemma2ForCausalLM",),
        POST_NORMS,
        {
            **WINDOWS,
            "attn_logit_softcapping": softcap("attn_logit_softcapping"),
            "final_logit_softcapping": softcap("final_logit_softcapping"),
            "attention.sliding_window_pattern": uneven_windows(2),
            "attention.scale": query_scale(GEMMA2_27B_LAYERS),
        },
        only=ONLY,
    )

    def window(self, md: ArchMetadata) -> int:
        """Sliding-window size; 4096 if the file has no key."""
        return min(md.positive("attention.sliding_window", 4096), 2**31 - 1)

    def hparams(self, md: ArchMetadata) -> GemmaHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        return GemmaHParams(
            **vars(hp),
            windows=self.windows(md, 2),
            attn_scale=attn_scale(md, hp, GEMMA2_27B_LAYERS),
            attn_softcap=md.between("attn_logit_softcapping", 0.0, 1e6, 50.0),
            logit_softcap=md.between("final_logit_softcapping", 0.0, 1e6, 30.0),
        )

    def tensors(self, hp: GemmaHParams) -> WeightTable:
        """As Gemma, with additional norms after attention and feed-forward."""
        return {**tensors(hp), **norm_tensors(hp.n_embd, "post_attention_norm", "post_ffw_norm")}

    def build(self, g: Graph, w: Weights, hp: GemmaHParams) -> Value:
        """x += norm(attention(norm(x))); x += norm(ffn(norm(x)))."""
        return decoder(g, w, hp)


class Gemma3(Architecture):
    """Gemma 3 (https://arxiv.org/abs/2503.19786): five sliding-window layers for each full one; q/k norms.

    Rope scaling applies only to full-attention layers.
    """

    name = "gemma3"
    checkpoint = Checkpoint(
        classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
        names={
            **POST_NORMS,
            "blk.{i}.attn_q_norm": ("layers.{i}.self_attn.q_norm", one_more),
            "blk.{i}.attn_k_norm": ("layers.{i}.self_attn.k_norm", one_more),
        },
        keys={
            **WINDOWS,
            "rope.freq_base_swa": window_base,
            "attention.sliding_window_pattern": uneven_windows(6),
            "attention.scale": query_scale(GEMMA3_27B_LAYERS),
        },
        only={**ONLY, "attn_logit_softcapping": (None,), "use_bidirectional_attention": (False, None)},
    )

    def hparams(self, md: ArchMetadata) -> GemmaHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        return GemmaHParams(
            **vars(hp),
            windows=self.windows(md, 6, rope_base=10000.0, rope_scaling=RopeScaling()),
            attn_scale=attn_scale(md, hp, GEMMA3_27B_LAYERS),
            attn_softcap=0.0,
            logit_softcap=md.between("final_logit_softcapping", 0.0, 1e6, 0.0),
        )

    def tensors(self, hp: GemmaHParams) -> WeightTable:
        """As Gemma 2, with norms over the heads of q and k."""
        return {
            **tensors(hp),
            **norm_tensors(hp.n_embd, "post_attention_norm", "post_ffw_norm"),
            "blk.{i}.attn_q_norm": Weight((hp.head_dim,)),
            "blk.{i}.attn_k_norm": Weight((hp.head_dim,)),
        }

    def build(self, g: Graph, w: Weights, hp: GemmaHParams) -> Value:
        """As Gemma 2, q and k normalized before they are rotated."""
        return decoder(g, w, hp, normed=True)


class GemmaEmbedding(Gemma3):
    """EmbeddingGemma (https://arxiv.org/abs/2509.20354): Gemma 3 with bidirectional attention and symmetric windows.

    The model multiplies pooled states by two matrices; here they multiply the states, which gives the same vectors.
    """

    name = "gemma-embedding"
    checkpoint = replace(
        Gemma3.checkpoint,
        classes=("Gemma3TextModel",),
        only={**ONLY, "attn_logit_softcapping": (None,), "use_bidirectional_attention": (True,)},
    )

    def hparams(self, md: ArchMetadata) -> GemmaHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        between = md.positive("dense_2_feat_out", hp.n_embd)
        dense = (between, hp.n_embd), (md.positive("dense_3_feat_out", hp.n_embd), between)
        return replace(hp, attn_scale=attn_scale(md, hp, 0), dense=dense)

    def tensors(self, hp: GemmaHParams) -> WeightTable:
        """As Gemma 3, without an output matrix; the matrices after the final norm are optional."""
        dense = {f"dense_{i}": Weight(shape, bias=None, optional=True) for i, shape in enumerate(hp.dense, 2)}
        table = {**super().tensors(hp), **dense}
        del table["output"]
        return table

    def ignored(self, md: ArchMetadata, hp: GemmaHParams) -> Sequence[str]:
        """The output matrix too, which states do not depend on."""
        return (*super().ignored(md, hp), "output.weight")

    def encode(self, g: Graph, w: Weights, hp: GemmaHParams) -> Mapping[str, Value]:
        """The state of every token."""
        x = layers(g, w, hp, normed=True, causal=False)
        for dense in (w.dense_2, w.dense_3):
            x = x if dense is None else g.linear(x, dense)
        return {"hidden": x}

    def programs(self) -> Mapping[str, Any]:
        """Only "encode": an encoder generates no text."""
        return {"encode": self.encode}


def tensors(hp: HParams) -> WeightTable:
    """The tensors that Gemma 1 to 3 share."""
    return {
        **embedding_tensors(hp.n_vocab, hp.n_embd),
        **gqa_tensors(hp, bias=None, output_bias=None),
        **norm_tensors(hp.n_embd, "ffn_norm"),
        **swiglu_tensors(hp.n_embd, hp.n_ff),
    }


def attn_scale(md: ArchMetadata, hp: HParams, n_layer_27b: int) -> float:
    """query_pre_attn_scalar ** -0.5; files made by llama.cpp have no key for it."""
    scalar = hp.n_embd // hp.n_head if hp.n_layer == n_layer_27b else hp.head_dim
    return md.between("attention.scale", 1e-6, 1e6, float(scalar**-0.5))


def attention(g: Graph, h: Value, blk: Any, hp: GemmaHParams, layer: int, normed: bool, causal: bool) -> Value:
    """Attention of a sliding-window or full layer, each with its own rotary embedding."""
    q, k, v = qkv(g, h, blk, hp)
    if normed:
        q, k = g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
    q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k)
    a = g.attention(
        q, k, v, layer=layer if causal else None, scale=hp.attn_scale, window=hp.windows[layer],
        softcap=hp.attn_softcap, causal=causal,
    )  # fmt: skip
    return g.linear(a, blk.attn_output)


def layers(g: Graph, w: Weights, hp: GemmaHParams, normed: bool, causal: bool = True) -> Value:
    """The layers of Gemma 2 and 3, and the final norm."""
    x = g.embed(w.token_embd, scale=hp.n_embd**0.5)
    for i, blk in enumerate(w.blk):
        a = attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, normed, causal)
        x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
        f = geglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        x = x + g.rms_norm(f, blk.post_ffw_norm, eps=hp.norm_eps)
    return g.rms_norm(x, w.output_norm, eps=hp.norm_eps)


def decoder(g: Graph, w: Weights, hp: GemmaHParams, normed: bool = False) -> Value:
    """The logits of Gemma 2 and 3."""
    logits = g.linear(layers(g, w, hp, normed), w.output)
    return g.softcap(logits, hp.logit_softcap) if hp.logit_softcap else logits


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Gemma, Gemma2, Gemma3, GemmaEmbedding]
