"""The vision encoder of Llama 4, llama4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from realizar.arch.checkpoint import Names
from realizar.arch.pixels import grid_positions, resized
from realizar.arch.projector import F32, encoder_block, rope_2d, rope_2d_factors
from realizar.arch.square_projector import SquareProjector

MOST_TILES = 16
"""The default of transformers' processor, where a file has no value."""


@dataclass(frozen=True)
class Llama4VHParams(VisionHParams):
    """Adds the widths of the two matrices after the encoder, and the greatest number of tiles."""

    widths: tuple[int, int]
    most_tiles: int


def names() -> Names:
    """The names of a checkpoint."""
    layer = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_out": "self_attn.o_proj", "ln1": "input_layernorm", "ln2": "post_attention_layernorm",
        "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2",
    }  # fmt: skip
    return {
        "v.patch_embd": "vision_model.patch_embedding.linear",
        "v.class_embd": "vision_model.class_embedding",
        "v.position_embd": "vision_model.positional_embedding_vlm",
        "v.pre_ln": "vision_model.layernorm_pre",
        "v.post_ln": "vision_model.layernorm_post",
        "mm.model.mlp.1": "vision_model.vision_adapter.mlp.fc1",
        "mm.model.mlp.2": "vision_model.vision_adapter.mlp.fc2",
        "mm.model.fc": "multi_modal_projector.linear_1",
        **{f"v.blk.{{i}}.{ours}": f"vision_model.model.layers.{{i}}.{theirs}" for ours, theirs in layer.items()},
    }


class Llama4Projector(SquareProjector):
    """The encoder of Llama 4 (https://ai.meta.com/blog/llama-4-multimodal-intelligence/).

    A vision transformer with learned positions and rotary embeddings by columns and rows. A picture is put on the
    canvas of square tiles that it fills best, and read as a whole as well; squares of 2 x 2 patches become one row.
    """

    name = "llama4"
    placeholder = "<|image|>"
    class_row = "last"
    has_flat_kernel = True
    checkpoint = Checkpoint(
        classes=("Llama4ForConditionalGeneration",),
        names=names(),
        keys={
            "attention.layer_norm_epsilon": lambda config: config["vision_config"]["norm_eps"],
            "projector.scale_factor": lambda config: int(1 / config["vision_config"]["pixel_shuffle_ratio"]),
            "projector.hidden_size": lambda config: config["vision_config"]["projector_input_dim"],
            "projector.output_size": lambda config: config["vision_config"]["projector_output_dim"],
            "preproc_max_tiles": lambda config: config["preprocessor"].get("max_patches", MOST_TILES),
        },
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 2)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; files of llama.cpp have the widths as shapes only."""
        return Llama4VHParams(
            **self.vision_keys(md),
            widths=(
                md.integer_between("projector.hidden_size", 1, 2**20, 1),
                md.integer_between("projector.output_size", 1, 2**20, 1),
            ),
            most_tiles=md.integer_between("preproc_max_tiles", 1, 256, MOST_TILES),
        )

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """The widths of the two matrices after the encoder."""
        first, second = (shapes.get(f"mm.model.mlp.{i}.weight", (1,))[0] for i in (1, 2))
        return replace(hp, widths=(first, second))

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder with norms before and after it, and three matrices without biases."""
        first, second = hp.widths
        return {
            **super().tensors(hp),
            "v.patch_embd": Weight((hp.n_embd, hp.n_pixel)),
            "v.pre_ln": Weight((hp.n_embd,), bias=True),
            "v.post_ln": Weight((hp.n_embd,), bias=True),
            "mm.model.mlp.1": Weight((first, hp.n_embd * hp.merge**2)),
            "mm.model.mlp.2": Weight((second, first)),
            "mm.model.fc": Weight((hp.n_out, second)),
        }

    def constants(self, hp: Any) -> Mapping[str, F32]:
        """The divisors of rotary frequencies."""
        return {"rope_factors": rope_2d_factors(hp)}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer, normalized."""
        x = g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd) + g.input("learned_positions", (hp.n_embd,))
        x = g.layer_norm(x, w.v_pre_ln, eps=hp.norm_eps)
        for blk in w.v_blk:
            x = encoder_block(g, x, blk, hp, rope_2d(w, hp, "norm", axes=(1, 0)), Graph.gelu_erf)
        return {"rows": g.layer_norm(x, w.v_post_ln, eps=hp.norm_eps)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu after each, and one more."""
        x = g.gelu_erf(g.linear(g.input("rows", (hp.n_embd * hp.merge**2,)), w.mm_model_mlp_1))
        return {"rows": g.linear(g.gelu_erf(g.linear(x, w.mm_model_mlp_2)), w.mm_model_fc)}

    def normalized(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> F32:
        """The numbers of a square, rounded to bfloat16 after each step, as the model's processor does."""
        scaled = bfloat16(pixels.astype(np.float32) * np.float32(1 / 255))
        mean, std = (bfloat16(np.array(numbers, np.float32)) for numbers in (hp.mean, hp.std))
        return bfloat16(bfloat16(scaled - mean) / std)

    def tile(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> Tile:
        """A square as a tile; positions begin at 1, so that the class, at 0, does not turn."""
        flat = super().tile(pixels, hp)
        positions = np.concatenate([grid_positions(*flat.grid) + 1, np.zeros((2, 1), np.int32)], axis=1)
        return replace(flat, positions=np.ascontiguousarray(positions, np.int32))

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The tiles, row after row, with tokens between them, and the whole picture."""
        height, width = pixels.shape[:2]
        side, per_tile = hp.image_size, (hp.n_side // hp.merge) ** 2
        rows, columns = best_canvas(height, width, side, max(1, min(hp.most_tiles, max_rows // per_tile - 1)))
        tiles = self.grid_tiles(fitted(pixels, (rows * side, columns * side), side), hp)
        if rows * columns == 1:
            return ["<|image_start|><|image|>", tiles[0][0], "<|image_end|>"]
        out: list[str | Tile] = ["<|image_start|>"]
        for row in tiles:
            for tile in row:
                out += [tile, "<|tile_x_separator|>"]
            out[-1] = "<|tile_y_separator|>"
        return [*out, "<|image|>", self.square(pixels, hp), "<|image_end|>"]


def bfloat16(x: F32) -> F32:
    """Numbers rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def best_canvas(height: int, width: int, side: int, most: int) -> tuple[int, int]:
    """Rows and columns of tiles on which a picture is enlarged least, or else made smaller least.

    Of canvases with the same scale, the smallest: `get_best_fit` in transformers' image_processing_llama4.py.
    """
    scales: dict[tuple[int, int], float] = {}
    for n in range(most, 0, -1):
        for rows in (i for i in range(1, n + 1) if n % i == 0):
            canvas = (rows, n // rows)
            scales[canvas] = float(min(np.float32(side * canvas[0] / height), np.float32(side * canvas[1] / width)))
    enlarging = [scale for scale in scales.values() if scale >= 1]
    wanted = min(enlarging) if enlarging else max(scales.values())
    return min((canvas for canvas, scale in scales.items() if scale == wanted), key=math.prod)


def fitted(pixels: npt.NDArray[np.uint8], canvas: tuple[int, int], side: int) -> npt.NDArray[np.uint8]:
    """A picture in the upper left corner of a black canvas, enlarged at most to the side of a tile."""
    height, width = pixels.shape[:2]
    bounds = [min(max(n, side), most) for n, most in zip((height, width), canvas, strict=True)]
    down, across = bounds[0] / height, bounds[1] / width
    if across < down:
        size = (max(1, min(math.floor(height * across), bounds[0])), bounds[1])
    else:
        size = (bounds[0], max(1, min(math.floor(width * down), bounds[1])))
    out = np.zeros((*canvas, 3), np.uint8)
    out[: size[0], : size[1]] = resized(pixels, size, "bilinear")
    return out


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [Llama4Projector]
