"""Projector: the base class of vision encoders, whose files (mmproj) accompany language models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from realizar.arch.architecture import LAYER_NORM_EPS, Architecture, Program, Weight, Weights, WeightTable
from realizar.arch.metadata import ArchMetadata
from realizar.errors import GGUFError
from realizar.graph import Graph, Value

MAX_PIXELS = 2**31 - 1
"""Greatest bound of a picture's area that a file may have."""

ROPE_BASE = 10000.0
"""Of the rotary embeddings of vision encoders by rows and columns, in all files."""

F32 = npt.NDArray[np.float32]
Activation = Callable[[Graph, Value], Value]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class VisionHParams:
    """The hyperparameters of a vision encoder, from the keys `clip.vision.*` as llama.cpp's converter writes them.

    Attributes
    ----------
    n_layer, n_embd, n_ff, n_head : int
    n_out : int
        Width of the rows that the language model reads.
    image_size, patch_size : int
        Sides in pixels: of the pictures for which there are learned positions, and of a patch.
    merge : int
        Side, in patches, of the square that becomes one row.
    norm_eps : float
    mean, std : tuple of float
        Of the channels red, green and blue.
    min_pixels, max_pixels : int
        Bounds of a picture's area after resizing; 0 if the file has none.
    """

    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_out: int
    image_size: int
    patch_size: int
    merge: int
    norm_eps: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min_pixels: int
    max_pixels: int

    @property
    def head_dim(self) -> int:
        """Elements of an attention head."""
        return self.n_embd // self.n_head

    @property
    def n_pixel(self) -> int:
        """Numbers of a patch: its pixels in three channels."""
        return 3 * self.patch_size**2

    @property
    def n_side(self) -> int:
        """Patches along a side of a picture of `image_size`."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, eq=False)
class Tile:
    """A preprocessed picture, or the part of one that is encoded by itself.

    Attributes
    ----------
    patches : float32 [n, n_pixel]
    grid : (int, int)
        Rows and columns of patches.
    positions : int32 [k, n]
        Of the patches, for the rotary embeddings of the encoder; a row for each axis.
    """

    patches: F32
    grid: tuple[int, int]
    positions: Int32


class Projector(Architecture):
    """A vision encoder: an architecture from the patches of a picture to rows that replace token embeddings.

    It has two programs. `build`, "encode", reads the value "patches" and those of `inputs`, and returns values with a
    row for each patch. `gather` rearranges them on the host, where several patches become one row. `project` reads the
    result by the same names and returns the rows for the language model: "rows", and further ones that are added to the
    hidden states after its first layers ("deepstack.0" and so on).

    `name` is the file's `clip.projector_type`, `modality` what the encoder reads (sounds: `SoundProjector`).
    `placeholder` is the text by which chat templates mark a picture, and is replaced by what `pieces` returns. `mask`
    is that of the rows in the language model. `has_flat_kernel` says that the patch embedding is a matrix in files, not
    the kernel of a convolution, and `config_key` where config.json describes the encoder.
    """

    norm_eps_key = LAYER_NORM_EPS
    modality: ClassVar[Literal["vision", "audio"]] = "vision"
    has_flat_kernel: ClassVar[bool] = False
    config_key: ClassVar[str] = "vision_config"
    placeholder: ClassVar[str]
    mask: ClassVar[Literal["causal", "bidirectional"]] = "causal"

    def hparams(self, md: ArchMetadata) -> Any:
        """Read the hyperparameters. Raises GGUFError if a key is missing or has an invalid value."""
        return VisionHParams(**self.vision_keys(md))

    def vision_keys(self, md: ArchMetadata) -> dict[str, Any]:
        """Return the fields of VisionHParams."""
        n_embd, n_head = md.positive("embedding_length"), md.positive("attention.head_count")
        image, patch, merge = md.positive("image_size"), md.positive("patch_size"), self.merge(md)
        if n_embd % n_head or patch * merge > image:
            raise GGUFError(
                f"{md.arch}: embedding_length {n_embd} must be a multiple of attention.head_count {n_head}, and "
                f"image_size {image} at least patch_size {patch} times {merge}, the patches of a row"
            )
        return {
            "n_layer": md.layers(), "n_embd": n_embd, "n_ff": md.positive("feed_forward_length"), "n_head": n_head,
            "n_out": md.positive("projection_dim"), "image_size": image, "patch_size": patch, "merge": merge,
            "norm_eps": md.between("attention.layer_norm_epsilon", 0.0, 1.0), "mean": color_numbers(md, "image_mean"),
            "std": color_numbers(md, "image_std"),
            "min_pixels": md.integer_between("image_min_pixels", 0, MAX_PIXELS, 0),
            "max_pixels": md.integer_between("image_max_pixels", 0, MAX_PIXELS, 0),
        }  # fmt: skip

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("spatial_merge_size", 1, 16, 1)

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """Return the hyperparameters with the sizes that only the shapes of the file's tensors tell, by full name."""
        return hp

    def with_numbers(self, hp: Any, numbers: Mapping[str, float]) -> Any:
        """Return the hyperparameters with those that the file stores as tensors of one element, by full name."""
        return hp

    def constants(self, hp: Any) -> Mapping[str, F32]:
        """Tensors that follow from the hyperparameters, such as rotary factors, by name, for `build`."""
        return {}

    def programs(self) -> Mapping[str, Program]:
        """The two programs, if "encode" is one."""
        return {"encode": self.build, "project": self.project}

    def programs_of(self, hp: Any) -> Mapping[str, Program]:
        """The programs for these hyperparameters, "project" last.

        Those before it run one after the other; each reads the inputs of "encode", and what the one before returned.
        """
        return self.programs()

    def groups(self, program: str, tile: Tile, hp: Any) -> Sequence[int]:
        """The numbers of consecutive patches that attend to each other in a program: by default all of the tile."""
        return (len(tile.patches),)

    def given(self, program: str, found: Mapping[str, F32], tile: Tile, hp: Any) -> Mapping[str, F32]:
        """The inputs of a program before "project": by default the patches, `inputs` and the results of earlier ones.

        `found` are all of these.
        """
        return found

    def encoder_positions(self, program: str, tile: Tile, hp: Any) -> Int32:
        """Positions of the rows of a program before "project", int32 [k, n]: by default those of the tile."""
        return tile.positions

    @abstractmethod
    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Record the program "encode" and return its outputs."""

    @abstractmethod
    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Record the program "project" and return its outputs."""

    @abstractmethod
    def pieces(self, pixels: npt.NDArray[Any], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """Preprocess a picture, uint8 [height, width, 3], to texts and tiles in the order of the prompt.

        All tiles together should become at most `max_rows` rows, if the model can resize pictures to any size.

        Raises
        ------
        PictureError
            If the model cannot read a picture of this shape.
        """

    def read(
        self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int, tables: Mapping[str, F32]
    ) -> Sequence[str | Tile | Sequence[int]]:
        """Return `pieces`, or for models whose pictures are tokens, their ids; `tables` as for `inputs`."""
        return self.pieces(pixels, hp, max_rows)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """Return what "encode" reads besides the patches: float32 [n, ...] by name.

        `tables` are the tensors of `table_names`.
        """
        return {}

    def table_names(self, hp: Any) -> Sequence[str]:
        """Names of the tensors that `inputs` and `gather` read, without ".weight"; the file may lack optional ones."""
        return ()

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """Return the inputs of "project" from the outputs of "encode": by default each block of patches as one row.

        `tables` as for `inputs`.
        """
        n = hp.merge**2
        return {name: rows.reshape(len(rows) // n, -1) for name, rows in values.items()}

    def n_rows(self, tile: Tile, hp: Any) -> int:
        """The number of rows of a tile in the language model."""
        return int(len(tile.patches) // hp.merge**2)

    def split_rows(self, tile: Tile, hp: Any) -> Sequence[int | str]:
        """Return the numbers of consecutive rows of a tile, and the texts between them: by default all rows."""
        return (self.n_rows(tile, hp),)

    def row_positions(self, tile: Tile, hp: Any) -> Int32 | None:
        """Positions of the rows, int32 [k, n_rows] relative to the first; None: as those of tokens."""
        return None


def patch_tensors(hp: VisionHParams, bias: bool = True, n_position: int = 0) -> WeightTable:
    """The tensors of the patch embedding, a convolution whose stride is its size, and of learned positions."""
    table = {"v.patch_embd": Weight((hp.n_embd, hp.n_pixel), bias=bias)}
    if n_position:
        table["v.position_embd"] = Weight((n_position, hp.n_embd))
    return table


def block_tensors(hp: VisionHParams, bias: bool = True) -> WeightTable:
    """The tensors of `encoder_block`; q, k and v are one fused tensor or three."""
    n = hp.n_embd
    parts = {"attn_q": n, "attn_k": n, "attn_v": n}
    return {
        "v.blk.{i}.attn_qkv": Weight((3 * n, n), bias=bias, parts=parts),
        "v.blk.{i}.attn_out": Weight((n, n), bias=bias),
        "v.blk.{i}.ln1": Weight((n,), bias=bias),
        "v.blk.{i}.ln2": Weight((n,), bias=bias),
        "v.blk.{i}.ffn_up": Weight((hp.n_ff, n), bias=bias),
        "v.blk.{i}.ffn_down": Weight((n, hp.n_ff), bias=bias),
    }


def attention(g: Graph, h: Value, blk: Any, hp: Any, rope: Mapping[str, Any] | None = None) -> Value:
    """Bidirectional attention among the patches of a tile; `rope` are the arguments of `Graph.rope`.

    `hp` has n_head and head_dim.
    """
    q, k, v = (g.heads(g.linear(h, one), hp.n_head) for one in (blk.attn_q, blk.attn_k, blk.attn_v))
    if rope is not None:
        q, k = g.rope(q, **rope), g.rope(k, **rope)
    return g.linear(g.attention(q, k, v, scale=hp.head_dim**-0.5, causal=False), blk.attn_out)


def encoder_block(
    g: Graph, x: Value, blk: Any, hp: VisionHParams, rope: Mapping[str, Any] | None = None, act: Activation = Graph.gelu
) -> Value:
    """x += attention(norm(x)); x += mlp(norm(x)): a layer of a vision transformer (https://arxiv.org/abs/2010.11929).

    `act` is the activation of the mlp, by default gelu's approximation by tanh.
    """
    x = x + attention(g, g.layer_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp, rope)
    h = g.layer_norm(x, blk.ln2, eps=hp.norm_eps)
    return x + g.linear(act(g, g.linear(h, blk.ffn_up)), blk.ffn_down)


def rope_2d(w: Weights, hp: VisionHParams, style: str = "neox", axes: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """The arguments of `Graph.rope` by rows and columns: half of the frequencies each, as in Qwen2-VL's encoder.

    `axes` are those of the first and the second half; `rope_2d_factors` is the constant "rope_factors".
    """
    first, second = ((axis,) * (hp.head_dim // 4) for axis in axes)
    return {"style": style, "dims": hp.head_dim, "base": ROPE_BASE, "axes": first + second, "factors": w.rope_factors}


def rope_2d_factors(hp: VisionHParams, alternating: bool = False) -> F32:
    """The divisors that turn base^(-2i / head_dim) into the frequencies of `rope_2d`: float32 [head_dim / 2].

    The i-th frequency of both halves is base^(-4i / head_dim). With `alternating`, those of one dimension,
    base^(-2i / head_dim), belong to both halves in turn, as in Pixtral.
    """
    if hp.head_dim % 4:
        raise GGUFError(f"clip.vision: heads of {hp.head_dim} elements; a multiple of 4 is needed for two axes")
    i, quarter = np.arange(hp.head_dim // 2), hp.head_dim // 4
    wanted = 4.0 * (i % quarter) + (2.0 * (i >= quarter) if alternating else 0.0)
    return np.asarray(ROPE_BASE ** ((wanted - 2.0 * i) / hp.head_dim), np.float32)


def color_numbers(md: ArchMetadata, key: str) -> tuple[float, ...]:
    """Three positive numbers, one for each channel."""
    found = md.metadata.get(f"{md.arch}.{key}")
    try:
        numbers = tuple(float(number) for number in found)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        numbers = ()
    if (
        len(numbers) != 3
        or not all(0 <= number < 1e6 for number in numbers)
        or (key == "image_std" and not all(numbers))
    ):
        raise GGUFError(f"{md.arch}.{key}: three numbers are needed, found {found!r:.80}; the file may be incomplete")
    return numbers
