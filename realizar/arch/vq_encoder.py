"""The encoder of a VQ-GAN (https://arxiv.org/abs/2012.09841) in numpy: makes a picture a grid of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realizar.arch.architecture import Weight, WeightTable
from realizar.arch.projector import F32

N_GROUP = 32
"""Groups of channels of a norm."""
GROUP_NORM_EPS = 1e-6


@dataclass(frozen=True)
class VQHParams:
    """The hyperparameters of a tokenizer of pictures.

    Attributes
    ----------
    side : int
        Of a picture, in pixels.
    channels : tuple of int
        Of the first convolution, and of each resolution; between these, the sides are halved.
    n_block : int
        Residual blocks of a resolution.
    attended : tuple of bool
        For each resolution, and for the blocks in the middle, whether attention follows a block.
    n_latent, n_code_dim : int
        Channels at the end, and those of a code.
    tokens : tuple of int
        The token of each code.
    mean, std : tuple of float
        Of the colors.
    """

    side: int
    channels: tuple[int, ...]
    n_block: int
    attended: tuple[bool, ...]
    n_latent: int
    n_code_dim: int
    tokens: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    n_layer: int = 0


def conv(n_in: int, n_out: int, side: int = 3) -> Weight:
    """The kernel of a convolution."""
    return Weight((n_out, n_in * side**2), bias=True)


def block_tensors(name: str, n_in: int, n_out: int) -> WeightTable:
    """The tensors of a residual block; a matrix if the number of channels changes."""
    table = {
        f"{name}.norm1": Weight((n_in,), bias=True), f"{name}.conv1": conv(n_in, n_out),
        f"{name}.norm2": Weight((n_out,), bias=True), f"{name}.conv2": conv(n_out, n_out),
    }  # fmt: skip
    return table if n_in == n_out else {**table, f"{name}.nin_shortcut": conv(n_in, n_out, 1)}


def attention_tensors(name: str, n: int) -> WeightTable:
    """The tensors of attention among the places of a picture."""
    matrices = {f"{name}.{part}": conv(n, n, 1) for part in ("q", "k", "v", "proj_out")}
    return {f"{name}.norm": Weight((n,), bias=True), **matrices}


def vq_tensors(hp: VQHParams) -> WeightTable:
    """Convolutions, blocks of each resolution, those in the middle, and the codes."""
    n = hp.channels[-1]
    table = {"v.conv_in": conv(3, hp.channels[0])}
    for i, (n_in, n_out) in enumerate(zip(hp.channels, hp.channels[1:], strict=False)):
        for j in range(hp.n_block):
            table.update(block_tensors(f"v.down.{i}.block.{j}", n_in if j == 0 else n_out, n_out))
            if hp.attended[i]:
                table.update(attention_tensors(f"v.down.{i}.attn.{j}", n_out))
        if i < len(hp.channels) - 2:
            table[f"v.down.{i}.downsample.conv"] = conv(n_out, n_out)
    return {
        **table,
        **block_tensors("v.mid.block_1", n, n),
        **(attention_tensors("v.mid.attn_1", n) if hp.attended[-1] else {}),
        **block_tensors("v.mid.block_2", n, n),
        "v.norm_out": Weight((n,), bias=True),
        "v.conv_out": conv(n, hp.n_latent),
        "v.quant_conv": conv(hp.n_latent, hp.n_code_dim, 1),
        "v.codes": Weight((len(hp.tokens), hp.n_code_dim)),
    }


class VQEncoder:
    """The encoder; pictures are float32 [height, width, channels], `tables` the tensors of `vq_tensors`."""

    def __init__(self, hp: VQHParams, tables: Mapping[str, F32]) -> None:
        self.hp = hp
        self.tables = tables

    def codes(self, x: F32) -> list[int]:
        """The number of the closest code of each place, row after row."""
        hp = self.hp
        x = self.conv("v.conv_in", x)
        for i in range(len(hp.channels) - 1):
            for j in range(hp.n_block):
                x = self.block(f"v.down.{i}.block.{j}", x)
                if hp.attended[i]:
                    x = self.attention(f"v.down.{i}.attn.{j}", x)
            if i < len(hp.channels) - 2:
                x = self.conv(f"v.down.{i}.downsample.conv", x, step=2)
        x = self.block("v.mid.block_1", x)
        if hp.attended[-1]:
            x = self.attention("v.mid.attn_1", x)
        x = swish(self.norm("v.norm_out", self.block("v.mid.block_2", x)))
        vectors = self.conv("v.quant_conv", self.conv("v.conv_out", x)).reshape(-1, hp.n_code_dim)
        codes = self.tables["v.codes"]
        found: list[int] = np.argmin((codes**2).sum(axis=1) - 2 * vectors @ codes.T, axis=1).tolist()
        return found

    def conv(self, name: str, x: F32, step: int = 1) -> F32:
        """A convolution that keeps the size of a picture, or halves it with zeros after its last row and column."""
        kernel, n = self.tables[name], x.shape[2]
        side = round((kernel.shape[1] // n) ** 0.5)
        taps = kernel.reshape(len(kernel), n, side, side).transpose(2, 3, 1, 0)
        before = side // 2 if step == 1 else 0
        padded = np.pad(x, ((before, side // 2), (before, side // 2), (0, 0)))
        height, width = x.shape[0] // step, x.shape[1] // step
        out = np.zeros((height * width, len(kernel)), np.float32) + self.tables[f"{name}.bias"]
        for i in range(side):
            for j in range(side):
                seen = padded[i : i + step * height : step, j : j + step * width : step]
                out += np.ascontiguousarray(seen).reshape(-1, n) @ np.ascontiguousarray(taps[i, j])
        return out.reshape(height, width, -1)

    def norm(self, name: str, x: F32) -> F32:
        """A norm over groups of channels."""
        cut = x.reshape(-1, N_GROUP, x.shape[2] // N_GROUP)
        mean = cut.mean(axis=(0, 2), keepdims=True, dtype=np.float64).astype(np.float32)
        centered = cut - mean
        variance = np.square(centered).mean(axis=(0, 2), keepdims=True, dtype=np.float64)
        scaled = centered * (1 / np.sqrt(variance + GROUP_NORM_EPS)).astype(np.float32)
        return np.asarray(scaled.reshape(x.shape) * self.tables[name] + self.tables[f"{name}.bias"])

    def block(self, name: str, x: F32) -> F32:
        """x + conv(swish(norm(conv(swish(norm(x)))))), with a matrix for x if the number of channels changes."""
        h = self.conv(f"{name}.conv1", swish(self.norm(f"{name}.norm1", x)))
        h = self.conv(f"{name}.conv2", swish(self.norm(f"{name}.norm2", h)))
        return h + (self.conv(f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut" in self.tables else x)

    def attention(self, name: str, x: F32) -> F32:
        """x + attention(norm(x)) among all places, with one head."""
        h, n = self.norm(f"{name}.norm", x), x.shape[2]
        q, k, v = (self.conv(f"{name}.{part}", h).reshape(-1, n) for part in "qkv")
        scores = q @ k.T * np.float32(n**-0.5)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed = (shares / shares.sum(axis=1, keepdims=True)) @ v
        return x + self.conv(f"{name}.proj_out", mixed.reshape(x.shape))


def swish(x: F32) -> F32:
    """X / (1 + exp(-x))."""
    with np.errstate(over="ignore"):  # exp(-x) may be infinite, where the result is 0
        return np.asarray(x / (1 + np.exp(-x)))
