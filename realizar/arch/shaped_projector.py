"""ShapedProjector: the base of vision encoders that keep the shape of a picture, as those of the Qwen family do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from realizar.arch.checkpoint import Array
from realizar.arch.pixels import bounded_size, grid_positions, normalized, patches, resized
from realizar.arch.projector import Projector, Tile, VisionHParams

MOST_ROWS = 4096
"""Most rows of a picture where a file has no bounds, as in llama.cpp; the least are those of the models' processors."""


class ShapedProjector(Projector):
    """A projector of pictures that keep their shape, whose rows have positions of three axes, as in Qwen2-VL.

    `least_rows` is the least number of rows of a picture where a file has no bound, `around` are the tokens of its
    beginning and end.
    """

    placeholder = "<|vision_start|><|image_pad|><|vision_end|>"
    around: ClassVar[tuple[str, str]] = ("<|vision_start|>", "<|vision_end|>")
    least_rows: ClassVar[int]

    def row_bounds(self, hp: Any, max_rows: int) -> tuple[int, int]:
        """The least and the greatest number of rows of a picture."""
        side = hp.patch_size * hp.merge
        most = min(hp.max_pixels // side**2 or MOST_ROWS, max_rows)
        return min(hp.min_pixels // side**2 or self.least_rows, most), most

    def picture_size(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> tuple[int, int]:
        """Height and width of a picture, which keeps its shape: multiples of a merged square, within the bounds."""
        side = hp.patch_size * hp.merge
        least, most = self.row_bounds(hp, max_rows)
        return bounded_size(pixels.shape[0], pixels.shape[1], side, least * side**2, most * side**2)

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The picture between the tokens of its beginning and end."""
        height, width = self.picture_size(pixels, hp, max_rows)
        image = normalized(resized(pixels, (height, width), "bicubic"), hp.mean, hp.std)
        grid = (height // hp.patch_size, width // hp.patch_size)
        cut, positions = patches(image, hp.patch_size, hp.merge), grid_positions(*grid, hp.merge)
        order = self.order(grid, hp)
        if order is not None:  # of merged squares
            cut = cut.reshape(len(order), -1, hp.n_pixel)[order].reshape(-1, hp.n_pixel)
            positions = positions.reshape(2, len(order), -1)[:, order].reshape(2, -1)
        before, after = self.around
        return [before, Tile(cut, grid, np.ascontiguousarray(positions)), after]

    def order(self, grid: tuple[int, int], hp: Any) -> npt.NDArray[np.intp] | None:
        """The order of merged squares in the encoder; None: row after row."""
        return None

    def row_positions(self, tile: Tile, hp: Any) -> npt.NDArray[np.int32]:
        """Time, height and width of each row: a picture is at one time."""
        rows, columns = (n // hp.merge for n in tile.grid)
        return np.concatenate([np.zeros((1, rows * columns), np.int32), grid_positions(rows, columns)])


def frame_kernel(frame: int) -> Any:
    """The kernel of one frame of a convolution over two."""

    def cut(x: Array, hp: VisionHParams) -> Array:
        return x[:, :, frame].reshape(hp.n_embd, -1) if x.ndim > 2 else x

    return cut
