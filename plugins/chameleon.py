"""Chameleon: its language model, chameleon, and the tokenizer of its pictures, of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    GGUFError,
    Graph,
    HParams,
    Projector,
    Tile,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa_tensors, norm_tensors, qkv, rotate, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import PERMUTED, Array, Config, Names, permuted
from realizar.arch.pixels import normalized, resized
from realizar.arch.projector import F32, color_numbers
from realizar.arch.rope_checkpoint import whole_head
from realizar.arch.square_projector import flattened
from realizar.arch.vq_encoder import N_GROUP, VQEncoder, VQHParams, vq_tensors

QK_NORM_EPS = 1e-5
PIXEL_SCALE = 255 * 0.0078
"""Pixels are multiplied by 0.0078, not divided by 127.5, before 1 is subtracted."""


def image_tokens(config: Config) -> list[int]:
    """The token of each code of a picture, by code; its name has the code's digits as letters."""
    names = {name: token for name, token in config["vocabulary_map"].items() if name.startswith("IMGIMG")}
    digits = str.maketrans("ABCDEFGHIJ", "0123456789")
    codes = {int(name[len("IMGIMG") : -1].translate(digits)): token for name, token in names.items()}
    return [codes[code] for code in range(len(codes))]


def each_head(heads: str) -> Any:
    """Weights of the norm of each head, permuted as the rows of its projection are."""

    def transform(x: Array, hp: Any) -> Array:
        return permuted(heads)(x.reshape(-1), hp).reshape(x.shape)

    return transform


class ChameleonHParams(HParams):
    """The hyperparameters, with where the norms of a layer are: before its parts, or after them ("swin")."""

    is_swin: bool


class Chameleon(Architecture):
    """Chameleon (https://arxiv.org/abs/2405.09818): Llama with layer norms over each head of q and k.

    Pictures are tokens, which are no part of answers: converted files list them in `tokenizer.ggml.suppress_tokens`.
    In the 34B model norms are after attention and feed-forward.
    """

    name = "chameleon"
    checkpoint = Checkpoint(
        classes=("ChameleonForConditionalGeneration",),
        names={
            **PERMUTED,
            **{
                f"blk.{{i}}.attn_{part}_norm{end}": (f"layers.{{i}}.self_attn.{part}_norm{end}", each_head(heads))
                for part, heads in (("q", "n_head"), ("k", "n_head_kv"))
                for end in ("", ".bias")
            },
        },
        keys={
            "rope.dimension_count": whole_head,
            "swin_norm": lambda config: bool(config.get("swin_norm")),
            "tokenizer.ggml.suppress_tokens": image_tokens,
        },
        only={"attention_bias": (False,), "mlp_bias": (False,)},
    )

    def hparams(self, md: ArchMetadata) -> ChameleonHParams:
        """The hyperparameters of this model."""
        return ChameleonHParams(**vars(super().hparams(md)), is_swin=md.boolean("swin_norm", False))

    def tensors(self, hp: ChameleonHParams) -> WeightTable:
        """As Llama, with weights and biases of the norms of heads."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }
        for part, n_head in (("q", hp.n_head), ("k", hp.n_head_kv)):
            table[f"blk.{{i}}.attn_{part}_norm"] = Weight((n_head, hp.head_dim))
            table[f"blk.{{i}}.attn_{part}_norm.bias"] = Weight((n_head, hp.head_dim), suffix="", optional=True)
        return table

    def build(self, g: Graph, w: Weights, hp: ChameleonHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)); or the norms after them."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            if hp.is_swin:
                x = x + g.rms_norm(self.attention(g, x, blk, hp, i), blk.attn_norm, eps=hp.norm_eps)
                x = x + g.rms_norm(swiglu_ffn(g, x, blk), blk.ffn_norm, eps=hp.norm_eps)
            else:
                x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
                x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: ChameleonHParams, layer: int) -> Value:
        """Attention with q and k normalized head by head."""
        q, k, v = qkv(g, h, blk, hp)
        q = g.layer_norm(q, with_bias(blk.attn_q_norm, blk.attn_q_norm_bias), eps=QK_NORM_EPS)
        k = g.layer_norm(k, with_bias(blk.attn_k_norm, blk.attn_k_norm_bias), eps=QK_NORM_EPS)
        q, k = rotate(g, hp, "norm", q, k)
        return g.linear(g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5), blk.attn_output)


def with_bias(weight: Any, bias: Any) -> Any:
    """A weight with another as its bias, which has the shape of the weight."""
    return weight if bias is None else replace(weight, bias=bias.tensor)


def hparams_of(config: Config) -> VQHParams:
    """The hyperparameters that decide which tensors a checkpoint has."""
    vq = config["vision_config"]
    multipliers, n = vq["channel_multiplier"], vq["base_channels"]
    is_attention = vq.get("attn_type", "vanilla") == "vanilla"
    sides = [vq["resolution"] // 2**i for i in range(len(multipliers))]
    return VQHParams(
        side=vq["resolution"],
        channels=(n, *(n * multiplier for multiplier in multipliers)),
        n_block=vq["num_res_blocks"],
        attended=(*(is_attention and side in (vq.get("attn_resolutions") or ()) for side in sides), is_attention),
        n_latent=vq["latent_channels"] * (2 if vq["double_latent"] else 1),
        n_code_dim=vq["embed_dim"],
        tokens=(),
        mean=(),
        std=(),
    )


def checkpoint_names(config: Config) -> Names:
    """The names of the tokenizer's tensors in a checkpoint: as in files, within two modules."""
    table = ChameleonTokenizer().tensors(hparams_of(config))
    found: dict[str, Any] = {name: (f"vqmodel.encoder.{name.removeprefix('v.')}", flattened) for name in table}
    return {
        **found,
        "v.quant_conv": ("vqmodel.quant_conv", flattened),
        "v.codes": "vqmodel.quantize.embedding",
    }


class ChameleonTokenizer(Projector):
    """The tokenizer of Chameleon's pictures (https://arxiv.org/abs/2203.13131): the encoder of a VQ-GAN.

    Convolutions, residual blocks and attention make a picture a grid of vectors, each of which becomes the token of
    the closest code. They are computed on the host: graphs have no convolutions, and the result is tokens, not rows.
    """

    name = "chameleon"
    placeholder = "<image>"
    config_key = "vq_config"
    checkpoint = Checkpoint(
        classes=("ChameleonForConditionalGeneration",),
        names=checkpoint_names,
        keys={
            "projection_dim": None,
            "image_size": lambda config: config["vision_config"]["resolution"],
            "channels": lambda config: list(hparams_of(config).channels),
            "residual_blocks": lambda config: config["vision_config"]["num_res_blocks"],
            "attended": lambda config: [int(flag) for flag in hparams_of(config).attended],
            "latent_channels": lambda config: hparams_of(config).n_latent,
            "code_length": lambda config: config["vision_config"]["embed_dim"],
            "image_tokens": image_tokens,
            "image_mean": lambda config: [mean / PIXEL_SCALE for mean in config["preprocessor"]["image_mean"]],
            "image_std": lambda config: [std / PIXEL_SCALE for std in config["preprocessor"]["image_std"]],
        },
        ignored=("*post_quant_conv*",),
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters. Raises GGUFError if a list is missing or has invalid values."""
        channels, attended, tokens = (md.integers(key) for key in ("channels", "attended", "image_tokens"))
        side = md.positive("image_size")
        if any(n < 1 or n % N_GROUP for n in channels) or len(attended) != len(channels) or len(channels) < 2:
            raise GGUFError(
                f"{md.arch}: channels {channels} must be multiples of {N_GROUP}, at least two, and attended "
                f"{attended} as many flags"
            )
        if side % 2 ** (len(channels) - 2):
            raise GGUFError(f"{md.arch}: image_size {side} must be a multiple of 2 for each resolution but the last")
        return VQHParams(
            side=side,
            channels=channels,
            n_block=md.integer_between("residual_blocks", 1, 64),
            attended=tuple(bool(flag) for flag in attended),
            n_latent=md.positive("latent_channels"),
            n_code_dim=md.positive("code_length"),
            tokens=tokens,
            mean=color_numbers(md, "image_mean"),
            std=color_numbers(md, "image_std"),
        )

    def tensors(self, hp: Any) -> WeightTable:
        """Convolutions, blocks of each resolution, those in the middle, and the codes."""
        return vq_tensors(hp)

    def programs_of(self, hp: Any) -> Mapping[str, Any]:
        """None: it is computed on the host."""
        return {}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Nothing: it has no programs."""
        return {}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Nothing: it has no programs."""
        return {}

    def table_names(self, hp: Any) -> Sequence[str]:
        """All tensors."""
        table = self.tensors(hp)
        return [*table, *(f"{name}.bias" for name, weight in table.items() if weight.bias)]

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The tokens before and after a picture."""
        return ["<racm3:break>", "<eoss>"]

    def read(
        self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int, tables: Mapping[str, F32]
    ) -> Sequence[str | Tile | Sequence[int]]:
        """The tokens of a picture between those of its beginning and end."""
        before, after = self.pieces(pixels, hp, max_rows)
        codes = VQEncoder(hp, tables).codes(self.square(pixels, hp))
        return [before, [hp.tokens[code] for code in codes], after]

    def square(self, pixels: npt.NDArray[np.uint8], hp: Any) -> F32:
        """The middle square of a picture as numbers."""
        return normalized(cropped(pixels, hp.side), hp.mean, hp.std)


def cropped(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The middle square of a picture whose shorter side is made `side`, as transformers' processor does it."""
    height, width = pixels.shape[:2]
    size = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    image = resized(pixels, size, "lanczos")
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return image[top : top + side, left : left + side]


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The language model."""
    return [Chameleon]


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The tokenizer of pictures."""
    return [ChameleonTokenizer]
