"""PaddleOCR-VL: its language model, paddleocr, and its vision encoder, of the same name."""

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
    Graph,
    HParams,
    Projector,
    Tile,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
    mrope_axes,
)
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, norm_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import Names
from realizar.arch.pixels import bounded_size, resampled
from realizar.arch.projector import F32, block_tensors, patch_tensors, rope_2d, rope_2d_factors
from realizar.arch.rope_checkpoint import rope_parameters
from realizar.arch.shaped_projector import ShapedProjector
from realizar.arch.siglip import siglip, siglip_names

PROJECTOR_EPS = 1e-5
SECTIONS = [16, 24, 24]
"""Rotary frequencies of time, height and width where config.json does not say them."""


class PaddleOCR(Architecture):
    """The language model of PaddleOCR-VL (https://arxiv.org/abs/2510.14528): ERNIE 4.5, positions with three axes."""

    name = "paddleocr"
    checkpoint = Checkpoint(
        classes=("PaddleOCRVLForConditionalGeneration",),
        keys={
            "rope.dimension_sections": lambda config: [*(rope_parameters(config).get("mrope_section") or SECTIONS), 0]
        },
        ignored=("*visual.*", "*mlp_AR.*", "*projector.*"),
    )

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """One axis after another."""
        return mrope_axes(md)

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v with optional biases; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def names() -> Names:
    """The names of a checkpoint, as published and as transformers saves them."""
    projector = {"mm.input_norm": "pre_norm", "mm.1": "linear_1", "mm.2": "linear_2"}
    return {
        **siglip_names("visual.", "visual.vision_model."),
        **{ours: f"projector.{theirs}|mlp_AR.{theirs}" for ours, theirs in projector.items()},
    }


class PaddleOCRProjector(ShapedProjector):
    """The encoder of PaddleOCR-VL (https://arxiv.org/abs/2510.14528): SigLIP with rotary embeddings, for any shape.

    Learned positions are interpolated; squares of 2 x 2 patches become one row.
    """

    name = "paddleocr"
    around = ("<|IMAGE_START|>", "<|IMAGE_END|>")
    placeholder = "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"
    least_rows = 188
    checkpoint = Checkpoint(
        classes=("PaddleOCRVLForConditionalGeneration",),
        names=names(),
        keys={
            "spatial_merge_size": lambda config: config["vision_config"]["spatial_merge_size"],
            "image_min_pixels": lambda config: config["preprocessor"]["size"]["shortest_edge"],
            "image_max_pixels": lambda config: config["preprocessor"]["size"]["longest_edge"],
        },
        ignored=("*packing_position_embedding*", "*vision_model.head.*"),
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row; files of llama.cpp lack it."""
        return md.integer_between("spatial_merge_size", 1, 16, 2)

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """The side of the grid of positions; files of llama.cpp have the greatest size of pictures in its place."""
        n_position = shapes.get("v.position_embd.weight", (1,))[0]
        return replace(hp, image_size=hp.patch_size * round(n_position**0.5))

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder; a norm and two matrices."""
        n = hp.n_embd * hp.merge**2
        return {
            **patch_tensors(hp, n_position=hp.n_side**2),
            **block_tensors(hp),
            "v.post_ln": Weight((hp.n_embd,), bias=True),
            "mm.input_norm": Weight((hp.n_embd,), bias=True),
            "mm.1": Weight((n, n), bias=True),
            "mm.2": Weight((hp.n_out, n), bias=True),
        }

    def constants(self, hp: Any) -> Mapping[str, F32]:
        """The divisors of rotary frequencies."""
        return {"rope_factors": rope_2d_factors(hp)}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer, normalized twice."""
        rows = siglip(g, w, hp, rope_2d(w, hp))
        return {"rows": g.layer_norm(rows, w.mm_input_norm, eps=PROJECTOR_EPS)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu between them."""
        x = g.input("rows", (hp.n_embd * hp.merge**2,))
        return {"rows": g.linear(g.gelu_erf(g.linear(x, w.mm_1)), w.mm_2)}

    def picture_size(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> tuple[int, int]:
        """Height and width: no side is less than a square, then as for Qwen.

        `smart_resize` in transformers' image_processing_paddleocr_vl.py.
        """
        (height, width), side = pixels.shape[:2], hp.patch_size * hp.merge
        if height < side:
            height, width = side, round(width * side / height)
        if width < side:
            height, width = round(height * side / width), side
        least, most = self.row_bounds(hp, max_rows)
        return bounded_size(height, width, side, least * side**2, most * side**2)

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions."""
        return ("v.position_embd",)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The learned positions of the patches, interpolated to the grid."""
        rows = resampled(tables["v.position_embd"], *tile.grid)
        row, column = tile.positions
        return {"learned_positions": rows[row * tile.grid[1] + column]}


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The language model."""
    return [PaddleOCR]


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder."""
    return [PaddleOCRProjector]
