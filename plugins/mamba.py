"""The Mamba family: mamba (Mamba, FalconMamba) and mamba2."""

from collections.abc import Sequence
from dataclasses import dataclass

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Graph,
    HParams,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors


@dataclass(frozen=True)
class MambaHParams(HParams):
    """Beside what every model has: the sizes of the recurrence.

    Attributes
    ----------
    n_tap : int
        Tokens that the convolution looks at.
    n_inner, n_state : int
        Channels, and numbers that each of them remembers.
    dt_rank : int
        Numbers that the steps of all channels are made of; of Mamba 2 the heads, each with a step of its own.
    n_group : int
        Sets of b and c (Mamba 2).
    norms_dt_b_c : bool
        dt, b and c are normed, without weights (FalconMamba).
    """

    n_tap: int
    n_inner: int
    n_state: int
    dt_rank: int
    n_group: int
    norms_dt_b_c: bool


class Mamba(Architecture):
    """Mamba (https://arxiv.org/abs/2312.00752) and FalconMamba (https://arxiv.org/abs/2410.05355).

    Each layer widens the stream twice, convolves one half over a few tokens, runs it through a scan whose steps, inputs
    and outputs depend on the token, and lets the other half gate the result.
    """

    name = "mamba"

    def hparams(self, md: ArchMetadata) -> MambaHParams:
        """The numbers of this model, which has no heads, positions or feed-forward."""
        return MambaHParams(
            n_layer=md.positive("block_count"), n_embd=md.positive("embedding_length"), n_ff=0, n_vocab=md.n_vocab(),
            n_ctx_train=md.positive("context_length"), n_head=0, n_head_kv=0, head_dim=0, head_dim_v=0,
            norm_eps=self.norm_eps(md), rope_dims=0, rope_base=0.0, rope_scaling=RopeScaling(), window=0,
            n_tap=md.positive("ssm.conv_kernel"), n_inner=md.positive("ssm.inner_size"),
            n_state=md.positive("ssm.state_size"), dt_rank=md.positive("ssm.time_step_rank"),
            n_group=md.positive("ssm.group_count", 1), norms_dt_b_c=md.boolean("ssm.dt_b_c_rms", False),
        )  # fmt: skip

    def tensors(self, hp: MambaHParams) -> WeightTable:
        """A norm and a recurrence for each layer; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            "blk.{i}.attn_norm": Weight((hp.n_embd,)),
            **self.scan_tensors(hp),
        }

    def scan_tensors(self, hp: MambaHParams, blk: str = "blk.{i}") -> WeightTable:
        """The tensors of the recurrence of a layer."""
        return {
            f"{blk}.ssm_in": Weight((2 * hp.n_inner, hp.n_embd)),
            f"{blk}.ssm_conv1d": Weight((hp.n_inner, hp.n_tap), bias=True),
            f"{blk}.ssm_x": Weight((hp.dt_rank + 2 * hp.n_state, hp.n_inner)),
            f"{blk}.ssm_dt": Weight((hp.n_inner, hp.dt_rank), bias=True),
            f"{blk}.ssm_a": Weight((hp.n_inner, hp.n_state), suffix="", negative=True),
            f"{blk}.ssm_d": Weight((hp.n_inner,), suffix=""),
            f"{blk}.ssm_out": Weight((hp.n_embd, hp.n_inner)),
        }

    def norm_dt_b_c(self, g: Graph, parts: Sequence[Value], blk: Weights, hp: MambaHParams) -> Sequence[Value]:
        """dt, b and c as the scan takes them."""
        return [g.rms_norm(part, None, eps=hp.norm_eps) for part in parts] if hp.norms_dt_b_c else parts

    def scan(self, g: Graph, h: Value, blk: Weights, hp: MambaHParams, layer: int) -> Value:
        """The recurrence of one layer."""
        x, z = g.split(g.linear(h, blk.ssm_in), hp.n_inner, hp.n_inner)
        x = g.silu(g.short_conv(x, blk.ssm_conv1d, g.state(layer, (hp.n_tap - 1, hp.n_inner), "conv")))
        parts = g.split(g.linear(x, blk.ssm_x), hp.dt_rank, hp.n_state, hp.n_state)
        dt, b, c = self.norm_dt_b_c(g, parts, blk, hp)
        state = g.state(layer, (hp.n_inner, hp.n_state), "scan")
        y = g.selective_scan(x, g.linear(dt, blk.ssm_dt), b, c, a=blk.ssm_a, d=blk.ssm_d, state=state)
        return g.linear(g.silu(z) * y, blk.ssm_out)

    def build(self, g: Graph, w: Weights, hp: MambaHParams) -> Value:
        """x += scan(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.scan(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Mamba2(Mamba):
    """Mamba 2 (https://arxiv.org/abs/2405.21060).

    One product gives all inputs of the scan, whose heads have one decay each; the convolution goes over b and c too,
    and the gated result is normed in groups.
    """

    name = "mamba2"

    def scan_tensors(self, hp: MambaHParams, blk: str = "blk.{i}") -> WeightTable:
        """The tensors of the recurrence of a layer; a norm of one group is a vector in the file."""
        n_conv = hp.n_inner + 2 * hp.n_group * hp.n_state
        return {
            f"{blk}.ssm_in": Weight((hp.n_inner + n_conv + hp.dt_rank, hp.n_embd)),
            f"{blk}.ssm_conv1d": Weight((n_conv, hp.n_tap), bias=True),
            f"{blk}.ssm_dt": Weight((hp.dt_rank,), suffix=".bias"),
            f"{blk}.ssm_a": Weight((hp.dt_rank, 1), suffix="", negative=True),
            f"{blk}.ssm_d": Weight((hp.dt_rank, 1), suffix=""),
            f"{blk}.ssm_norm": Weight((hp.n_group, hp.n_inner // hp.n_group)),
            f"{blk}.ssm_out": Weight((hp.n_embd, hp.n_inner)),
        }

    def scan(self, g: Graph, h: Value, blk: Weights, hp: MambaHParams, layer: int) -> Value:
        """The recurrence of one layer."""
        n_bc = hp.n_group * hp.n_state
        n_conv = hp.n_inner + 2 * n_bc
        z, xbc, dt = g.split(g.linear(h, blk.ssm_in), hp.n_inner, n_conv, hp.dt_rank)
        xbc = g.silu(g.short_conv(xbc, blk.ssm_conv1d, g.state(layer, (hp.n_tap - 1, n_conv), "conv")))
        x, b, c = g.split(xbc, hp.n_inner, n_bc, n_bc)
        state = g.state(layer, (hp.n_inner, hp.n_state), "scan")
        y = g.selective_scan(x, dt, b, c, a=blk.ssm_a, d=blk.ssm_d, dt_bias=blk.ssm_dt, state=state)
        y = g.rms_norm(g.heads(g.silu(z) * y, hp.n_group), blk.ssm_norm, eps=hp.norm_eps)
        return g.linear(g.flatten(y), blk.ssm_out)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Mamba, Mamba2]
