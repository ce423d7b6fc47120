"""Preprocessing of pictures that projectors share: sizes, resizing, normalization, and cutting into patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from realizar.errors import MissingExtraError, PictureError

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Size = tuple[int, int]
"""Height and width in pixels."""

MAX_ASPECT = 200
"""Greatest ratio of the sides of a picture, as in transformers' `smart_resize`."""


def resized(pixels: U8, size: Size, filter: Literal["bilinear", "bicubic", "lanczos"]) -> U8:
    """Return a picture with another size, by Pillow's antialiased filters, uint8 [height, width, 3].

    Raises
    ------
    MissingExtraError
        If Pillow is not installed.
    """
    if pixels.shape[:2] == size:
        return pixels
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(f"pictures need the extra: pip install 'realizar[vision]' ({error})") from None
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling[filter.upper()]))


def bounded_size(height: int, width: int, factor: int, least: int, most: int) -> Size:
    """Return the size near a picture's whose sides are multiples of `factor` and whose area is within bounds.

    The shape is kept as far as possible: `smart_resize` in transformers' image_processing_qwen2_vl.py.

    Parameters
    ----------
    height, width : int
    factor : int
    least, most : int
        Bounds of the area, in pixels.

    Raises
    ------
    PictureError
        If one side is more than 200 times as long as the other.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise PictureError(
            f"a picture of {width} x {height} pixels: one side may be at most {MAX_ASPECT} times as long as the other; "
            "crop it"
        )
    h, w = (round(side / factor) * factor for side in (height, width))
    scale = math.sqrt(height * width / most)
    if h * w > most:
        h, w = (max(factor, math.floor(side / scale / factor) * factor) for side in (height, width))
    elif h * w < least:
        scale = math.sqrt(least / (height * width))
        h, w = (math.ceil(side * scale / factor) * factor for side in (height, width))
    return h, w


def normalized(pixels: U8, mean: Sequence[float], std: Sequence[float]) -> F32:
    """Return (pixels / 255 - mean) / std for each channel, float32 [height, width, 3]."""
    scaled = pixels.astype(np.float32) * np.float32(1 / 255)
    return np.asarray((scaled - np.array(mean, np.float32)) / np.array(std, np.float32), np.float32)


def patches(image: F32, patch: int, block: int = 1) -> F32:
    """Cut a picture into square patches, float32 [n, 3 * patch * patch], each channel after channel and row after row.

    Patches are in the order of rows; with `block`, square blocks of that many patches per side are in that order, and
    the patches of a block follow each other.
    """
    height, width, channels = image.shape
    side = patch * block
    cut = image.reshape(height // side, block, patch, width // side, block, patch, channels)
    return np.ascontiguousarray(cut.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, channels * patch * patch))


def grid_positions(rows: int, columns: int, block: int = 1) -> npt.NDArray[np.int32]:
    """Return row and column of each patch of a grid, int32 [2, rows * columns], in the order of `patches`."""
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    cut = grid.reshape(2, rows // block, block, columns // block, block)
    return np.ascontiguousarray(cut.transpose(0, 1, 3, 2, 4).reshape(2, -1), np.int32)


def interpolated(table: F32, rows: int, columns: int) -> F32:
    """Return a square grid of learned rows, resampled to another grid, float32 [rows * columns, n], row after row.

    Bilinear, with the corners of both grids in the same place, as PyTorch's `interpolate` with `align_corners`.

    Parameters
    ----------
    table : float32 [side * side, n]
    rows, columns : int
    """
    side = math.isqrt(len(table))
    grid = table.reshape(side, side, -1)
    top, bottom, down = _between(side, rows)
    left, right, across = _between(side, columns)
    down, across = down[:, None, None], across[None, :, None]
    upper = grid[top][:, left] * (1 - across) + grid[top][:, right] * across
    lower = grid[bottom][:, left] * (1 - across) + grid[bottom][:, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32).reshape(rows * columns, -1)


def resampled(table: F32, rows: int, columns: int, *, antialias: bool = False) -> F32:
    """Return a square grid of learned rows, resampled to another grid, float32 [rows * columns, n], row after row.

    Bilinear, as PyTorch's `interpolate` without `align_corners`; with `antialias`, the triangle is as wide as the step
    where the grid becomes smaller.

    Parameters
    ----------
    table : float32 [side * side, n]
    rows, columns : int
    antialias : bool
    """
    side = math.isqrt(len(table))
    grid = table.reshape(side, side, -1)
    down, across = (_triangle(side, n, antialias) for n in (rows, columns))
    found = np.einsum("iy,jx,yxk->ijk", down, across, grid, optimize=True)
    return np.asarray(found, np.float32).reshape(rows * columns, -1)


def _triangle(side: int, n: int, antialias: bool) -> F32:
    """The shares of `side` rows in each of n: float32 [n, side]."""
    step = side / n
    center = (np.arange(n) + 0.5) * step - 0.5
    shares = np.maximum(0.0, 1 - abs(np.arange(side) - center[:, None]) / (max(step, 1.0) if antialias else 1.0))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def squares(rows: F32, grid: tuple[int, int], side: int) -> F32:
    """Return the rows of each square of patches, float32 [n, side * side, k]: squares and patches row after row.

    Patches that fill no square are left out.

    Parameters
    ----------
    rows : float32 [grid[0] * grid[1], k]
        Row after row.
    grid : (int, int)
    side : int
        In patches.
    """
    n_row, n_column = (n // side for n in grid)
    whole = rows.reshape(*grid, -1)[: n_row * side, : n_column * side]
    cut = whole.reshape(n_row, side, n_column, side, -1).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cut).reshape(n_row * n_column, side * side, -1)


def tile_grid(height: int, width: int, side: int, least: int, most: int) -> tuple[int, int]:
    """Return the rows and columns of tiles, `least` to `most` in all, whose shape is closest to a picture's.

    Of shapes that are equally close, the one with more tiles is taken while the picture fills more than half of them:
    `get_optimal_tiled_canvas` in transformers' image_processing_got_ocr2.py.
    """
    sizes = [(w, h) for w in range(1, most + 1) for h in range(1, most + 1) if least <= w * h <= most]
    best, closest = (1, 1), math.inf
    for w, h in sorted(sizes, key=math.prod):
        difference = abs(width / height - w / h)
        if difference < closest or (difference == closest and height * width > 0.5 * side**2 * w * h):
            best, closest = (h, w), difference
    return best


def _between(side: int, n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], F32]:
    """Return for n places spread over a side the indices before and after each, and the share of the latter."""
    at = np.linspace(0, side - 1, n, dtype=np.float32)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, side - 1), (at - before).astype(np.float32)
