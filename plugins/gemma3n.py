"""Gemma 3n: several residual streams (AltUp), low-rank residuals (Laurel), sparse gates, and per-layer embeddings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import norm_tensors
from realizar.arch.checkpoint import Array, Config
from realizar.arch.shared_kv import (
    IGNORED,
    KEYS,
    NAMES,
    Shared,
    SharedHParams,
    attention,
    logits,
    per_layer_ffn,
    per_layer_inputs,
)
from realizar.graph import OpSpec


def sparsity(config: Config) -> list[float]:
    """For each layer the quantile of the normal distribution below which gates do not count."""
    from statistics import NormalDist  # here: a plugin that only runs models needs not wait for it

    shares = config["activation_sparsity_pattern"]
    return [NormalDist().inv_cdf(share) if share > 0 else -math.inf for share in shares]


def for_all_tokens(x: Array, hp: Any) -> Array:
    """A table with rows of zeros for the tokens of images and sounds, which it lacks."""
    return np.pad(x, ((0, hp.n_vocab - len(x)), (0, 0)))


class Gemma3nHParams(SharedHParams):
    """The hyperparameters of Gemma 3n.

    Attributes
    ----------
    n_stream, active : int
        Number of residual streams, and the one that layers compute with.
    n_laurel : int
        Rank of the learned residual.
    sparsity : tuple[float, ...]
        How many standard deviations above their mean the gates of a layer must be to count; not above 0 for all.
    """

    n_stream: int
    active: int
    sparsity: tuple[float, ...]


class Gemma3n(Shared):
    """Gemma 3n (https://ai.google.dev/gemma/docs/gemma-3n): four residual streams, of which a layer computes one.

    The others are predicted (AltUp, https://arxiv.org/abs/2301.13310). A layer has a low-rank residual (Laurel,
    https://arxiv.org/abs/2411.07501) and, in the first ten, sparse gates.
    """

    name = "gemma3n"
    window_period = 5
    laurel_rank = 64  # llama.cpp (src/llama-hparams.h) has this constant too; files have no key for it
    checkpoint = Checkpoint(
        classes=("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
        names={
            **NAMES,
            "token_embd": ("embed_tokens", for_all_tokens),
            "per_layer_token_embd": ("embed_tokens_per_layer", for_all_tokens),
            "altup_proj": "altup_projections.{e}",
            "altup_unembd_proj": "altup_unembed_projections.{e}",
            "blk.{i}.altup_router": "layers.{i}.altup.modality_router",
            "blk.{i}.altup_router_norm": "layers.{i}.altup.router_norm",
            "blk.{i}.altup_predict_coef": "layers.{i}.altup.prediction_coefs",
            "blk.{i}.altup_correct_coef": "layers.{i}.altup.correction_coefs",
            "blk.{i}.altup_correct_scale": "layers.{i}.altup.correct_output_scale",
            "blk.{i}.laurel_l": "layers.{i}.laurel.linear_left",
            "blk.{i}.laurel_r": "layers.{i}.laurel.linear_right",
            "blk.{i}.laurel_post_norm": "layers.{i}.laurel.post_laurel_norm",
        },
        keys={
            **KEYS,
            "altup.active_idx": "altup_active_idx",
            "altup.num_inputs": "altup_num_inputs",
            "activation_sparsity_scale": sparsity,
        },
        only={"hidden_activation": ("gelu_pytorch_tanh",), "altup_correct_scale": (True,)},
        ignored=IGNORED,
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model; AltUp needs a second stream, and every layer its own embeddings."""
        n_stream = md.integer_between("altup.num_inputs", 2, 64, 4)
        md.positive("embedding_length_per_layer_input")
        return Gemma3nHParams(
            **vars(super().hparams(md)),
            n_stream=n_stream,
            active=md.integer_between("altup.active_idx", 0, n_stream - 1, 0),
            sparsity=md.numbers("activation_sparsity_scale", 0.0, finite=False),
        )

    def tensors(self, hp: Any) -> WeightTable:
        """The tensors of `Shared`, and those of AltUp and Laurel."""
        n, k = hp.n_embd, hp.n_stream
        return {
            **super().tensors(hp),
            "altup_proj": Weight((k - 1, n, n)),
            "altup_unembd_proj": Weight((k - 1, n, n)),
            **norm_tensors(n, "altup_router_norm", "altup_correct_scale", "laurel_post_norm"),
            "blk.{i}.altup_router": Weight((k, n)),
            "blk.{i}.altup_predict_coef": Weight((k * k, k)),
            "blk.{i}.altup_correct_coef": Weight((k, k)),
            "blk.{i}.laurel_l": Weight((self.laurel_rank, n)),
            "blk.{i}.laurel_r": Weight((n, self.laurel_rank)),
        }

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """A layer predicts all streams, computes the active one, and corrects all by how far it was off."""
        x = g.embed(w.token_embd, scale=hp.n_embd**0.5)
        inputs = per_layer_inputs(g, x, w, hp)
        streams = [x, *projected(g, [x] * (hp.n_stream - 1), w.altup_proj, x)]
        for i, blk in enumerate(w.blk):
            predicted = predict(g, streams, blk, hp)
            y = self.layer(g, predicted[hp.active], blk, hp, i)
            streams = correct(g, predicted, y, blk, hp)
            first = g.mul_weight(streams[hp.active], blk.altup_correct_scale)
            first = per_layer_ffn(g, first, inputs[i], blk, hp)
            streams = [streams[0], *(stream + first for stream in streams[1:])]
        for stream in projected(g, streams[1:], w.altup_unembd_proj, streams[0]):
            streams[0] = streams[0] + stream
        return logits(g, streams[0] * (1 / hp.n_stream), w, hp)

    def layer(self, g: Graph, x: Value, blk: Any, hp: Any, i: int) -> Value:
        """Attention beside Laurel, then a feed-forward."""
        h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
        laurel = g.linear(g.linear(h, blk.laurel_l), blk.laurel_r)
        laurel = h + g.rms_norm(laurel, blk.laurel_post_norm, eps=hp.norm_eps)
        a = g.rms_norm(attention(g, h, blk, hp, i), blk.post_attention_norm, eps=hp.norm_eps)
        x = (x + a + laurel) * 2**-0.5
        h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
        gate = g.linear(h, blk.ffn_gate)
        if hp.sparsity[i] > 0:
            (gate,) = g.op("gaussian_top", [gate], factor=hp.sparsity[i])
        f = g.linear(g.gelu(gate) * g.linear(h, blk.ffn_up), blk.ffn_down)
        return x + g.rms_norm(f, blk.post_ffw_norm, eps=hp.norm_eps)


def projected(g: Graph, streams: Sequence[Value], weight: Any, like: Value) -> list[Value]:
    """Each stream times its own matrix, with the magnitude of `like`."""
    x = g.heads(streams[0], 1)
    for stream in streams[1:]:
        x = g.concat(x, g.heads(stream, 1))
    x = g.per_head_linear(g.heads(g.flatten(x), len(streams)), weight)
    (x,) = g.op("rescale", [x, like])
    return g.split(g.flatten(x), *[like.shape[0]] * len(streams))


def routed(g: Graph, x: Value, blk: Any, hp: Any) -> Value:
    """The router of AltUp: tanh(W norm(x) / n_embd)."""
    h = g.rms_norm(x, blk.altup_router_norm, eps=hp.norm_eps) * (1 / hp.n_embd)
    return g.softcap(g.linear(h, blk.altup_router), 1.0)


def predict(g: Graph, streams: Sequence[Value], blk: Any, hp: Any) -> list[Value]:
    """Each stream plus a sum of all of them, with coefficients of the token."""
    n = len(streams)
    coefs = g.split(g.linear(routed(g, streams[hp.active], blk, hp), blk.altup_predict_coef), *[1] * n**2)
    predicted = []
    for i, y in enumerate(streams):
        for j, stream in enumerate(streams):
            y = y + stream * coefs[i * n + j]
        predicted.append(y)
    return predicted


def correct(g: Graph, predicted: Sequence[Value], y: Value, blk: Any, hp: Any) -> list[Value]:
    """Each stream plus 1 + its coefficient times what the active one lacks to y."""
    off = y + predicted[hp.active] * -1.0
    coefs = g.split(g.linear(routed(g, y, blk, hp), blk.altup_correct_coef), *[1] * len(predicted))
    return [stream + off + off * coef for stream, coef in zip(predicted, coefs, strict=True)]


def shape_of_x(inputs: Any, weights: Any, attrs: Any) -> list[Any]:
    """The shape of the first input."""
    return [inputs[0]]


def gaussian_top(x: list[Any], weights: list[Any], attrs: Mapping[str, Any], state: Any) -> list[Any]:
    """max(x - mean - factor * std, 0), std that of a sample (n - 1), as in llama.cpp's src/models/gemma3n.cpp."""
    wide = x[0].astype(np.float64)
    return [np.maximum(wide - wide.mean() - attrs["factor"] * wide.std(ddof=1), 0)]


def rescale(x: list[Any], weights: list[Any], attrs: Mapping[str, Any], state: Any) -> list[Any]:
    """Each row of x with the root mean square of `like`."""
    wide, like = (array.astype(np.float64) for array in x)
    square = np.maximum((wide**2).mean(axis=-1, keepdims=True), 1e-5)
    return [wide * np.sqrt((like**2).mean() / square)]


@hookimpl
def realizar_ops() -> Sequence[OpSpec]:
    """The ops of Gemma 3n."""
    return [
        OpSpec("gaussian_top", "y = max(x - mean - factor * std, 0)", ("factor",), shape_of_x, define=gaussian_top),
        OpSpec("rescale", "y[h] = x[h] * rms(like) / rms(x[h])", (), shape_of_x, inputs=("x", "like"), define=rescale),
    ]


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Gemma3n]
