"""The vision encoder of LFM2-VL, lfm2."""

from __future__ import annotations

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
from realizar.arch.checkpoint import Config, Key
from realizar.arch.pixels import bounded_size, normalized, patches, resampled, resized, squares, tile_grid
from realizar.arch.projector import F32, block_tensors, patch_tensors
from realizar.arch.siglip import siglip, siglip_names
from realizar.arch.square_projector import colors_first

LEAST_ROWS, MOST_ROWS = 64, 256
LEAST_TILES, MOST_TILES, TILE_SIZE = 2, 10, 512
"""The defaults of transformers' processor, where a file has no value; llama.cpp has them as constants."""
TOLERANCE = 2.0
"""A picture this much larger than the greatest size is cut into tiles."""
PROJECTOR_EPS = 1e-5


@dataclass(frozen=True)
class Lfm2VHParams(VisionHParams):
    """Adds the width of the projector, and the numbers and side in pixels of tiles."""

    n_hidden: int
    tiles: tuple[int, int]
    tile_size: int


def of_processor(name: str, default: int) -> Key:
    """A number of the processor."""
    return lambda config: int(config["preprocessor"].get(name, default))


def pixels_of_rows(name: str, default: int) -> Key:
    """A bound of the processor in rows, as pixels."""

    def bound(config: Config) -> int:
        side = config["vision_config"]["patch_size"] * config.get("downsample_factor", 2)
        return int(config["preprocessor"].get(name, default) * side**2)

    return bound


def tiles(name: str, default: int) -> Key:
    """A bound of the number of tiles; 1 if pictures are not cut."""
    return lambda config: (
        int(config["preprocessor"].get(name, default)) if config["preprocessor"].get("do_image_splitting", True) else 1
    )


class Lfm2Projector(Projector):
    """The encoder of LFM2-VL (https://huggingface.co/LiquidAI/LFM2-VL-1.6B): SigLIP 2 for pictures of any shape.

    Learned positions are interpolated; squares of 2 x 2 patches become one row. A large picture is cut into square
    tiles, and read as a whole as well.
    """

    name = "lfm2"
    placeholder = "<image>"
    checkpoint = Checkpoint(
        classes=("Lfm2VlForConditionalGeneration",),
        names={
            **siglip_names("vision_tower.", "vision_tower.vision_model."),
            "v.patch_embd": (
                "vision_tower.embeddings.patch_embedding|vision_tower.vision_model.embeddings.patch_embedding",
                colors_first,
            ),
            "mm.input_norm": "multi_modal_projector.layer_norm",
            "mm.1": "multi_modal_projector.linear_1",
            "mm.2": "multi_modal_projector.linear_2",
        },
        keys={
            "image_size": lambda config: 256,  # as llama.cpp writes it; pictures have any size
            "projector.scale_factor": lambda config: config.get("downsample_factor", 2),
            "projector.hidden_size": "projector_hidden_size",
            "position_count": lambda config: config["vision_config"]["num_patches"],
            "image_min_pixels": pixels_of_rows("min_image_tokens", LEAST_ROWS),
            "image_max_pixels": pixels_of_rows("max_image_tokens", MOST_ROWS),
            "preproc_min_tiles": tiles("min_tiles", LEAST_TILES),
            "preproc_max_tiles": tiles("max_tiles", MOST_TILES),
            "preproc_image_size": of_processor("tile_size", TILE_SIZE),
        },
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 2)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; files of llama.cpp have the widths of the projector and the positions as shapes only."""
        keys = self.vision_keys(md)
        least = md.integer_between("preproc_min_tiles", 1, 256, LEAST_TILES)
        hp = Lfm2VHParams(
            **keys,
            n_hidden=md.integer_between("projector.hidden_size", 1, 2**20, 1),
            tiles=(least, md.integer_between("preproc_max_tiles", least, 256, max(least, MOST_TILES))),
            tile_size=md.positive("preproc_image_size", TILE_SIZE),
        )
        return replace(hp, image_size=hp.patch_size * round(md.integer_between("position_count", 1, 2**20, 1) ** 0.5))

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """The side of the grid of positions, and the width of the projector."""
        n_position, n_hidden = (shapes.get(name, (1,))[0] for name in ("v.position_embd.weight", "mm.1.weight"))
        return replace(hp, image_size=hp.patch_size * round(n_position**0.5), n_hidden=n_hidden)

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder; a norm in some files, and two matrices."""
        n = hp.n_embd * hp.merge**2
        return {
            **patch_tensors(hp, n_position=hp.n_side**2),
            **block_tensors(hp),
            "v.post_ln": Weight((hp.n_embd,), bias=True),
            "mm.input_norm": Weight((n,), bias=True, optional=True),
            "mm.1": Weight((hp.n_hidden, n), bias=None),
            "mm.2": Weight((hp.n_out, hp.n_hidden), bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer, normalized."""
        return {"rows": siglip(g, w, hp)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu between them, after a norm in some models."""
        x = g.input("rows", (hp.n_embd * hp.merge**2,))
        if w.mm_input_norm is not None:
            x = g.layer_norm(x, w.mm_input_norm, eps=PROJECTOR_EPS)
        return {"rows": g.linear(g.gelu_erf(g.linear(x, w.mm_1)), w.mm_2)}

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The tiles, row after row, each after its place, and the whole picture; only this if it is small."""
        (height, width), side = pixels.shape[:2], hp.patch_size * hp.merge
        most = min(hp.max_pixels // side**2 or MOST_ROWS, max_rows)
        least = min(hp.min_pixels // side**2 or LEAST_ROWS, most)
        size = bounded_size(height, width, side, least * side**2, most * side**2)
        whole = self.tile(resized(pixels, size, "bilinear"), hp)
        rows, columns = self.cut(height, width, hp, max_rows - self.n_rows(whole, hp))
        out: list[str | Tile] = ["<|image_start|>"]
        if rows * columns > 1:
            n = hp.tile_size
            image = resized(pixels, (rows * n, columns * n), "bilinear")
            for i in range(rows):
                for j in range(columns):
                    cut = image[i * n : (i + 1) * n, j * n : (j + 1) * n]
                    out += [f"<|img_row_{i + 1}_col_{j + 1}|>", self.tile(cut, hp)]
            out.append("<|img_thumbnail|>")
        return [*out, whole, "<|image_end|>"]

    def cut(self, height: int, width: int, hp: Any, max_rows: int) -> tuple[int, int]:
        """Rows and columns of tiles: one if the picture is not much larger than its greatest size."""
        side = hp.patch_size * hp.merge
        rounded = [max(hp.patch_size, round(n / side) * side) for n in (height, width)]
        greatest = (hp.max_pixels or MOST_ROWS * side**2) * TOLERANCE
        least, most = hp.tiles
        most = min(most, max_rows // (hp.tile_size // side) ** 2)
        if rounded[0] * rounded[1] <= greatest or most < max(2, least):
            return 1, 1
        return tile_grid(height, width, hp.tile_size, least, most)

    def tile(self, pixels: npt.NDArray[np.uint8], hp: Any) -> Tile:
        """A picture of whole squares of patches."""
        grid = (pixels.shape[0] // hp.patch_size, pixels.shape[1] // hp.patch_size)
        cut = patches(normalized(pixels, hp.mean, hp.std), hp.patch_size)
        return Tile(cut, grid, np.arange(len(cut), dtype=np.int32)[None])

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions."""
        return ("v.position_embd",)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The learned positions, interpolated to the grid."""
        return {"learned_positions": resampled(tables["v.position_embd"], *tile.grid, antialias=True)}

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The patches of each square beside each other."""
        cut = squares(values["rows"], tile.grid, hp.merge)
        return {"rows": cut.reshape(len(cut), -1)}


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [Lfm2Projector]
