"""The vision encoder of Pixtral and Mistral 3, pixtral."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import (
    ArchMetadata,
    Checkpoint,
    Graph,
    Projector,
    Tile,
    Value,
    VisionHParams,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.checkpoint import Config, Names, permuted
from realizar.arch.pixels import grid_positions, normalized, patches, resized, squares
from realizar.arch.projector import F32, attention, block_tensors, patch_tensors, rope_2d, rope_2d_factors
from realizar.arch.square_projector import flattened

BREAK = "[IMG_BREAK]"
EMBEDDINGS = "language_model.embed_tokens|language_model.model.embed_tokens|model.language_model.embed_tokens"


@dataclass(frozen=True)
class PixtralHParams(VisionHParams):
    """Adds what a flag of the file says: whether the gates of feed-forwards are silu, else gelu."""

    is_silu: bool

    @property
    def rope_dims(self) -> int:
        """Elements of a head that are rotated: all."""
        return self.head_dim


def names(config: Config) -> Names:
    """The names of a checkpoint; the file also has the embedding of the token after each row of patches."""
    layer: dict[str, Any] = {
        "attn_v": "attention.v_proj", "attn_out": "attention.o_proj", "ln1": "attention_norm", "ln2": "ffn_norm",
        **{f"ffn_{part}": f"feed_forward.{part}_proj" for part in ("gate", "up", "down")},
    }  # fmt: skip
    found: dict[str, Any] = {
        f"v.blk.{{i}}.{ours}": f"vision_tower.transformer.layers.{{i}}.{theirs}" for ours, theirs in layer.items()
    }
    for part in "qk":
        source = f"vision_tower.transformer.layers.{{i}}.attention.{part}_proj"
        found[f"v.blk.{{i}}.attn_{part}"] = (source, permuted("n_head"))
    token = config.get("special_tokens", {}).get(BREAK)
    if token is not None:
        found["v.token_embd.img_break"] = (EMBEDDINGS, lambda x, hp: x[token])
    return {
        **found,
        "v.patch_embd": ("vision_tower.patch_conv", flattened),
        "v.pre_ln": "vision_tower.ln_pre",
        "mm.input_norm": "multi_modal_projector.norm",
        "mm.patch_merger": "multi_modal_projector.patch_merger.merging_layer",
        "mm.1": "multi_modal_projector.linear_1",
        "mm.2": "multi_modal_projector.linear_2",
    }


class Pixtral(Projector):
    """The encoder of Pixtral (https://arxiv.org/abs/2410.07073) and of Mistral 3.

    A vision transformer with RMS norms, gated feed-forwards and two-axis rotary embeddings. In Mistral 3 a matrix
    merges squares of 2 x 2 patches. A token ends each row of a picture in the prompt.
    """

    name = "pixtral"
    placeholder = "[IMG]"
    checkpoint = Checkpoint(
        classes=("Mistral3ForConditionalGeneration", "LlavaForConditionalGeneration"),
        names=names,
        keys={
            "attention.layer_norm_epsilon": lambda config: 1e-5,  # a constant in transformers
            "spatial_merge_size": lambda config: config.get("spatial_merge_size", 1),
        },
        applies=lambda config: config["vision_config"].get("model_type") == "pixtral",
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters."""
        return PixtralHParams(**self.vision_keys(md), is_silu=md.metadata.get("clip.use_silu") is True)

    def tensors(self, hp: Any) -> WeightTable:
        """Gates, norms without biases; the merger only if squares are merged."""
        n, table = hp.n_embd, block_tensors(hp, bias=False)
        if hp.merge > 1:
            table["mm.input_norm"] = Weight((n,))
            table["mm.patch_merger"] = Weight((n, n * hp.merge**2))
        return {
            **patch_tensors(hp, bias=False),
            **table,
            "v.blk.{i}.ffn_gate": Weight((hp.n_ff, n)),
            "v.pre_ln": Weight((n,)),
            "mm.1": Weight((hp.n_out, n), bias=None),
            "mm.2": Weight((hp.n_out, hp.n_out), bias=None),
            "v.token_embd.img_break": Weight((hp.n_out,), suffix="", optional=True),
        }

    def constants(self, hp: Any) -> Mapping[str, F32]:
        """The divisors of rotary frequencies."""
        return {"rope_factors": rope_2d_factors(hp, alternating=True)}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer; before the merger they are normalized."""
        x = g.rms_norm(g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd), w.v_pre_ln, eps=hp.norm_eps)
        act = g.silu if hp.is_silu else g.gelu_erf
        for blk in w.v_blk:
            x = x + attention(g, g.rms_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp, rope_2d(w, hp, "norm"))
            h = g.rms_norm(x, blk.ln2, eps=hp.norm_eps)
            x = x + g.linear(act(g.linear(h, blk.ffn_gate)) * g.linear(h, blk.ffn_up), blk.ffn_down)
        return {"rows": x if hp.merge == 1 else g.rms_norm(x, w.mm_input_norm, eps=hp.norm_eps)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu between them, after the merger."""
        x = g.input("rows", (hp.n_embd * hp.merge**2,))
        if hp.merge > 1:
            x = g.linear(x, w.mm_patch_merger)
        return {"rows": g.linear(g.gelu_erf(g.linear(x, w.mm_1)), w.mm_2)}

    def picture_size(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> tuple[int, int]:
        """Height and width of whole squares; the longer side is at most that of the encoder.

        `get_resize_output_image_size` in transformers' image_processing_pixtral.py. The side is less if the rows would
        be too many.
        """
        side, longest = hp.patch_size * hp.merge, hp.image_size
        while True:
            ratio = max(*pixels.shape[:2], longest) / longest
            rows, columns = (max(1, math.ceil(math.floor(n / ratio) / side)) for n in pixels.shape[:2])
            if rows * (columns + 1) <= max_rows or longest <= side:
                return rows * side, columns * side
            longest = max(side, longest - side)

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The picture and the token of its end."""
        height, width = self.picture_size(pixels, hp, max_rows)
        image = normalized(resized(pixels, (height, width), "bicubic"), hp.mean, hp.std)
        grid = (height // hp.patch_size, width // hp.patch_size)
        return [Tile(patches(image, hp.patch_size), grid, grid_positions(*grid)), "[IMG_END]"]

    def split_rows(self, tile: Tile, hp: Any) -> Sequence[int | str]:
        """A token after each row of squares but the last."""
        rows, columns = (n // hp.merge for n in tile.grid)
        return [*[columns, BREAK] * (rows - 1), columns]

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """Each element of the patches of a square beside each other."""
        cut = squares(values["rows"], tile.grid, hp.merge).transpose(0, 2, 1)
        return {"rows": np.ascontiguousarray(cut).reshape(len(cut), -1)}


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [Pixtral]
