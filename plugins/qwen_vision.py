"""Vision encoders of the Qwen family: qwen3vl_merger (Qwen 3 VL and 3.5 to 3.8) and qwen2.5vl_merger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from realizar.arch.checkpoint import Config, Names
from realizar.arch.pixels import interpolated
from realizar.arch.projector import (
    F32,
    block_tensors,
    encoder_block,
    patch_tensors,
    rope_2d,
    rope_2d_factors,
)
from realizar.arch.shaped_projector import ShapedProjector, frame_kernel


@dataclass(frozen=True)
class Qwen3VLVisionHParams(VisionHParams):
    """Adds the layers whose states the language model also reads."""

    deepstack: tuple[int, ...]


def qwen3vl_names(config: Config) -> Names:
    """The names of a checkpoint of Qwen 3 VL."""
    names: dict[str, Any] = {
        "v.patch_embd": ("visual.patch_embed.proj", frame_kernel(0)),
        "v.patch_embd.weight": ("visual.patch_embed.proj", frame_kernel(1)),
        "v.position_embd": "visual.pos_embed",
        "v.post_ln": "visual.merger.norm",
        "mm.0": "visual.merger.linear_fc1",
        "mm.2": "visual.merger.linear_fc2",
    }
    layer = {
        "attn_qkv": "attn.qkv", "attn_out": "attn.proj", "ln1": "norm1", "ln2": "norm2", "ffn_up": "mlp.linear_fc1",
        "ffn_down": "mlp.linear_fc2",
    }  # fmt: skip
    names.update({f"v.blk.{{i}}.{ours}": f"visual.blocks.{{i}}.{theirs}" for ours, theirs in layer.items()})
    for j, i in enumerate(config["vision_config"].get("deepstack_visual_indexes") or ()):
        for ours, theirs in (("norm", "norm"), ("fc1", "linear_fc1"), ("fc2", "linear_fc2")):
            names[f"v.deepstack.{i}.{ours}"] = f"visual.deepstack_merger_list.{j}.{theirs}"
    return names


def deepstack_flags(config: Config) -> list[bool]:
    """For each layer of the encoder, whether the language model reads its states."""
    vision = config["vision_config"]
    return [i in (vision.get("deepstack_visual_indexes") or ()) for i in range(vision["depth"])]


def learned_size(config: Config) -> int:
    """Side in pixels of the pictures for which there are learned positions."""
    vision = config["vision_config"]
    return int(int(vision["num_position_embeddings"]) ** 0.5) * int(vision["patch_size"])


class Qwen3VLMerger(ShapedProjector):
    """The encoder of Qwen 3 VL (https://arxiv.org/abs/2511.21631) and of Qwen 3.5 to 3.8.

    A vision transformer with two-axis rotary embeddings and learned positions, which are interpolated; squares of
    2 x 2 patches become one row. States of some layers are merged, too, and added to the hidden states after the first
    layers of the language model (DeepStack, https://arxiv.org/abs/2406.04334).
    """

    name = "qwen3vl_merger"
    least_rows = 64
    checkpoint = Checkpoint(
        classes=(
            "Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration", "Qwen3_5ForConditionalGeneration",
            "Qwen3_5MoeForConditionalGeneration",
        ),
        names=qwen3vl_names,
        keys={
            "image_size": learned_size,
            "block_count": lambda config: config["vision_config"]["depth"],
            "attention.head_count": lambda config: config["vision_config"]["num_heads"],
            "attention.layer_norm_epsilon": lambda config: 1e-6,
            "spatial_merge_size": lambda config: config["vision_config"]["spatial_merge_size"],
            "is_deepstack_layers": deepstack_flags,
            "image_min_pixels": lambda config: config["preprocessor"]["size"]["shortest_edge"],
            "image_max_pixels": lambda config: config["preprocessor"]["size"]["longest_edge"],
        },
    )  # fmt: skip

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; a file without deepstack has no flags."""
        flags = md.flags("is_deepstack_layers", False)
        layers = tuple(i for i, flag in enumerate(flags) if flag)
        return Qwen3VLVisionHParams(**self.vision_keys(md), deepstack=layers)

    def tensors(self, hp: Qwen3VLVisionHParams) -> WeightTable:
        """Kernels of two frames, of which a picture has the same twice; mergers with a norm and two matrices."""
        n = hp.n_embd * hp.merge**2
        table = {
            **patch_tensors(hp, n_position=hp.n_side**2),
            "v.patch_embd.weight": Weight((hp.n_embd, hp.n_pixel), suffix=".1"),
            **block_tensors(hp),
            "v.post_ln": Weight((hp.n_embd,), bias=True),
            "mm.0": Weight((n, n), bias=True),
            "mm.2": Weight((hp.n_out, n), bias=True),
        }
        for i in hp.deepstack:
            table[f"v.deepstack.{i}.norm"] = Weight((n,), bias=True)
            table[f"v.deepstack.{i}.fc1"] = Weight((n, n), bias=True)
            table[f"v.deepstack.{i}.fc2"] = Weight((hp.n_out, n), bias=True)
        return table

    def constants(self, hp: Qwen3VLVisionHParams) -> Mapping[str, F32]:
        """The divisors of rotary frequencies."""
        return {"rope_factors": rope_2d_factors(hp)}

    def build(self, g: Graph, w: Weights, hp: Qwen3VLVisionHParams) -> Mapping[str, Value]:
        """The states after the last layer, normalized, and those after the layers of deepstack."""
        pixels = g.input("patches", (hp.n_pixel,))
        x = g.linear(pixels, w.v_patch_embd) + g.linear(pixels, w.v_patch_embd_weight)
        x = x + g.input("learned_positions", (hp.n_embd,))
        found: dict[str, Value] = {}
        for i, blk in enumerate(w.v_blk):
            x = encoder_block(g, x, blk, hp, rope_2d(w, hp))
            if i in hp.deepstack:
                found[f"deepstack.{len(found)}"] = x
        return {"rows": g.layer_norm(x, w.v_post_ln, eps=hp.norm_eps), **found}

    def project(self, g: Graph, w: Weights, hp: Qwen3VLVisionHParams) -> Mapping[str, Value]:
        """The mergers: two matrices with gelu between them; those of deepstack normalize their input."""
        n = hp.n_embd * hp.merge**2
        h = g.gelu_erf(g.linear(g.input("rows", (n,)), w.mm_0))
        found = {"rows": g.linear(h, w.mm_2)}
        for j in range(len(hp.deepstack)):
            merger = w.v_deepstack[j]
            x = g.layer_norm(g.input(f"deepstack.{j}", (n,)), merger.norm, eps=hp.norm_eps)
            found[f"deepstack.{j}"] = g.linear(g.gelu_erf(g.linear(x, merger.fc1)), merger.fc2)
        return found

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions."""
        return ("v.position_embd",)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The learned positions of the patches, interpolated to the grid."""
        rows = interpolated(tables["v.position_embd"], *tile.grid)
        row, column = tile.positions
        return {"learned_positions": rows[row * tile.grid[1] + column]}


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The vision encoders of this family."""
    return [Qwen3VLMerger]
