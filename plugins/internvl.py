"""The vision encoder of InternVL, internvl."""

from __future__ import annotations

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
from realizar.arch.checkpoint import Key, Names
from realizar.arch.pixels import resized, tile_grid
from realizar.arch.square_projector import SquareProjector, flattened

LARGE = (3200, 45)
"""Width and layers of the encoder of 6 B parameters, which has RMS norms; files do not say it."""
PROJECTOR_EPS = 1e-5
NORM_EPS = 1e-6
"""Of the norms of queries and keys."""
MOST_TILES = 12


@dataclass(frozen=True)
class InternVLHParams(VisionHParams):
    """Adds the least and the greatest number of tiles, and whether norms are RMS norms."""

    tiles: tuple[int, int]
    is_rms: bool


def names() -> Names:
    """The names of a checkpoint."""
    layer = {
        "attn_q": "attention.q_proj", "attn_k": "attention.k_proj", "attn_v": "attention.v_proj",
        "attn_out": "attention.projection_layer", "attn_q_norm": "attention.q_norm", "attn_k_norm": "attention.k_norm",
        "ln1": "layernorm_before", "ln2": "layernorm_after", "ls1": "lambda_1", "ls2": "lambda_2", "ffn_up": "mlp.fc1",
        "ffn_down": "mlp.fc2",
    }  # fmt: skip
    return {
        "v.patch_embd": ("vision_tower.embeddings.patch_embeddings.projection", flattened),
        "v.class_embd": "vision_tower.embeddings.cls_token",
        "v.position_embd": "vision_tower.embeddings.position_embeddings",
        "mm.0": "multi_modal_projector.layer_norm",
        "mm.1": "multi_modal_projector.linear_1",
        "mm.3": "multi_modal_projector.linear_2",
        **{f"v.blk.{{i}}.{ours}": f"vision_tower.encoder.layer.{{i}}.{theirs}" for ours, theirs in layer.items()},
    }


def first_of(name: str) -> Key:
    """A size of the encoder, which may be given for both sides."""
    return lambda config: np.atleast_1d(config["vision_config"][name]).tolist()[0]


class InternVL(SquareProjector):
    """The encoder of InternVL 2.5 to 3.5 (https://arxiv.org/abs/2504.10479): InternViT.

    A vision transformer with scaled branches and a class embedding. A picture is cut into the grid of square tiles
    that is closest to its shape, and read as a whole as well; squares of 2 x 2 patches become one row.
    """

    name = "internvl"
    placeholder = "<IMG_CONTEXT>"
    class_row = "first"
    filter = "bicubic"
    checkpoint = Checkpoint(
        classes=("InternVLForConditionalGeneration",),
        names=names(),
        keys={
            "image_size": first_of("image_size"),
            "patch_size": first_of("patch_size"),
            "projector.scale_factor": lambda config: int(1 / config["downsample_ratio"]),
            "preproc_min_tiles": lambda config: config["preprocessor"].get("min_patches", 1),
            "preproc_max_tiles": lambda config: config["preprocessor"].get("max_patches", MOST_TILES),
        },
        only={"vision_feature_layer": (-1,), "vision_feature_select_strategy": ("default",)},
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 2)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters."""
        keys = self.vision_keys(md)
        least = md.integer_between("preproc_min_tiles", 1, 256, 1)
        most = md.integer_between("preproc_max_tiles", least, 256, max(least, MOST_TILES))
        is_rms = (keys["n_embd"], keys["n_layer"]) == LARGE
        return InternVLHParams(**keys, tiles=(least, most), is_rms=is_rms)

    def tensors(self, hp: Any) -> WeightTable:
        """Scales of branches; norms of queries and keys in the large encoder; a norm and two matrices."""
        n, table, bias = hp.n_embd, super().tensors(hp), not hp.is_rms
        parts = {"attn_q": n, "attn_k": n, "attn_v": n}
        return {
            **table,
            "v.blk.{i}.attn_qkv": Weight((3 * n, n), bias=None, parts=parts),
            "v.blk.{i}.ln1": Weight((n,), bias=bias),
            "v.blk.{i}.ln2": Weight((n,), bias=bias),
            "v.blk.{i}.ls1": Weight((n,)),
            "v.blk.{i}.ls2": Weight((n,)),
            "v.blk.{i}.attn_q_norm": Weight((n,), optional=True),
            "v.blk.{i}.attn_k_norm": Weight((n,), optional=True),
            "mm.0": Weight((n * hp.merge**2,), bias=True),
            "mm.1": Weight((hp.n_out, n * hp.merge**2), bias=True),
            "mm.3": Weight((hp.n_out, hp.n_out), bias=True),
        }

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer."""
        norm = g.rms_norm if hp.is_rms else g.layer_norm
        x = g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd) + g.input("learned_positions", (hp.n_embd,))
        for blk in w.v_blk:
            x = x + g.mul_weight(self.attention(g, norm(x, blk.ln1, eps=hp.norm_eps), blk, hp), blk.ls1)
            h = g.gelu_erf(g.linear(norm(x, blk.ln2, eps=hp.norm_eps), blk.ffn_up))
            x = x + g.mul_weight(g.linear(h, blk.ffn_down), blk.ls2)
        return {"rows": x}

    def attention(self, g: Graph, h: Value, blk: Any, hp: Any) -> Value:
        """Bidirectional attention; queries and keys are normalized over their whole width if there are norms."""
        q, k, v = (g.linear(h, one) for one in (blk.attn_q, blk.attn_k, blk.attn_v))
        if blk.attn_q_norm is not None:
            q = g.rms_norm(q, blk.attn_q_norm, eps=NORM_EPS)
        if blk.attn_k_norm is not None:
            k = g.rms_norm(k, blk.attn_k_norm, eps=NORM_EPS)
        q, k, v = (g.heads(one, hp.n_head) for one in (q, k, v))
        return g.linear(g.attention(q, k, v, scale=hp.head_dim**-0.5, causal=False), blk.attn_out)

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """A norm, and two matrices with gelu between them."""
        x = g.layer_norm(g.input("rows", (hp.n_embd * hp.merge**2,)), w.mm_0, eps=PROJECTOR_EPS)
        return {"rows": g.linear(g.gelu_erf(g.linear(x, w.mm_1)), w.mm_3)}

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The tiles, row after row, and the whole picture if there are several."""
        side, (least, most) = hp.image_size, hp.tiles
        fitting = max(1, max_rows // (hp.n_side // hp.merge) ** 2 - 1)
        rows, columns = tile_grid(pixels.shape[0], pixels.shape[1], side, min(least, fitting), min(most, fitting))
        image = resized(pixels, (rows * side, columns * side), self.filter)
        tiles = [tile for row in self.grid_tiles(image, hp) for tile in row]
        return ["<img>", *tiles, *([self.square(pixels, hp)] if len(tiles) > 1 else []), "</img>"]


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [InternVL]
