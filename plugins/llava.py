"""The vision encoder of LLaVA 1.5, mlp: CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import (
    ArchMetadata,
    Checkpoint,
    GGUFError,
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
from realizar.arch.checkpoint import Config
from realizar.arch.pixels import resized
from realizar.arch.projector import attention
from realizar.arch.siglip import siglip_names
from realizar.arch.square_projector import SquareProjector

MODULES = ("vision_tower.", "vision_tower.vision_model.")
"""Beginnings of the names of CLIP's tensors in checkpoints."""


@dataclass(frozen=True)
class LlavaHParams(VisionHParams):
    """Adds whether the activation is gelu, else its approximation by a sigmoid, and whether the matrices of
    feed-forwards have each other's names, as in files of llama.cpp's first converter."""

    is_gelu: bool
    is_swapped: bool = False


def quick_gelu(g: Graph, x: Value) -> Value:
    """X / (1 + exp(-1.702 x))."""
    return g.silu(x * 1.702) * (1 / 1.702)


def used_layers(config: Config) -> int:
    """The layers up to the one whose states are read; llama.cpp leaves the others out, too."""
    n, layer = config["vision_config"]["num_hidden_layers"], config.get("vision_feature_layer", -2)
    if not isinstance(layer, int):
        raise ValueError(f"vision_feature_layer {layer}: only one layer is supported")
    return int(n + 1 + layer if layer < 0 else layer)


class Llava(SquareProjector):
    """The encoder of LLaVA 1.5 (https://arxiv.org/abs/2310.03744): CLIP's, up to the last layer but one.

    A picture becomes a square with bars of the mean color, as in LLaVA's own code and llama.cpp; each patch is a row.
    """

    name = "mlp"
    placeholder = "<image>"
    class_row = "first"
    filter = "bicubic"
    checkpoint = Checkpoint(
        classes=("LlavaForConditionalGeneration",),
        names={
            **siglip_names(*MODULES),
            "v.class_embd": "|".join(f"{module}embeddings.class_embedding" for module in MODULES),
            "v.pre_ln": "|".join(f"{module}pre_layrnorm" for module in MODULES),
            "mm.0": "multi_modal_projector.linear_1",
            "mm.2": "multi_modal_projector.linear_2",
        },
        keys={
            "block_count": used_layers,
            "clip.has_llava_projector": lambda config: True,
            "image_size": lambda config: config["vision_config"]["image_size"],
        },
        only={"vision_feature_select_strategy": ("default",)},
        applies=lambda config: config["vision_config"].get("model_type") == "clip_vision_model",
        ignored=("*vision_tower*post_layernorm*", "*vision_tower*.layers.*", "*vision_tower*position_ids"),
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters. Raises GGUFError for LLaVA 1.6, which cuts pictures in a way of its own."""
        if md.metadata.get("clip.vision.mm_patch_merge_type", "flat") != "flat":
            raise GGUFError("clip.vision.mm_patch_merge_type: LLaVA 1.6 is not supported; use a file of LLaVA 1.5")
        return LlavaHParams(**self.vision_keys(md), is_gelu=md.metadata.get("clip.use_gelu") is True)

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """Whether the matrices of feed-forwards have each other's names."""
        first = shapes.get("v.blk.0.ffn_up.weight")
        return replace(hp, is_swapped=first == (hp.n_embd, hp.n_ff) and hp.n_embd != hp.n_ff)

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder, which starts with a norm, and two matrices."""
        table = dict(super().tensors(hp))
        if hp.is_swapped:
            up, down = "v.blk.{i}.ffn_up", "v.blk.{i}.ffn_down"
            table[up], table[down] = table[down], table[up]
        return {
            **table,
            "v.patch_embd": Weight((hp.n_embd, hp.n_pixel)),
            "v.post_ln": Weight((hp.n_embd,), bias=None, optional=True),  # not used
            "v.pre_ln": Weight((hp.n_embd,), bias=True),
            "mm.0": Weight((hp.n_out, hp.n_embd), bias=True),
            "mm.2": Weight((hp.n_out, hp.n_out), bias=True),
        }

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The states after the last layer of the file."""
        x = g.linear(g.input("patches", (hp.n_pixel,)), w.v_patch_embd) + g.input("learned_positions", (hp.n_embd,))
        x = g.layer_norm(x, w.v_pre_ln, eps=hp.norm_eps)
        act = Graph.gelu_erf if hp.is_gelu else quick_gelu
        for blk in w.v_blk:
            x = x + attention(g, g.layer_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp)
            up, down = (blk.ffn_down, blk.ffn_up) if hp.is_swapped else (blk.ffn_up, blk.ffn_down)
            x = x + g.linear(act(g, g.linear(g.layer_norm(x, blk.ln2, eps=hp.norm_eps), up)), down)
        return {"rows": x}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu between them."""
        return {"rows": g.linear(g.gelu_erf(g.linear(g.input("rows", (hp.n_embd,)), w.mm_0)), w.mm_2)}

    def pieces(self, pixels: npt.NDArray[np.uint8], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """The picture in the middle of a square of the mean color."""
        height, width = pixels.shape[:2]
        side = max(height, width)
        square = np.empty((side, side, 3), np.uint8)
        square[:] = [int(255 * mean) for mean in hp.mean]
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = pixels
        return [self.tile(resized(square, (hp.image_size, hp.image_size), self.filter), hp)]


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoder of this family."""
    return [Llava]
