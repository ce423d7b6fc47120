"""The builder methods of recurrent layers, which `Graph` inherits: states, and the ops that keep one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from realizar.errors import GraphError
from realizar.graph.values import State

if TYPE_CHECKING:
    from realizar.graph.ops import Shape
    from realizar.graph.values import Value, WeightLike


class Recorder(Protocol):
    """What these methods need of a graph."""

    states: dict[str, State]

    def emit(
        self, op: str, inputs: Sequence[Value], names: Sequence[str], weights: Iterable[tuple[str, Shape]] = (),
        **attrs: Any,
    ) -> list[Value]:  # fmt: skip
        """Append a node, as `Graph.emit`."""
        ...


class RecurrentOps:
    """States, and the ops that keep one from token to token."""

    def state(self: Recorder, layer: int, shape: Shape, name: str = "state") -> State:
        """Declare a recurrent state of layer `layer`: a float32 array of this shape for each sequence, initially zero.

        A layer with several states gives each a name.
        """
        state = State(layer, shape, name)
        if state.key in self.states:
            raise GraphError(f"state: layer {layer} has already declared {name!r}")
        self.states[state.key] = state
        return state

    def causal_conv1d(self: Recorder, x: Value, weight: WeightLike, state: State) -> Value:
        """Depthwise causal convolution over the tokens: y[t, c] = sum_j w[c, j] x[t - n_tap + 1 + j, c] + b[c].

        weight: (n_channel, n_tap), with b if the file has it; state: (n_tap - 1, n_channel), the previous rows of x.
        """
        n_channel, n_tap = weight.shape
        if state.shape != (n_tap - 1, n_channel):
            raise GraphError(f"causal_conv1d: state {state.shape}, but {weight.name} needs {(n_tap - 1, n_channel)}")
        pair = (weight.tensor, weight.shape)
        return self.emit("causal_conv1d", [x], [weight.name], [pair], state=state.key,
                         bias=(weight.bias,), activation="")[0]  # fmt: skip

    def token_shift(self: Recorder, x: Value, weight: WeightLike, state: State) -> list[Value]:
        """x[t] + w_j (x[t - 1] - x[t]) for each row w_j of the weight: as many values of the shape of x, (n_channel,).

        RWKV's mixes of a token with the previous one (https://arxiv.org/abs/2503.14456). weight: (n_mix, n_channel),
        also with dimensions of one between the two; state: (n_channel,), the previous row of x.
        """
        if state.shape != x.shape:
            raise GraphError(f"token_shift: state {state.shape} for rows of {x.shape}; they must be equal")
        n_mix, pair = weight.shape[0], (weight.tensor, weight.shape)
        mixes = self.emit("token_shift", [x], [weight.name], [pair], state=state.key)[0]
        return self.emit("split", [mixes], [f"{weight.name}.{j}" for j in range(n_mix)], sizes=x.shape * n_mix)

    def selective_scan(
        self: Recorder, x: Value, dt: Value, b: Value, c: Value, *, a: WeightLike, d: WeightLike, state: State,
        dt_bias: WeightLike | None = None,
    ) -> Value:  # fmt: skip
        """h[t] = exp(dt a) h[t - 1] + dt x b and y[t] = c h[t] + d x, with dt = softplus(dt + dt_bias): (n_channel,).

        x: (n_channel,), in heads that share a dt: (n_head,); b, c: (n_group * n_state,), each group for n_head /
        n_group heads; d, dt_bias: n_head elements; state: (n_channel, n_state). a is (n_head, 1), one decay for all
        states of a head (Mamba 2, https://arxiv.org/abs/2405.21060), or (n_channel, n_state) with heads of one channel
        and one group (Mamba, https://arxiv.org/abs/2312.00752).
        """
        if len(state.shape) != 2 or state.shape[:1] != x.shape:
            raise GraphError(f"selective_scan: state {state.shape} for {x.shape} channels; it is (n_channel, n_state)")
        pairs = [(weight.tensor, weight.shape) for weight in (a, d, dt_bias) if weight is not None]
        return self.emit("selective_scan", [x, dt, b, c], [f"blk.{state.layer}.scan"], pairs, state=state.key,
                         n_state=state.shape[1])[0]  # fmt: skip

    def decay(self: Recorder, x: Value, *, a: WeightLike | None, bias: WeightLike, bound: float = 0.0) -> Value:
        """exp(a softplus(x + bias)), the factor by which a token scales the state: the shape of x.

        x: (n_head,), or (n_head * n,) for n channels of each head; bias: as many elements; a: one for each head,
        negative (Gated DeltaNet, https://arxiv.org/abs/2412.06464). With a bound (negative), the
        result is exp(bound sigmoid(a (x + bias))), at least exp(bound), and a is positive (Kimi Delta Attention,
        https://arxiv.org/abs/2510.26692, as in Ling 3), or None for 1 (RWKV 7, https://arxiv.org/abs/2503.14456).
        """
        if bound > 0:
            raise GraphError(f"decay: bound {bound} would let the state grow; a negative one is needed, or 0 for none")
        if a is None and not bound:
            raise GraphError("decay: without a bound a is needed: the state would grow")
        pairs = [(weight.tensor, weight.shape) for weight in (bias, a) if weight is not None]
        return self.emit("decay", [x], ["decay"], pairs, bound=float(bound))[0]

    def delta_rule(
        self: Recorder, q: Value, k: Value, v: Value, decay: Value, beta: Value, *, state: State, tiled: bool = False
    ) -> Value:
        """The gated delta rule: S[t] = S' + u k^T with S' = S[t - 1] diag(decay), u = beta (v - S' k); y[t] = S[t] q.

        Replaces S' k, the value stored for key k, by v in proportion to beta; keys should have length at most one.
        q, k: (n_head_k, head_dim_k); v, y: (n_head, head_dim_v); beta: (n_head,); state: (n_head, head_dim_v,
        head_dim_k). decay is one for each head, (n_head,) (Gated DeltaNet, https://arxiv.org/abs/2412.06464), or one
        for each channel of the keys, (n_head * head_dim_k,) (Kimi Delta Attention, https://arxiv.org/abs/2510.26692).
        Head h uses q and k of head h // (n_head / n_head_k); with `tiled`, of head h % n_head_k.
        """
        return self.emit("delta_rule", [q, k, v, decay, beta], [f"blk.{state.layer}.delta"], state=state.key,
                         shape=state.shape, tiled=tiled)[0]  # fmt: skip

    def generalized_delta_rule(
        self: Recorder, q: Value, k: Value, v: Value, decay: Value, a: Value, b: Value, *, state: State
    ) -> Value:
        """S[t] = S[t - 1] diag(decay) + (S[t - 1] a) b^T + v k^T; y[t] = S[t] q: (n_head, head_dim_v).

        The generalized delta rule of RWKV 7 (https://arxiv.org/abs/2503.14456): what is removed and what is written may
        have different keys. q, k, a, b: (n_head, head_dim_k); v, y: (n_head, head_dim_v); decay:
        (n_head * head_dim_k,); state: (n_head, head_dim_v, head_dim_k).
        """
        return self.emit("generalized_delta_rule", [q, k, v, decay, a, b], [f"blk.{state.layer}.delta"],
                         state=state.key, shape=state.shape)[0]  # fmt: skip
