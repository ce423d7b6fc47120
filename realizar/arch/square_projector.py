"""SquareProjector: the base of vision encoders for squares of one size, with learned positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.checkpoint import Array
from realizar.arch.metadata import ArchMetadata
from realizar.arch.pixels import normalized, patches, resized, squares
from realizar.arch.projector import F32, Projector, Tile, VisionHParams, block_tensors, patch_tensors


class SquareProjector(Projector):
    """A projector of squares of one size, which are cut from a picture, or to which it is resized.

    `class_row` says where the row of the class embedding is among those of the patches, if the encoder has one.
    `filter` is that of resizing.
    """

    class_row: ClassVar[Literal["first", "last"] | None] = None
    filter: ClassVar[Literal["bilinear", "bicubic", "lanczos"]] = "bilinear"

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 1)

    def n_position(self, hp: VisionHParams) -> int:
        """The number of rows of a tile in the encoder."""
        return hp.n_side**2 + (self.class_row is not None)

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder; subclasses add the projector."""
        table = {**patch_tensors(hp, n_position=self.n_position(hp)), **block_tensors(hp)}
        return {**table, "v.class_embd": Weight((hp.n_embd,), suffix="")} if self.class_row else table

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions, and what the row of the class embedding needs."""
        bias = self.tensors(hp)["v.patch_embd"].bias
        of_class = ("v.class_embd", *(["v.patch_embd.bias"] if bias else [])) if self.class_row else ()
        return ("v.position_embd", *of_class)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The learned position of each row; that of the class has no patch, but its embedding."""
        rows = tables["v.position_embd"]
        if self.class_row is not None:
            rows = rows.copy()
            of_class = tables["v.class_embd"] - tables.get("v.patch_embd.bias", np.float32(0))
            rows[0 if self.class_row == "first" else -1] += of_class
        return {"learned_positions": rows}

    def n_rows(self, tile: Tile, hp: Any) -> int:
        """One row for each square of patches."""
        return int((tile.grid[0] // hp.merge) * (tile.grid[1] // hp.merge))

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The patches of each square beside each other, row after row, without the class."""
        rows = values["rows"]
        if self.class_row is not None:
            rows = rows[1:] if self.class_row == "first" else rows[:-1]
        cut = squares(rows, tile.grid, hp.merge)
        return {"rows": cut.reshape(len(cut), -1)}

    def tile(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> Tile:
        """A square of the encoder's size as a tile; the patch of the class is zero."""
        cut = patches(self.normalized(pixels, hp), hp.patch_size)
        if self.class_row is not None:
            blank = np.zeros((1, hp.n_pixel), np.float32)
            cut = np.concatenate([blank, cut] if self.class_row == "first" else [cut, blank])
        n = hp.n_side
        return Tile(cut, (n, n), np.arange(len(cut), dtype=np.int32)[None])

    def normalized(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> F32:
        """The numbers of a square, float32 [height, width, 3]."""
        return normalized(pixels, hp.mean, hp.std)

    def square(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> Tile:
        """A whole picture as a tile, whatever its shape."""
        return self.tile(resized(pixels, (hp.image_size, hp.image_size), self.filter), hp)

    def grid_tiles(self, pixels: npt.NDArray[np.uint8], hp: VisionHParams) -> list[list[Tile]]:
        """The tiles of a picture of whole tiles, row after row."""
        side = hp.image_size
        rows, columns = (n // side for n in pixels.shape[:2])
        return [
            [self.tile(pixels[i * side : (i + 1) * side, j * side : (j + 1) * side], hp) for j in range(columns)]
            for i in range(rows)
        ]


def flattened(x: Array, hp: VisionHParams) -> Array:
    """A kernel as a matrix over flattened patches; its bias is unchanged."""
    return x.reshape(len(x), -1) if x.ndim > 1 else x


def colors_first(x: Array, hp: VisionHParams) -> Array:
    """A matrix over patches of which each pixel's colors follow each other, for patches of a color after the other."""
    cut = x.reshape(len(x), hp.patch_size, hp.patch_size, 3) if x.ndim > 1 else x
    return cut.transpose(0, 3, 1, 2).reshape(len(x), -1) if x.ndim > 1 else x
