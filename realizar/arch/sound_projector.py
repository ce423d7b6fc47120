"""SoundProjector: the base of sound encoders, which are Whisper's: convolutions over a mel spectrogram, then layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from realizar.arch.architecture import Program, Weight, Weights, WeightTable
from realizar.arch.mel import HOP, RATE
from realizar.arch.metadata import ArchMetadata
from realizar.arch.projector import Projector, Tile, attention
from realizar.errors import GGUFError, SoundError
from realizar.graph import Graph, Value

F32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

POSITIONS = "a.position_embd"
TAPS = 3
"""Frames that an element of a convolution sees."""


@dataclass(frozen=True)
class SoundHParams:
    """The hyperparameters of a sound encoder, from the keys `clip.audio.*` as llama.cpp's converter writes them.

    Attributes
    ----------
    n_layer, n_embd, n_ff, n_head : int
    n_mel : int
        Bins of the spectrogram.
    norm_eps : float
    stack : int
        Positions that become one row.
    n_position : int
        Learned positions; each stands for two frames.
    n_mid, n_out : int
        Rows of the projector's first and last matrix. Files have them, and `n_position`, only as shapes.
    """

    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_mel: int
    norm_eps: float
    stack: int
    n_position: int = 0
    n_mid: int = 0
    n_out: int = 0

    @property
    def head_dim(self) -> int:
        """Elements of an attention head."""
        return self.n_embd // self.n_head

    @property
    def n_frames(self) -> int:
        """Frames of the longest sound that is encoded as a whole: 3000, that is 30 s."""
        return 2 * self.n_position


@dataclass(frozen=True, eq=False)
class SoundTile(Tile):
    """Consecutive frames of a sound; `patches` has a row for each position, with the windows of its two frames.

    Attributes
    ----------
    chunks : tuple of int
        Frames of each run that the encoder reads by itself; the last may be odd.
    """

    chunks: tuple[int, ...]

    @property
    def counts(self) -> list[int]:
        """Positions of each chunk."""
        return [-(-n // 2) for n in self.chunks]


class SoundProjector(Projector):
    """A sound encoder: an architecture from a mel spectrogram to rows that replace token embeddings.

    It has three programs: "frames", the first convolution with a row for each frame, "encode", the second convolution
    of stride 2 and the layers with a row for each position, and "project". `around` are the texts before and after the
    rows in a prompt.
    """

    modality = "audio"
    config_key = "audio_config"
    around: ClassVar[tuple[str, str]] = ("", "")
    matrices: ClassVar[tuple[str, str]] = ("mm.a.mlp.1", "mm.a.mlp.2")

    def hparams(self, md: ArchMetadata) -> Any:
        """Read the hyperparameters. Raises GGUFError if a key is missing or has an invalid value."""
        n_embd, n_head = md.positive("embedding_length"), md.positive("attention.head_count")
        if n_embd % n_head:
            raise GGUFError(f"{md.arch}: embedding_length {n_embd} must be a multiple of attention.head_count {n_head}")
        return SoundHParams(
            n_layer=md.positive("block_count"), n_embd=n_embd, n_ff=md.positive("feed_forward_length"), n_head=n_head,
            n_mel=md.integer_between("num_mel_bins", 1, 1024), stack=self.stack(md),
            norm_eps=md.between("attention.layer_norm_epsilon", 0.0, 1.0),
        )  # fmt: skip

    def stack(self, md: ArchMetadata) -> int:
        """Positions that become one row."""
        return md.integer_between("projector.stack_factor", 1, 64)

    def with_shapes(self, hp: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """The hyperparameters with the shapes of the file's tensors."""
        sizes = [shapes.get(f"{name}.weight", (0,)) for name in (POSITIONS, *self.matrices)]
        n_position, n_mid, n_out = (int(shape[0]) for shape in sizes)
        return replace(hp, n_position=n_position, n_mid=n_mid, n_out=n_out)

    def tensors(self, hp: Any) -> WeightTable:
        """The encoder; subclasses add the projector. Convolutions are matrices over windows of three frames."""
        n = hp.n_embd
        return {
            "a.conv1d.1": Weight((n, hp.n_mel * TAPS), bias=True),
            "a.conv1d.2": Weight((n, n * TAPS), bias=True),
            POSITIONS: Weight((hp.n_position, n)),
            "a.blk.{i}.attn_q": Weight((n, n), bias=True),
            "a.blk.{i}.attn_k": Weight((n, n)),
            "a.blk.{i}.attn_v": Weight((n, n), bias=True),
            "a.blk.{i}.attn_out": Weight((n, n), bias=True),
            "a.blk.{i}.ln1": Weight((n,), bias=True),
            "a.blk.{i}.ln2": Weight((n,), bias=True),
            "a.blk.{i}.ffn_up": Weight((hp.n_ff, n), bias=True),
            "a.blk.{i}.ffn_down": Weight((n, hp.n_ff), bias=True),
            "a.post_ln": Weight((n,), bias=True),
        }

    def programs(self) -> Mapping[str, Program]:
        """The three programs."""
        return {"frames": self.frames, "encode": self.build, "project": self.project}

    def frames(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The first convolution: gelu of a matrix over the windows of a frame."""
        return {"frames": g.gelu_erf(g.linear(g.input("patches", (hp.n_mel * TAPS,)), w.a_conv1d_1))}

    def build(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value]:
        """The second convolution, learned positions, and Whisper's layers (https://arxiv.org/abs/2212.04356)."""
        x = g.gelu_erf(g.linear(g.input("windows", (hp.n_embd * TAPS,)), w.a_conv1d_2))
        x = x + g.input("learned_positions", (hp.n_embd,))
        for blk in w.a_blk:
            x = x + attention(g, g.layer_norm(x, blk.ln1, eps=hp.norm_eps), blk, hp)
            h = g.linear(g.layer_norm(x, blk.ln2, eps=hp.norm_eps), blk.ffn_up)
            x = x + g.linear(g.gelu_erf(h), blk.ffn_down)
        return {"rows": self.finished(g, w, x, hp)}

    def finished(self, g: Graph, w: Weights, x: Value, hp: Any) -> Value:
        """The states after the last layer, normalized."""
        return g.layer_norm(x, w.a_post_ln, eps=hp.norm_eps)

    @abstractmethod
    def tiles(self, samples: F32, hp: Any) -> Sequence[SoundTile]:
        """Return the tiles of a sound, float32 [n] at 16 kHz."""

    def pieces(self, pixels: npt.NDArray[Any], hp: Any, max_rows: int) -> Sequence[str | Tile]:
        """Preprocess a sound, float32 [n] at 16 kHz, to texts and tiles in the order of the prompt.

        Raises
        ------
        SoundError
            If it is too short for one row, or gives more than `max_rows`.
        """
        tiles = [tile for tile in self.tiles(pixels, hp) if self.n_rows(tile, hp)]
        n, seconds = sum(self.n_rows(tile, hp) for tile in tiles), len(pixels) / RATE
        if not n:
            raise SoundError(f"a sound of {seconds:.3f} s: too short for this model")
        if n > max_rows:
            raise SoundError(
                f"a sound of {seconds:.0f} s has {n} rows, but {max_rows} fit into the context: raise n_ctx, or "
                "make it shorter"
            )
        before, after = self.around
        return [*([before] if before else []), *tiles, *([after] if after else [])]

    def groups(self, program: str, tile: Tile, hp: Any) -> Sequence[int]:
        """The positions of each chunk, or twice as many frames."""
        counts = tile.counts if isinstance(tile, SoundTile) else [len(tile.patches)]
        return [2 * n for n in counts] if program == "frames" else counts

    def table_names(self, hp: Any) -> Sequence[str]:
        """The learned positions."""
        return (POSITIONS,)

    def inputs(self, tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """The learned positions, from the first for each chunk."""
        counts = self.groups("encode", tile, hp)
        return {"learned_positions": np.concatenate([tables[POSITIONS][:n] for n in counts])}

    def given(self, program: str, found: Mapping[str, F32], tile: Tile, hp: Any) -> Mapping[str, F32]:
        """The windows of a convolution."""
        if program == "frames":
            return {"patches": found["patches"].reshape(-1, hp.n_mel * TAPS)}
        if not isinstance(tile, SoundTile):
            raise TypeError("a sound encoder reads SoundTile")
        windows, start = [], 0
        for n_frames, n in zip(tile.chunks, tile.counts, strict=True):
            frames = found["frames"][start : start + 2 * n]
            windows.append(convolved(frames[:n_frames], 2 * n)[::2])
            start += 2 * n
        return {"windows": np.concatenate(windows), "learned_positions": found["learned_positions"]}

    def encoder_positions(self, program: str, tile: Tile, hp: Any) -> Int32:
        """Zeros: learned positions are added."""
        return np.zeros((1, sum(self.groups(program, tile, hp))), np.int32)

    def n_rows(self, tile: Tile, hp: Any) -> int:
        """The number of rows of a tile in the language model; the last may be of fewer positions."""
        return int(-(-len(tile.patches) // hp.stack))

    def gather(self, values: Mapping[str, F32], tile: Tile, hp: Any, tables: Mapping[str, F32]) -> Mapping[str, F32]:
        """Several positions as one row; zeros complete the last."""
        rows, n = values["rows"], self.n_rows(tile, hp)
        stacked = np.zeros((n * hp.stack, rows.shape[1]), np.float32)
        stacked[: len(rows)] = rows
        return {"rows": stacked.reshape(n, -1)}


def convolved(rows: F32, n: int) -> F32:
    """Return the windows of n elements of a convolution over three rows, float32 [n, n_channel * 3].

    A window has the row before, its own and the next, channel after channel; there are zeros beyond the ends.

    Parameters
    ----------
    rows : float32 [m, n_channel]
        Row n may exist, and is then seen by the last window.
    n : int
    """
    padded = np.zeros((n + TAPS - 1, rows.shape[1]), np.float32)
    padded[1 : 1 + min(len(rows), n + 1)] = rows[: n + 1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, TAPS, axis=0)
    return np.ascontiguousarray(windows).reshape(n, -1)


def tile_of(mel: F32, n_frames: int) -> SoundTile:
    """Return the first frames of a spectrogram as one chunk. Frames after them are seen by the convolutions only.

    Parameters
    ----------
    mel : float32 [n, n_mel]
    n_frames : int
    """
    n = -(-n_frames // 2)
    patches = convolved(mel, 2 * n).reshape(n, -1)
    return SoundTile(patches, (n, 1), np.zeros((1, n), np.int32), (min(2 * n, len(mel)),))


def joined_tiles(tiles: Sequence[SoundTile]) -> SoundTile:
    """Return tiles as one with several chunks."""
    patches = np.concatenate([tile.patches for tile in tiles])
    chunks = tuple(n for tile in tiles for n in tile.chunks)
    return SoundTile(patches, (len(patches), 1), np.zeros((1, len(patches)), np.int32), chunks)


def in_runs(mel: F32, n: int) -> Iterator[F32]:
    """Yield a spectrogram in runs of n frames; the last may be shorter."""
    for start in range(0, len(mel), n):
        yield mel[start : start + n]


def padded_to(samples: F32, multiple: int) -> F32:
    """Return a sound with silence after it, so that its length is a multiple of this."""
    return np.pad(samples, (0, -len(samples) % multiple))


def n_frames_of(samples: F32) -> int:
    """The number of frames that have a sample."""
    return -(-len(samples) // HOP)


def at_least_a_window(samples: F32) -> F32:
    """Return a sound with silence after it if it is shorter than 400 samples, which a frame needs."""
    return np.pad(samples, (0, max(0, 400 - len(samples))))
