"""The vision encoder of Qwen 2.5 VL, qwen2.5vl_merger: most layers attend within windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from realizar.arch.blocks import swiglu_ffn
from realizar.arch.checkpoint import Config, Names, rows
from realizar.arch.projector import F32, attention, patch_tensors, rope_2d, rope_2d_factors
from realizar.arch.shaped_projector import ShapedProjector, frame_kernel

WINDOW_SIZE = 112
"""Side of a window in pixels, a constant in llama.cpp, whose files lack it."""


@dataclass(frozen=True)
class WindowHParams(VisionHParams):
    """Adds the side of a window in merged squares, and the period of layers that attend to the whole picture."""

    window: int
    period: int


def names() -> Names:
    """The names of a checkpoint of Qwen 2.5 VL."""
    layer: dict[str, Any] = {
        f"attn_{part}": ("attn.qkv", rows(i, lambda hp: (hp.n_embd,) * 3)) for i, part in enumerate("qkv")
    }
    layer |= {"attn_out": "attn.proj", "ln1": "norm1", "ln2": "norm2"}
    layer |= {f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
    found: dict[str, Any] = {
        "v.patch_embd": ("visual.patch_embed.proj", frame_kernel(0)),
        "v.patch_embd.weight": ("visual.patch_embed.proj", frame_kernel(1)),
        "v.post_ln": "visual.merger.ln_q",
        "mm.0": "visual.merger.mlp.0",
        "mm.2": "visual.merger.mlp.2",
    }
    for ours, theirs in layer.items():
        is_part = isinstance(theirs, tuple)
        source = f"visual.blocks.{{i}}.{theirs[0] if is_part else theirs}"
        found[f"v.blk.{{i}}.{ours}"] = (source, theirs[1]) if is_part else source
    return found


def period(config: Config) -> int:
    """Every this many layers, one attends to the whole picture. Raises ValueError if they are not in such a pattern."""
    full = config["vision_config"]["fullatt_block_indexes"]
    if [i + 1 for i in full] != [(j + 1) * (full[0] + 1) for j in range(len(full))]:
        raise ValueError(f"fullatt_block_indexes {full} are not every n-th layer")
    return int(full[0]) + 1


class Qwen25VLMerger(ShapedProjector):
    """The encoder of Qwen 2.5 VL (https://arxiv.org/abs/2502.13923).

    A vision transformer with RMS norms, gated feed-forwards and two-axis rotary embeddings. Patches are in the order of
    windows; consecutive layers of one kind are a program, whose sequences are windows or whole pictures.
    """

    name = "qwen2.5vl_merger"
    least_rows = 4
    checkpoint = Checkpoint(
        classes=("Qwen2_5_VLForConditionalGeneration",),
        names=names(),
        keys={
            "image_size": lambda config: 560,  # as llama.cpp writes it; the encoder has no learned positions
            "block_count": lambda config: config["vision_config"]["depth"],
            "attention.head_count": lambda config: config["vision_config"]["num_heads"],
            "attention.layer_norm_epsilon": lambda config: 1e-6,
            "spatial_merge_size": lambda config: config["vision_config"]["spatial_merge_size"],
            "n_wa_pattern": period,
            "window_size": lambda config: config["vision_config"]["window_size"],
            "image_min_pixels": lambda config: config["preprocessor"]["size"]["shortest_edge"],
            "image_max_pixels": lambda config: config["preprocessor"]["size"]["longest_edge"],
        },
    )

    def merge(self, md: ArchMetadata) -> int:
        """Side of the square of patches that becomes one row; many files lack it."""
        return md.integer_between("spatial_merge_size", 1, 16, 2)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; the window's side is in merged squares."""
        keys = self.vision_keys(md)
        window = md.positive("window_size", WINDOW_SIZE) // (keys["patch_size"] * keys["merge"])
        return WindowHParams(**keys, window=max(1, window), period=md.positive("n_wa_pattern"))

    def tensors(self, hp: WindowHParams) -> WeightTable:
        """As Qwen 3 VL's, with gates, and norms and kernels without biases."""
        n, merged = hp.n_embd, hp.n_embd * hp.merge**2
        parts = {"attn_q": n, "attn_k": n, "attn_v": n}
        return {
            **patch_tensors(hp, bias=False),
            "v.patch_embd.weight": Weight((n, hp.n_pixel), suffix=".1"),
            "v.blk.{i}.attn_qkv": Weight((3 * n, n), bias=True, parts=parts),
            "v.blk.{i}.attn_out": Weight((n, n), bias=True),
            "v.blk.{i}.ln1": Weight((n,)),
            "v.blk.{i}.ln2": Weight((n,)),
            "v.blk.{i}.ffn_gate": Weight((hp.n_ff, n), bias=True),
            "v.blk.{i}.ffn_up": Weight((hp.n_ff, n), bias=True),
            "v.blk.{i}.ffn_down": Weight((n, hp.n_ff), bias=True),
            "v.post_ln": Weight((n,)),
            "mm.0": Weight((merged, merged), bias=True),
            "mm.2": Weight((hp.n_out, merged), bias=True),
        }

    def constants(self, hp: WindowHParams) -> Mapping[str, F32]:
        """The divisors of rotary frequencies."""
        return {"rope_factors": rope_2d_factors(hp)}

    def programs_of(self, hp: WindowHParams) -> Mapping[str, Any]:
        """A program for each run of layers that attend alike; its name says to what."""
        kinds = ["whole" if (i + 1) % hp.period == 0 else "window" for i in range(hp.n_layer)]
        starts = [i for i in range(hp.n_layer) if i == 0 or kinds[i] != kinds[i - 1]]
        runs = zip(starts, [*starts[1:], hp.n_layer], strict=True)
        found = {f"{kinds[first]}.{first}": partial(self.run, first=first, end=end) for first, end in runs}
        return {**found, "project": self.project}

    def build(self, g: Graph, w: Weights, hp: WindowHParams) -> Mapping[str, Value]:
        """All layers, as if there were one window."""
        return self.run(g, w, hp, first=0, end=hp.n_layer)

    def run(self, g: Graph, w: Weights, hp: WindowHParams, first: int, end: int) -> Mapping[str, Value]:
        """Layers first to end, after the patch embedding if they are the first, before the last norm if the last."""
        if first == 0:
            pixels = g.input("patches", (hp.n_pixel,))
            x = g.linear(pixels, w.v_patch_embd) + g.linear(pixels, w.v_patch_embd_weight)
        else:
            x = g.input("state", (hp.n_embd,))
        for blk in w.v_blk[first:end]:
            x = x + attention(g, g.rms_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp, rope_2d(w, hp))
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ln2, eps=hp.norm_eps), blk)
        if end < hp.n_layer:
            return {"state": x}
        return {"rows": g.rms_norm(x, w.v_post_ln, eps=hp.norm_eps)}

    def project(self, g: Graph, w: Weights, hp: WindowHParams) -> Mapping[str, Value]:
        """Two matrices with gelu between them."""
        h = g.gelu_erf(g.linear(g.input("rows", (hp.n_embd * hp.merge**2,)), w.mm_0))
        return {"rows": g.linear(h, w.mm_2)}

    def order(self, grid: tuple[int, int], hp: Any) -> npt.NDArray[np.intp]:
        """Window after window, each row after row; windows at the right and lower edge may be smaller."""
        return np.concatenate(window_indices(grid, hp))

    def groups(self, program: str, tile: Tile, hp: Any) -> Sequence[int]:
        """The patches of each window, or all."""
        if program.startswith("whole"):
            return (len(tile.patches),)
        return [len(one) * hp.merge**2 for one in window_indices(tile.grid, hp)]

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The patches of each square beside each other, the squares row after row again."""
        rows = values["rows"].reshape(self.n_rows(tile, hp), -1)
        return {"rows": rows[np.argsort(self.order(tile.grid, hp))]}


def window_indices(grid: tuple[int, int], hp: Any) -> list[npt.NDArray[np.intp]]:
    """The numbers of the merged squares in each window of a grid of patches."""
    n_row, n_column = (n // hp.merge for n in grid)
    numbers = np.arange(n_row * n_column).reshape(n_row, n_column)
    return [
        numbers[i : i + hp.window, j : j + hp.window].reshape(-1)
        for i in range(0, n_row, hp.window)
        for j in range(0, n_column, hp.window)
    ]


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoders of this family."""
    return [Qwen25VLMerger]
