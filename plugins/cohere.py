"""The Cohere family: command-r (Command R, Aya), cohere2 (Command R7B, Command A) and cohere2moe."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import (
    LAYER_NORM_EPS,
    RMS_NORM_EPS,
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa_tensors, qkv, rotate, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Keys, number, windows
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import whole_head

KEYS: Keys = {
    "context_length": ("model_max_length", "max_position_embeddings"),
    "rope.dimension_count": whole_head,
    "logit_scale": number("logit_scale"),
}
WINDOWS: Keys = {"attention.sliding_window": "sliding_window", "attention.sliding_window_pattern": windows}
PERIOD = 4  # of layers with full attention, in files without a pattern


class CohereHParams(HParams):
    """The hyperparameters of dense models: the factor for logits, and the sliding-window layers."""

    logit_scale: float
    windows: Windows


class CommandR(Architecture):
    """Command R (https://docs.cohere.com/docs/command-r): attention and feed-forward in parallel on one norm.

    The norms are layer norms without biases. Command R+ normalizes each head of q and k with its own weights.
    """

    name = "command-r"
    checkpoint = Checkpoint(("CohereForCausalLM",), keys=KEYS)
    norm_eps_key = LAYER_NORM_EPS

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model."""
        return CohereHParams(**vars(super().hparams(md)), logit_scale=logit_scale(md), windows=self.windows(md, PERIOD))

    def tensors(self, hp: Any) -> WeightTable:
        """Separate q, k, v; the output is tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            "blk.{i}.attn_q_norm": Weight((hp.n_head, hp.head_dim), optional=True),
            "blk.{i}.attn_k_norm": Weight((hp.n_head_kv, hp.head_dim), optional=True),
            **self.feed_forward_tensors(hp),
        }

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """SwiGLU."""
        return swiglu_tensors(hp.n_embd, hp.n_ff)

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """x += attention(norm(x)) + ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = self.norm(g, x, blk.attn_norm, hp)
            x = x + self.attention(g, h, blk, hp, i) + self.feed_forward(g, h, blk, hp, i)
        return g.scale(g.linear(self.norm(g, x, w.output_norm, hp), w.output), hp.logit_scale)

    def norm(self, g: Graph, x: Value, weight: Any, hp: Any) -> Value:
        """Layer norm."""
        return g.layer_norm(x, weight, eps=hp.norm_eps)

    def attention(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """Full attention, or that of a sliding-window layer."""
        q, k, v = qkv(g, h, blk, hp)
        if blk.attn_q_norm is not None:
            q = g.layer_norm(q, blk.attn_q_norm, eps=hp.norm_eps)
        if blk.attn_k_norm is not None:
            k = g.layer_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        if self.has_positions(hp, layer):
            q, k = rotate(g, hp.windows.rotation(hp, layer), "norm", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.windows[layer])
        return g.linear(a, blk.attn_output)

    def has_positions(self, hp: Any, layer: int) -> bool:
        """Whether q and k of this layer are rotated."""
        return True

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """SwiGLU."""
        return swiglu_ffn(g, h, blk)


def logit_scale(md: ArchMetadata) -> float:
    """The factor for logits; 1 if the file has none."""
    return md.between("logit_scale", 0.0, 1e6, 0.0) or 1.0


class Cohere2(CommandR):
    """Command R7B and Command A (https://arxiv.org/abs/2504.00698): Command R with windows in three of four layers.

    Layers with full attention have no positions.
    """

    name = "cohere2"
    checkpoint = Checkpoint(("Cohere2ForCausalLM",), keys={**KEYS, **WINDOWS}, ignored=("*norm.bias",))

    def has_positions(self, hp: Any, layer: int) -> bool:
        """Only sliding-window layers have positions."""
        return bool(hp.windows[layer])


class CohereMoeHParams(RoutedHParams):
    """The hyperparameters of experts, with those of dense models, and whether the norms are RMS norms."""

    logit_scale: float
    windows: Windows
    rms_norm: bool


class Cohere2Moe(Cohere2):
    """Cohere 2 with experts: dense layers with positions, then the mean of chosen and shared experts."""

    name = "cohere2moe"
    checkpoint = Checkpoint(
        classes=("Cohere2MoeForCausalLM",),
        names=ROUTED_NAMES,
        keys={
            **KEYS,
            **WINDOWS,
            **ROUTED_KEYS,
            "feed_forward_length": ("prefix_dense_intermediate_size", "intermediate_size"),
            "expert_feed_forward_length": "intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "expert_gating_func": lambda config: 2 if config.get("expert_selection_fn") == "sigmoid" else 1,
        },
        only={"shared_expert_combination_strategy": ("average",)},
        ignored=("*norm.bias",),
    )

    def norm_eps(self, md: ArchMetadata) -> float:
        """The epsilon of RMS norms if the file has it, else that of layer norms."""
        return md.between(RMS_NORM_EPS, 0.0, 1.0) if has_rms_norm(md) else super().norm_eps(md)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model."""
        hp = routed_hparams(Architecture.hparams(self, md), md, "sigmoid")
        return CohereMoeHParams(
            **vars(hp),
            logit_scale=logit_scale(md),
            windows=self.windows(md, PERIOD, full_first=True),
            rms_norm=has_rms_norm(md),
        )

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """Dense feed-forwards, then experts."""
        return routed_tensors(hp)

    def norm(self, g: Graph, x: Value, weight: Any, hp: Any) -> Value:
        """Layer norm or RMS norm."""
        return g.rms_norm(x, weight, eps=hp.norm_eps) if hp.rms_norm else super().norm(g, x, weight, hp)

    def has_positions(self, hp: Any, layer: int) -> bool:
        """Sliding-window and dense layers have positions."""
        return super().has_positions(hp, layer) or hp.is_dense(layer)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """A dense feed-forward, experts, or the mean of the chosen and the shared experts."""
        y = routed_ffn(g, h, blk, hp, layer)
        return y * 0.5 if hp.n_ff_shared and not hp.is_dense(layer) else y


def has_rms_norm(md: ArchMetadata) -> bool:
    """Whether the norms are RMS norms: whether the file has their epsilon."""
    return md.number(RMS_NORM_EPS, 0.0) != 0


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [CommandR, Cohere2, Cohere2Moe]
