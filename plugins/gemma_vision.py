"""The vision encoder of Gemma 4, gemma4v."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import (
    ArchMetadata,
    Checkpoint,
    GGUFError,
    Graph,
    PictureError,
    Projector,
    Tile,
    Value,
    VisionHParams,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.checkpoint import Config, Names
from realizar.arch.pixels import grid_positions, normalized, patches, resized, squares
from realizar.arch.projector import F32, block_tensors, patch_tensors
from realizar.arch.square_projector import colors_first

ROPE_BASE = 100.0
"""A constant in llama.cpp, whose files lack it."""
MOST_ROWS = 280
"""Most rows of a picture where a file has no bound: the default of transformers' processor."""
CLIPPED = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down")
"""Matrices of a layer whose inputs and outputs some files bound."""
BOUNDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True)
class Gemma4VHParams(VisionHParams):
    """Adds the rows of the table of positions, for each axis, and the bounds of products by name."""

    n_position: int
    bounds: Mapping[str, float] = field(default_factory=dict)


def names() -> Names:
    """The names of a checkpoint of Gemma 4."""
    layer = {
        "ln1": "input_layernorm", "attn_post_norm": "post_attention_layernorm", "ln2": "pre_feedforward_layernorm",
        "ffn_post_norm": "post_feedforward_layernorm", "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
    }  # fmt: skip
    for ours, theirs in zip(CLIPPED, ("q", "k", "v", "o", "gate", "up", "down"), strict=True):
        module = f"{'mlp' if ours.startswith('ffn') else 'self_attn'}.{theirs}_proj"
        layer[ours] = f"{module}.linear"
        layer |= {f"{ours}.{bound}": f"{module}.{bound}" for bound in BOUNDS}
    return {
        "v.patch_embd": ("vision_tower.patch_embedder.input_proj", colors_first),
        "v.position_embd": "vision_tower.patch_embedder.position_embedding_table",
        "v.std_bias": "vision_tower.std_bias",
        "v.std_scale": "vision_tower.std_scale",
        "mm.input_projection": "embed_vision.embedding_projection",
        **{f"v.blk.{{i}}.{ours}": f"vision_tower.encoder.layers.{{i}}.{theirs}" for ours, theirs in layer.items()},
    }


def most_pixels(config: Config) -> int:
    """Most pixels of a picture after resizing."""
    vision = config["vision_config"]
    side = vision["patch_size"] * vision["pooling_kernel_size"]
    return int(config["preprocessor"].get("max_soft_tokens", MOST_ROWS) * side**2)


def clipped(g: Graph, x: Value, low: float, high: float) -> Value:
    """X within low <= 0 <= high: its positive and its negative part are bounded by themselves."""
    if math.isinf(low) and math.isinf(high):
        return x
    if low == -high:
        return g.clamp(x, high)
    return g.clamp(g.relu(x), high) + g.clamp(g.relu(x * -1.0), -low) * -1.0


class Gemma4V(Projector):
    """The encoder of Gemma 4 (https://ai.google.dev/gemma/docs/core/model_card_4).

    A vision transformer with RMS norms before and after attention and feed-forward, gated feed-forwards, learned
    positions for rows and columns, and rotary embeddings: columns turn the first half of a head, rows the second.
    Squares of 3 x 3 patches become one row. The language model decides whether the rows of a picture see each other.
    """

    name = "gemma4v"
    placeholder = "<|image|>"
    mask = "bidirectional"
    checkpoint = Checkpoint(
        classes=("Gemma4ForConditionalGeneration",),
        names=names(),
        keys={
            "image_size": lambda config: 224,  # as llama.cpp writes it; pictures have any size
            "attention.layer_norm_epsilon": lambda config: config["vision_config"]["rms_norm_eps"],
            "projector.scale_factor": lambda config: config["vision_config"]["pooling_kernel_size"],
            "image_max_pixels": most_pixels,
            "position_count": lambda config: config["vision_config"]["position_embedding_size"],
        },
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches whose mean is one row."""
        return md.integer_between("projector.scale_factor", 1, 16, 3)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; files of llama.cpp have the number of positions as a shape only."""
        n_position = md.integer_between("position_count", 1, 2**20, 1)
        return Gemma4VHParams(**self.vision_keys(md), n_position=n_position)

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """The number of positions, from the table of them."""
        shape = shapes.get("v.position_embd.weight", ())
        return replace(hp, n_position=shape[1]) if len(shape) == 3 else hp

    def with_numbers(self, hp: Any, numbers: Mapping[str, float]) -> Any:
        """The bounds of products. Raises GGUFError if zero is not within them."""
        bounds = {name: value for name, value in numbers.items() if name.endswith(BOUNDS)}
        for name, value in bounds.items():
            if math.isnan(value) or value * (-1 if name.endswith("min") else 1) < 0:
                raise GGUFError(f"{name}: {value:g}, but bounds must have zero between them")
        return replace(hp, bounds=bounds)

    def tensors(self, hp: Any) -> WeightTable:
        """Norms around attention and feed-forward, gates, positions of two axes; bounds and statistics if there."""
        n = hp.n_embd
        table = {
            **patch_tensors(hp, bias=False),
            "v.position_embd": Weight((2, hp.n_position, n)),
            **block_tensors(hp, bias=False),
            "v.blk.{i}.ffn_gate": Weight((hp.n_ff, n)),
            "v.blk.{i}.attn_q_norm": Weight((hp.head_dim,)),
            "v.blk.{i}.attn_k_norm": Weight((hp.head_dim,)),
            "v.blk.{i}.attn_post_norm": Weight((n,)),
            "v.blk.{i}.ffn_post_norm": Weight((n,)),
            "v.std_bias": Weight((n,), suffix="", optional=True),
            "v.std_scale": Weight((n,), suffix="", optional=True),
            "mm.input_projection": Weight((hp.n_out, n)),
        }
        for name in CLIPPED:
            table.update({f"v.blk.{{i}}.{name}.{bound}": Weight((1,), suffix="", optional=True) for bound in BOUNDS})
        return table

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer."""
        x = g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd) + g.input("learned_positions", (hp.n_embd,))
        for i, blk in enumerate(w.v_blk):
            a = self.attention(g, g.rms_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp, i)
            x = x + g.rms_norm(a, blk.attn_post_norm, eps=hp.norm_eps)
            h = g.rms_norm(x, blk.ln2, eps=hp.norm_eps)
            h = g.gelu(self.product(g, h, blk, hp, i, "ffn_gate")) * self.product(g, h, blk, hp, i, "ffn_up")
            x = x + g.rms_norm(self.product(g, h, blk, hp, i, "ffn_down"), blk.ffn_post_norm, eps=hp.norm_eps)
        return {"rows": x}

    def product(self, g: Graph, x: Value, blk: Any, hp: Any, layer: int, name: str) -> Value:
        """A product whose input and output are bounded if the file has bounds."""
        low, high, out_low, out_high = (
            hp.bounds.get(f"v.blk.{layer}.{name}.{bound}", math.inf if "max" in bound else -math.inf)
            for bound in BOUNDS
        )
        return clipped(g, g.linear(clipped(g, x, low, high), getattr(blk, name)), out_low, out_high)

    def attention(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """Bidirectional attention of normalized queries, keys and values."""
        q, k, v = (g.heads(self.product(g, h, blk, hp, layer, f"attn_{part}"), hp.n_head) for part in "qkv")
        q = self.rotated(g, g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), hp)
        k = self.rotated(g, g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps), hp)
        a = g.attention(q, k, g.rms_norm(v, None, eps=hp.norm_eps), scale=1.0, causal=False)
        return self.product(g, a, blk, hp, layer, "attn_out")

    def rotated(self, g: Graph, x: Value, hp: Any) -> Value:
        """Half of a head turned by the column, half by the row."""
        half = hp.head_dim // 2
        first, second = (
            g.rope(g.slice(x, axis * half, half), style="neox", dims=half, base=ROPE_BASE, axes=(axis,) * (half // 2))
            for axis in (0, 1)
        )
        return g.concat(first, second)

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """One matrix over the normalized means."""
        x = g.rms_norm(g.input("rows", (hp.n_embd,)), None, eps=hp.norm_eps)
        return {"rows": g.linear(x, w.mm_input_projection)}

    def picture_size(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> tuple[int, int]:
        """The largest height and width of whole squares that keep the shape of a picture and give few enough rows.

        `get_aspect_ratio_preserving_size` in transformers' image_processing_gemma4.py.
        """
        (height, width), side = pixels.shape[:2], hp.patch_size * hp.merge
        most = min(hp.max_pixels // side**2 or MOST_ROWS, max_rows)
        factor = math.sqrt(most * side**2 / (height * width))
        rows, columns = (math.floor(factor * n / side) for n in (height, width))
        if not rows and not columns:
            raise PictureError(f"a picture may have {most} rows, but one square of patches is more; raise n_ctx")
        if not rows:
            rows, columns = 1, min(width // height, most)
        elif not columns:
            rows, columns = min(height // width, most), 1
        return rows * side, columns * side

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The picture between the tokens of its beginning and end; pixels are from -1 to 1."""
        size = self.picture_size(pixels, hp, max_rows)
        image = normalized(resized(pixels, size, "bicubic"), hp.mean, hp.std) * 2 - 1
        grid = (size[0] // hp.patch_size, size[1] // hp.patch_size)
        if max(grid) > hp.n_position:
            raise PictureError(
                f"a picture of {max(grid)} patches in a row, but the encoder has {hp.n_position} positions"
            )
        positions = np.ascontiguousarray(grid_positions(*grid)[::-1])
        return ["<|image>", Tile(patches(image, hp.patch_size), grid, positions), "<image|>"]

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions, and the statistics of rows."""
        return ("v.position_embd", "v.std_bias", "v.std_scale")

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The sum of the learned positions of the column and of the row."""
        columns, rows = tables["v.position_embd"]
        return {"learned_positions": columns[tile.positions[0]] + rows[tile.positions[1]]}

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The mean of each square, standardized if the file has statistics."""
        means = squares(values["rows"], tile.grid, hp.merge).mean(axis=1, dtype=np.float64) * math.sqrt(hp.n_embd)
        if "v.std_scale" in tables:
            means = (means - tables["v.std_bias"]) * tables["v.std_scale"]
        return {"rows": means.astype(np.float32)}


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [Gemma4V]
