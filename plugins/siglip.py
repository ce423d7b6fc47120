"""SigLIP vision encoders with the projectors gemma3 (Gemma 3) and idefics3 (Idefics 3, SmolVLM)."""

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
from realizar.arch.checkpoint import Config, one_more
from realizar.arch.pixels import resized, squares
from realizar.arch.projector import F32
from realizar.arch.siglip import siglip, siglip_names
from realizar.arch.square_projector import SquareProjector


class Siglip(SquareProjector):
    """SigLIP (https://arxiv.org/abs/2303.15343): a vision transformer for squares of one size.

    It has learned positions.
    """

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 4)

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder; subclasses add the projector."""
        return {**super().tensors(hp), "v.post_ln": Weight((hp.n_embd,), bias=True)}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer, normalized."""
        return {"rows": siglip(g, w, hp)}


def pooled_side(config: Config) -> int:
    """Side of the squares of Gemma 3 whose mean is one row."""
    vision = config["vision_config"]
    return int(vision["image_size"] // vision["patch_size"] // math.isqrt(config["mm_tokens_per_image"]))


class Gemma3Projector(Siglip):
    """The encoder of Gemma 3 (https://arxiv.org/abs/2503.19786): the means of squares, normalized, and one matrix.

    The rows of a picture see each other in both directions. Pictures are not cut into parts ("pan and scan").
    """

    name = "gemma3"
    placeholder = "<start_of_image>"
    mask = "bidirectional"
    checkpoint = Checkpoint(
        classes=("Gemma3ForConditionalGeneration",),
        names={
            **siglip_names("vision_tower.", "vision_tower.vision_model."),
            "mm.input_projection": "multi_modal_projector.mm_input_projection_weight",
            "mm.soft_emb_norm": ("multi_modal_projector.mm_soft_emb_norm", one_more),
        },
        keys={"projector.scale_factor": pooled_side},
    )

    def tensors(self, hp: Any) -> WeightTable:
        """The projection is stored as (n_in, n_out)."""
        return {
            **super().tensors(hp),
            "mm.soft_emb_norm": Weight((hp.n_embd,)),
            "mm.input_projection": Weight((hp.n_embd, hp.n_out)),
        }

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The picture as one square, whatever its shape."""
        return ["\n\n<start_of_image>", self.square(pixels, hp), "<end_of_image>\n\n"]

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The mean of each square."""
        cut = squares(values["rows"], tile.grid, hp.merge)
        return {"rows": cut.mean(axis=1, dtype=np.float64).astype(np.float32)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The projection of the normalized means."""
        x = g.rms_norm(g.input("rows", (hp.n_embd,)), w.mm_soft_emb_norm, eps=hp.norm_eps)
        return {"rows": g.flatten(g.per_head_linear(g.heads(x, 1), w.mm_input_projection, transposed=True))}


@dataclass(frozen=True)
class Idefics3HParams(VisionHParams):
    """Adds the length of a picture's longer side, from which tiles are cut."""

    longest: int


class Idefics3Projector(Siglip):
    """The encoder of Idefics 3 (https://arxiv.org/abs/2408.12637) and SmolVLM (https://arxiv.org/abs/2504.05299).

    A picture is cut into square tiles, and read as a whole as well. Squares of patches become one row, whose elements
    are those of its patches.
    """

    name = "idefics3"
    placeholder = "<image>"
    filter = "lanczos"
    checkpoint = Checkpoint(
        classes=("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"),
        names={**siglip_names("vision_model."), "mm.model.fc": "connector.modality_projection.proj"},
        keys={
            "projector.scale_factor": "scale_factor",
            "preproc_image_size": lambda config: config["preprocessor"]["size"]["longest_edge"],
        },
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; without a length of the longer side, pictures are one tile."""
        keys = self.vision_keys(md)
        return Idefics3HParams(**keys, longest=md.positive("preproc_image_size", keys["image_size"]))

    def tensors(self, hp: Any) -> WeightTable:
        """One matrix for the elements of a square."""
        return {**super().tensors(hp), "mm.model.fc": Weight((hp.n_out, hp.n_embd * hp.merge**2))}

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The tiles, row after row, each after its place; then the whole picture."""
        image = self.fitted_to_tiles(pixels, hp, max_rows)
        tiles = self.grid_tiles(image, hp)
        is_cut = len(tiles) * len(tiles[0]) > 1
        out: list[str | Tile] = []
        for i, row in enumerate(tiles if is_cut else []):
            for j, tile in enumerate(row):
                out += [f"<fake_token_around_image><row_{i + 1}_col_{j + 1}>", tile]
            out.append("\n")
        return [
            *out,
            "\n" * is_cut + "<fake_token_around_image><global-img>",
            self.square(image, hp),
            "<fake_token_around_image>",
        ]

    def fitted_to_tiles(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> npt.NDArray[np.uint8]:
        """A picture resized so that its longer side is `hp.longest`, then to whole tiles, as transformers does.

        If that gives more than `max_rows` rows, the longer side is shorter.
        """
        side, per_tile = hp.image_size, (hp.n_side // hp.merge) ** 2
        longest = hp.longest
        while True:
            height, width = _longest_side(pixels.shape[0], pixels.shape[1], longest)
            size = _whole_tiles(height, width, side)
            if longest <= side or (size[0] * size[1] // side**2 + 1) * per_tile <= max_rows:
                return resized(resized(pixels, (height, width), "lanczos"), size, "lanczos")
            longest = max(side, longest - side)

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """One matrix."""
        return {"rows": g.linear(g.input("rows", (hp.n_embd * hp.merge**2,)), w.mm_model_fc)}


def _longest_side(height: int, width: int, longest: int) -> tuple[int, int]:
    """The size with this longer side and an even other one (transformers' `_resize_output_size_rescale_to_max_len`)."""
    aspect = width / height
    if width >= height:
        other = int(longest / aspect)
        return max(other + other % 2, 1), longest
    other = int(longest * aspect)
    return longest, max(other + other % 2, 1)


def _whole_tiles(height: int, width: int, side: int) -> tuple[int, int]:
    """The size in whole tiles, the longer side first (`resize_for_vision_encoder`)."""
    aspect = width / height
    if width >= height:
        width = math.ceil(width / side) * side
        return max(1, math.ceil(int(width / aspect) / side)) * side, width
    height = math.ceil(height / side) * side
    return height, max(1, math.ceil(int(height * aspect) / side)) * side


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The projectors of this encoder."""
    return [Gemma3Projector, Idefics3Projector]
