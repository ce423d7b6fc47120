"""Sound encoders, all of them Whisper's, with the projectors ultravox, voxtral, qwen2a and qwen2.5o (Qwen 2.5 Omni)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realizar.arch import ArchMetadata, Checkpoint, Graph, Projector, Value, Weight, Weights, WeightTable, hookimpl
from realizar.arch.checkpoint import Array, Config
from realizar.arch.mel import HOP, log_mel
from realizar.arch.projector import F32, Tile
from realizar.arch.sound_projector import (
    POSITIONS,
    SoundHParams,
    SoundProjector,
    SoundTile,
    at_least_a_window,
    in_runs,
    joined_tiles,
    n_frames_of,
    padded_to,
    tile_of,
)

ULTRAVOX_EPS = 1e-6
"""Of the norms of Ultravox's projector, a constant in its code."""


def whisper_names(norm: str = "layer_norm") -> dict[str, Any]:
    """The names of an encoder in a checkpoint."""
    layer = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_out": "self_attn.out_proj", "ln1": "self_attn_layer_norm", "ln2": "final_layer_norm", "ffn_up": "fc1",
        "ffn_down": "fc2",
    }  # fmt: skip
    return {
        "a.conv1d.1": ("audio_tower.conv1", flattened),
        "a.conv1d.2": ("audio_tower.conv2", flattened),
        POSITIONS: "audio_tower.embed_positions",
        "a.post_ln": f"audio_tower.{norm}",
        **{f"a.blk.{{i}}.{ours}": f"audio_tower.layers.{{i}}.{theirs}" for ours, theirs in layer.items()},
    }


def flattened(x: Array, hp: SoundHParams) -> Array:
    """A kernel as a matrix over flattened windows; its bias is unchanged."""
    return x.reshape(len(x), -1) if x.ndim > 1 else x


class PairedProjector(SoundProjector):
    """A projector of Qwen: the mean of each pair of positions, normalized, times one matrix."""

    placeholder = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    around = ("<|audio_bos|>", "<|audio_eos|>")
    matrices = ("mm.a.fc", "mm.a.fc")

    def stack(self, md: ArchMetadata) -> int:
        """Two positions are one row, which is no key of the file."""
        return 2

    def tensors(self, hp: SoundHParams) -> WeightTable:
        """One matrix."""
        return {**super().tensors(hp), "mm.a.fc": Weight((hp.n_out, hp.n_embd), bias=True)}

    def finished(self, g: Graph, w: Weights, x: Value, hp: Any) -> Value:
        """The states, which are normalized as means."""
        return x

    def n_rows(self, tile: Tile, hp: Any) -> int:
        """The number of pairs; a position that is left has no row."""
        return len(tile.patches) // 2

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The mean of each pair."""
        n = self.n_rows(tile, hp)
        pairs = values["rows"][: 2 * n].reshape(n, 2, -1)
        return {"rows": (pairs[:, 0] + pairs[:, 1]) * np.float32(0.5)}

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """One matrix, after the norm."""
        x = g.layer_norm(g.input("rows", (hp.n_embd,)), w.a_post_ln, eps=hp.norm_eps)
        return {"rows": g.linear(x, w.mm_a_fc)}


class Qwen2Audio(PairedProjector):
    """The encoder of Qwen2-Audio (https://arxiv.org/abs/2407.10759).

    Sounds are completed with silence to 30 s, whose positions are not attended to; longer ones are runs of 30 s.
    """

    name = "qwen2a"
    checkpoint = Checkpoint(
        classes=("Qwen2AudioForConditionalGeneration",),
        names={**whisper_names(), "mm.a.fc": "multi_modal_projector.linear"},
    )

    def tiles(self, samples: F32, hp: Any) -> Sequence[SoundTile]:
        """Runs of 30 s, the last as long as the sound."""
        runs = in_runs(log_mel(padded_to(samples, hp.n_frames * HOP), hp.n_mel), hp.n_frames)
        n = n_frames_of(samples)
        return [tile_of(run, min(hp.n_frames, n - i * hp.n_frames)) for i, run in enumerate(runs)]


@dataclass(frozen=True)
class OmniHParams(SoundHParams):
    """Adds the frames that attend to each other."""

    window: int = 0


WINDOW = 200
"""Frames of a window of Qwen 2.5 Omni, that is 2 s; a constant in its configuration, which llama.cpp's files lack."""
WINDOWS_OF_A_TILE = 14
"""An even number, so that no pair of positions is in two tiles."""


def sinusoids(config: Config) -> Array:
    """The positions of Qwen 2.5 Omni, which its checkpoints lack (`SinusoidsPositionEmbedding` in transformers)."""
    audio = config["audio_config"]
    n, n_embd = audio["max_source_positions"], audio["d_model"]
    scales = np.exp(-np.log(10000.0) / (n_embd // 2 - 1) * np.arange(n_embd // 2, dtype=np.float32))
    angles = np.arange(n, dtype=np.float32)[:, None] * scales.astype(np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Qwen25Omni(PairedProjector):
    """The sound encoder of Qwen 2.5 Omni (https://arxiv.org/abs/2503.20215): windows of 2 s."""

    name = "qwen2.5o"
    checkpoint = Checkpoint(
        classes=(
            "Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration", "Qwen2_5OmniThinkerForConditionalGeneration",
        ),
        names={**whisper_names("ln_post"), POSITIONS: sinusoids, "mm.a.fc": "audio_tower.proj"},
        keys={"chunk_size": lambda config: 2 * config["audio_config"]["n_window"]},
        ignored=("*audio_bos_eos_token.weight",),  # which transformers does not use
    )  # fmt: skip

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters; files without a size of windows have 2 s."""
        return OmniHParams(**vars(super().hparams(md)), window=md.integer_between("chunk_size", 1, 3000, WINDOW))

    def tiles(self, samples: F32, hp: Any) -> Sequence[SoundTile]:
        """Tiles of several windows; the last window is as long as the sound."""
        silence = np.zeros(3 * HOP, np.float32)  # after the sound, so that its end is not reflected
        mel = log_mel(padded_to(np.concatenate([samples, silence]), HOP), hp.n_mel)[: n_frames_of(samples)]
        windows = [tile_of(run, len(run)) for run in in_runs(mel, hp.window)]
        step = WINDOWS_OF_A_TILE
        return [joined_tiles(windows[i : i + step]) for i in range(0, len(windows), step)]


class Voxtral(SoundProjector):
    """The encoder of Voxtral (https://arxiv.org/abs/2507.13264).

    Sounds are completed with silence to whole runs of 30 s, which are read to their end. Four positions become one row,
    as in transformers; llama.cpp also halves them by means.
    """

    name = "voxtral"
    placeholder = "[BEGIN_AUDIO][AUDIO]"
    around = ("[BEGIN_AUDIO]", "")
    checkpoint = Checkpoint(
        classes=("VoxtralForConditionalGeneration",),
        names={
            **whisper_names(),
            "mm.a.mlp.1": "multi_modal_projector.linear_1",
            "mm.a.mlp.2": "multi_modal_projector.linear_2",
        },
        keys={
            "projector.stack_factor": lambda config: (
                config["audio_config"]["intermediate_size"] // config["audio_config"]["hidden_size"]
            )
        },
        only={"projector_hidden_act": ("gelu",)},
    )

    def tensors(self, hp: SoundHParams) -> WeightTable:
        """Two matrices."""
        return {
            **super().tensors(hp),
            "mm.a.mlp.1": Weight((hp.n_mid, hp.n_embd * hp.stack)),
            "mm.a.mlp.2": Weight((hp.n_out, hp.n_mid)),
        }

    def tiles(self, samples: F32, hp: Any) -> Sequence[SoundTile]:
        """Runs of 30 s."""
        mel = log_mel(padded_to(samples, hp.n_frames * HOP), hp.n_mel)
        return [tile_of(run, len(run)) for run in in_runs(mel, hp.n_frames)]

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Two matrices with gelu between them."""
        h = g.gelu_erf(g.linear(g.input("rows", (hp.n_embd * hp.stack,)), w.mm_a_mlp_1))
        return {"rows": g.linear(h, w.mm_a_mlp_2)}


class Ultravox(SoundProjector):
    """The encoder of Ultravox from 0.5 on (`ultravox_model.py` of https://huggingface.co/fixie-ai).

    Sounds are not completed with silence; longer ones are cut into runs of 30 s. Older projectors have their second
    norm after the last matrix, and no file of llama.cpp's converter.
    """

    name = "ultravox"
    placeholder = "<|audio|>"
    checkpoint = Checkpoint(
        classes=("UltravoxModel",),
        names={
            **whisper_names(),
            "mm.a.norm_pre": "multi_modal_projector.ln_pre",
            "mm.a.norm_mid": "multi_modal_projector.ln_mid",
            "mm.a.mlp.1": "multi_modal_projector.linear_1",
            "mm.a.mlp.2": "multi_modal_projector.linear_2",
        },
        keys={"projector.stack_factor": "stack_factor"},
        only={"projector_act": ("swiglu",), "projector_ln_mid": (True,)},
    )

    def tensors(self, hp: SoundHParams) -> WeightTable:
        """Two matrices with norms before them; the first has a gate."""
        n_in = hp.n_embd * hp.stack
        return {
            **super().tensors(hp),
            "mm.a.norm_pre": Weight((n_in,)),
            "mm.a.mlp.1": Weight((hp.n_mid, n_in)),
            "mm.a.norm_mid": Weight((hp.n_mid // 2,)),
            "mm.a.mlp.2": Weight((hp.n_out, hp.n_mid // 2)),
        }

    def tiles(self, samples: F32, hp: Any) -> Sequence[SoundTile]:
        """Runs of 30 s, the last as long as the sound."""
        mel = log_mel(padded_to(at_least_a_window(samples), HOP), hp.n_mel)
        return [tile_of(run, len(run)) for run in in_runs(mel, hp.n_frames)]

    def project(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """Norm, matrix, SwiGLU whose second half is the gate, norm, matrix."""
        x = g.rms_norm(g.input("rows", (hp.n_embd * hp.stack,)), w.mm_a_norm_pre, eps=ULTRAVOX_EPS)
        up, gate = g.split(g.linear(x, w.mm_a_mlp_1), hp.n_mid // 2, hp.n_mid // 2)
        h = g.rms_norm(g.silu(gate) * up, w.mm_a_norm_mid, eps=ULTRAVOX_EPS)
        return {"rows": g.linear(h, w.mm_a_mlp_2)}


@hookimpl
def realizar_projectors() -> Sequence[type[Projector]]:
    """The sound encoders."""
    return [Ultravox, Voxtral, Qwen2Audio, Qwen25Omni]
