"""Qwen with gated delta nets: qwen3next (Qwen 3 Next, Qwen 3 Coder Next), qwen35 and qwen35moe (Qwen 3.5 to 3.8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
    mrope_axes,
)
from realizar.arch.blocks import L2_EPS, embedding_tensors, l2_norm, norm_tensors, rotate, swiglu_ffn, swiglu_tensors
from realizar.arch.delta_checkpoint import KEYS, KEYS_MROPE, NAMES_MOE, NAMES_NEXT, NAMES_TILED, ONLY
from realizar.arch.drafts import draft, draft_tensors
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors


@dataclass(frozen=True)
class DeltaNet:
    """Sizes of the recurrent layers.

    Attributes
    ----------
    recurrent : tuple of bool
        Of each layer, whether it is recurrent; the others attend.
    n_tap : int
        Width of the convolution in tokens.
    n_head_k, n_head : int
        Number of heads of queries and keys, and of values.
    head_dim_k, head_dim_v : int
    """

    recurrent: tuple[bool, ...]
    n_tap: int
    n_head_k: int
    n_head: int
    head_dim_k: int
    head_dim_v: int

    @property
    def parts(self) -> tuple[int, int, int]:
        """Elements of all queries, all keys and all values of a token."""
        return self.n_head_k * self.head_dim_k, self.n_head_k * self.head_dim_k, self.n_head * self.head_dim_v


def delta_net(md: ArchMetadata) -> DeltaNet:
    """The sizes of the recurrent layers; by default, three of four layers are recurrent.

    Raises
    ------
    GGUFError
        If a key is missing or has an invalid value.
    """
    pattern = md.period_or_flags("attention.recurrent_layers", md.positive("full_attention_interval", 4))
    if isinstance(pattern, int):
        pattern = tuple((i + 1) % pattern != 0 for i in range(md.layers()))
    n_head = md.positive("ssm.time_step_rank")
    return DeltaNet(
        recurrent=pattern, n_tap=md.positive("ssm.conv_kernel"), n_head_k=md.positive("ssm.group_count"), n_head=n_head,
        head_dim_k=md.positive("ssm.state_size"), head_dim_v=max(1, md.positive("ssm.inner_size") // n_head),
    )  # fmt: skip


class Qwen35HParams(HParams):
    """The hyperparameters, with the sizes of the recurrent layers."""

    delta: DeltaNet


class Qwen35MoeHParams(ExpertHParams):
    """The hyperparameters of experts, with the width of the shared expert and the sizes of the recurrent layers."""

    n_ff_shared: int
    delta: DeltaNet


class Qwen35(Architecture):
    """Qwen 3.5 to 3.8: three gated delta nets (https://arxiv.org/abs/2412.06464) per layer of gated attention.

    A delta net convolves queries, keys and values over a few tokens and normalizes queries and keys to length one. In
    attention, each query has a gate, and only some of its dimensions are rotated. Value head h uses key head h modulo
    the number of key heads.
    """

    name = "qwen35"
    checkpoint = Checkpoint(
        ("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"), NAMES_TILED, KEYS_MROPE, only=ONLY
    )
    tiled: ClassVar[bool] = True

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """The axes alternate, as in Qwen 3 VL; frequencies beyond the sections are of the first."""
        axes, n = mrope_axes(md, interleaved=True), md.positive("rope.dimension_count", 2) // 2
        return None if axes is None else (*axes[:n], *(0,) * (n - len(axes)))

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model."""
        return Qwen35HParams(**vars(super().hparams(md)), delta=delta_net(md))

    def tensors(self, hp: Any) -> WeightTable:
        """A delta net or gated attention, then a feed-forward; the output may be tied to the embedding."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "post_attention_norm"),
            **self.ffn_tensors(hp),
        }
        for i, recurrent in enumerate(hp.delta.recurrent):
            mixer = self.delta_tensors(hp) if recurrent else self.attention_tensors(hp)
            table.update({name.replace("{i}", str(i)): weight for name, weight in mixer.items()})
        norms = norm_tensors(hp.n_embd, "attn_norm", "post_attention_norm")
        return {**table, **draft_tensors(hp, norms, self.attention_tensors(hp), self.ffn_tensors(hp))}

    def attention_tensors(self, hp: Any) -> WeightTable:
        """The tensors of gated attention: the rows of q are those of q and gate, head by head."""
        n_q, n_k, n_v = hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim, hp.n_head_kv * hp.head_dim_v
        parts = {"attn_q": 2 * n_q, "attn_k": n_k, "attn_v": n_v}
        norm = Weight((hp.head_dim,))
        return {
            "blk.{i}.attn_qkv": Weight((sum(parts.values()), hp.n_embd), parts=parts),
            "blk.{i}.attn_q_norm": norm,
            "blk.{i}.attn_k_norm": norm,
            "blk.{i}.attn_output": Weight((hp.n_embd, n_q)),
        }

    def delta_tensors(self, hp: Any) -> WeightTable:
        """The tensors of a delta net."""
        n_head, n_inner, n_conv = hp.delta.n_head, hp.delta.parts[2], sum(hp.delta.parts)
        return {
            **self.input_tensors(hp),
            "blk.{i}.ssm_conv1d": Weight((n_conv, hp.delta.n_tap)),
            "blk.{i}.ssm_dt": Weight((n_head,), suffix=".bias"),
            "blk.{i}.ssm_a": Weight((n_head,), suffix="", negative=True),
            **self.gate_tensors(hp),
            "blk.{i}.ssm_norm": Weight((hp.delta.head_dim_v,)),
            "blk.{i}.ssm_out": Weight((hp.n_embd, n_inner)),
        }

    def input_tensors(self, hp: Any) -> WeightTable:
        """The tensors of `inputs`."""
        return {
            "blk.{i}.attn_qkv": Weight((sum(hp.delta.parts), hp.n_embd)),
            "blk.{i}.attn_gate": Weight((hp.delta.parts[2], hp.n_embd)),
        }

    def gate_tensors(self, hp: Any) -> WeightTable:
        """The tensors of `gates`."""
        rows = Weight((hp.delta.n_head, hp.n_embd))
        return {"blk.{i}.ssm_alpha": rows, "blk.{i}.ssm_beta": rows}

    def ffn_tensors(self, hp: Any) -> WeightTable:
        """The tensors of `feed_forward`."""
        return swiglu_tensors(hp.n_embd, hp.n_ff)

    def attention(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """Attention whose result is multiplied by the sigmoid of a gate."""
        q = g.heads(g.linear(h, blk.attn_q), hp.n_head)
        q, gate = g.slice(q, 0, hp.head_dim), g.slice(q, hp.head_dim, hp.head_dim)
        k, v = (g.heads(g.linear(h, weight), hp.n_head_kv) for weight in (blk.attn_k, blk.attn_v))
        q, k = g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        q, k = rotate(g, hp, "neox", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5)
        return g.linear(a * g.sigmoid(g.flatten(gate)), blk.attn_output)

    def delta_net(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """A gated delta net, whose result is normalized head by head and gated."""
        net = hp.delta
        qkv, z = self.inputs(g, h, blk, hp)
        alpha, beta = self.gates(g, h, blk, hp)
        conv = g.state(layer, (net.n_tap - 1, sum(net.parts)), "conv")
        q, k, v = g.split(g.silu(g.causal_conv1d(qkv, blk.ssm_conv1d, conv)), *net.parts)
        q = l2_norm(g, g.heads(q, net.n_head_k), L2_EPS, net.head_dim_k**-0.5)
        k = l2_norm(g, g.heads(k, net.n_head_k), L2_EPS)
        decay = g.decay(alpha, a=blk.ssm_a, bias=blk.ssm_dt)
        state = g.state(layer, (net.n_head, net.head_dim_v, net.head_dim_k), "delta")
        y = g.delta_rule(q, k, g.heads(v, net.n_head), decay, g.sigmoid(beta), state=state, tiled=self.tiled)
        y = g.flatten(g.rms_norm(y, blk.ssm_norm, eps=hp.norm_eps))
        return g.linear(g.silu(z) * y, blk.ssm_out)

    def inputs(self, g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value]:
        """Queries, keys and values before the convolution, and the gate of the result."""
        return g.linear(h, blk.attn_qkv), g.linear(h, blk.attn_gate)

    def gates(self, g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value]:
        """For each head, before activation: alpha, which gives the decay of the state, and beta, the replaced share."""
        return g.linear(h, blk.ssm_alpha), g.linear(h, blk.ssm_beta)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any) -> Value:
        """A dense feed-forward."""
        return swiglu_ffn(g, h, blk)

    def layer(self, g: Graph, x: Value, blk: Any, hp: Any, i: int) -> Value:
        """x += delta_net(norm(x)) or attention(norm(x)); x += feed_forward(norm(x)). A draft block has attention."""
        mix = self.delta_net if i < hp.n_layer and hp.delta.recurrent[i] else self.attention
        x = x + mix(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return x + self.feed_forward(g, g.rms_norm(x, blk.post_attention_norm, eps=hp.norm_eps), blk, hp)

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """All layers, then the norm and the output matrix."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def draft(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value] | None:
        """The draft block."""
        return draft(g, w, hp, self.layer)


class Qwen35Moe(Qwen35):
    """Qwen 3.5 and 3.6 with experts, whose weights are normalized, and a shared expert with a sigmoid gate."""

    name = "qwen35moe"
    checkpoint = Checkpoint(
        ("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"), NAMES_MOE, KEYS_MROPE, only=ONLY
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model; the defaults of the widths are those of Qwen 2 MoE."""
        hp = Architecture.hparams(self, md)
        experts = expert_hparams(hp, md, n_ff=max(1, hp.n_ff // md.positive("expert_used_count")))
        n_shared = md.integer("expert_shared_feed_forward_length", 0) or hp.n_ff
        return Qwen35MoeHParams(**vars(experts), n_ff_shared=n_shared, delta=delta_net(md))

    def ffn_tensors(self, hp: Any) -> WeightTable:
        """Experts, the shared one and its gate."""
        return {
            **expert_tensors(hp),
            "blk.{i}.ffn_gate_inp_shexp": Weight((1, hp.n_embd)),
            "blk.{i}.ffn_gate_shexp": Weight((hp.n_ff_shared, hp.n_embd)),
            "blk.{i}.ffn_up_shexp": Weight((hp.n_ff_shared, hp.n_embd)),
            "blk.{i}.ffn_down_shexp": Weight((hp.n_embd, hp.n_ff_shared)),
        }

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any) -> Value:
        """The chosen experts plus the shared one times its gate."""
        gated = g.silu(g.linear(h, blk.ffn_gate_shexp)) * g.linear(h, blk.ffn_up_shexp)
        shared = g.linear(gated, blk.ffn_down_shexp) * g.sigmoid(g.linear(h, blk.ffn_gate_inp_shexp))
        return expert_ffn(g, h, blk, hp, normalize=True) + shared


class Qwen3Next(Qwen35Moe):
    """Qwen 3 Next and Qwen 3 Coder Next: Qwen 3.5 with experts, but adjacent value heads share a key."""

    name = "qwen3next"
    checkpoint = Checkpoint(("Qwen3NextForCausalLM",), NAMES_NEXT, KEYS, only=ONLY)
    tiled: ClassVar[bool] = False

    def input_tensors(self, hp: Any) -> WeightTable:
        """Two tensors, or one in files of 2025: for each head of keys the rows of its q, k, values and gates."""
        rows = sum(hp.delta.parts) + hp.delta.parts[2]
        table = {name: replace(weight, unless="ssm_in") for name, weight in super().input_tensors(hp).items()}
        return {**table, "blk.{i}.ssm_in": Weight((rows, hp.n_embd), optional=True)}

    def gate_tensors(self, hp: Any) -> WeightTable:
        """One tensor: for each head of keys the rows of beta, then those of alpha."""
        return {"blk.{i}.ssm_ba": Weight((2 * hp.delta.n_head, hp.n_embd))}

    def inputs(self, g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value]:
        """As for Qwen 3.5."""
        if blk.ssm_in is None:
            return super().inputs(g, h, blk, hp)
        n_head, (n_q, n_k, n_v) = hp.delta.n_head_k, hp.delta.parts
        q, k, v, z = self.by_key_head(g, g.linear(h, blk.ssm_in), n_head, n_q, n_k, n_v, n_v)
        qk = g.concat(g.heads(q, 1), g.heads(k, 1))
        return g.flatten(g.concat(qk, g.heads(v, 1))), z

    def gates(self, g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value]:
        """As for Qwen 3.5."""
        n = hp.delta.n_head
        beta, alpha = self.by_key_head(g, g.linear(h, blk.ssm_ba), hp.delta.n_head_k, n, n)
        return alpha, beta

    def by_key_head(self, g: Graph, x: Value, n_head: int, *sizes: int) -> list[Value]:
        """Split x into vectors of these sizes; for each key head, x has a part of each vector in turn."""
        heads, parts, start = g.heads(x, n_head), [], 0
        for size in sizes:
            parts.append(g.flatten(g.slice(heads, start, size // n_head)))
            start += size // n_head
        return parts


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Qwen3Next, Qwen35, Qwen35Moe]
