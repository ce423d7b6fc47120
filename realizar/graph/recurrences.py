"""The numpy definitions of recurrent ops: (node, inputs [n, *shape], inputs of the run) -> outputs [n, *shape].

Each starts with the states of the run and leaves the states after the last row in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.graph import activations

if TYPE_CHECKING:
    from realizar.graph.reference import Inputs
    from realizar.graph.values import Node

F32 = npt.NDArray[np.float32]


def causal_conv1d(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """A causal convolution over the tokens."""
    w = inputs.tensors[node.weights[0]].floats().astype(np.float64)
    n_tap, state = w.shape[1], inputs.states[node.attrs["state"]]
    rows = np.concatenate([state, x[0]])
    state[...] = rows[len(x[0]) :]
    (bias,) = node.attrs["bias"]
    y = np.sum([rows[j : j + len(x[0])] * w[:, j] for j in range(n_tap)], axis=0)
    if bias is not None:
        y = y + inputs.tensors[bias].floats()
    return [activations.silu(y) if node.attrs["activation"] == "silu" else y]


def token_shift(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """Mixes of each row with the previous one."""
    w, state = inputs.tensors[node.weights[0]].floats().astype(np.float64), inputs.states[node.attrs["state"]]
    w = w.reshape(len(w), -1)
    h, past = x[0].astype(np.float64), np.concatenate([state[None], x[0][:-1]])
    state[...] = x[0][-1]
    return [(h[:, None] + w * (past - h)[:, None]).reshape(len(h), -1)]


def selective_scan(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """A selective scan."""
    u, dt, b, c = (array.astype(np.float64) for array in x)
    a, d, *bias = (inputs.tensors[name].floats().astype(np.float64) for name in node.weights)
    n_head, n_state = dt.shape[1], node.attrs["n_state"]
    dt = np.logaddexp(0, dt + bias[0].reshape(-1) if bias else dt)
    u = u.reshape(len(u), n_head, -1)
    b, c = (np.repeat(t.reshape(len(t), -1, n_state), n_head * n_state // t.shape[1], axis=1) for t in (b, c))
    state = inputs.states[node.attrs["state"]]
    h = state.astype(np.float64).reshape(*u.shape[1:], n_state)
    y = np.empty_like(u)
    for t in range(len(u)):
        h = h * np.exp(dt[t, :, None] * a)[:, None] + (dt[t, :, None] * u[t])[:, :, None] * b[t, :, None]
        y[t] = np.einsum("hps,hs->hp", h, c[t]) + d.reshape(-1, 1) * u[t]
    state[...] = h.reshape(state.shape)
    return [y.reshape(len(y), -1)]


def decay(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """The factors of a state."""
    bias, *rest = (inputs.tensors[name].floats().astype(np.float64).reshape(-1) for name in node.weights)
    a = np.repeat(rest[0], x[0].shape[1] // len(rest[0])) if rest else np.ones(1)
    bound = node.attrs["bound"]
    return [np.exp(bound * activations.sigmoid(a * (x[0] + bias)) if bound else a * np.logaddexp(0, x[0] + bias))]


def delta_rule(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """The gated delta rule."""
    q, k, v, decay, beta = (array.astype(np.float64) for array in x)
    n_head, n_head_k = v.shape[1], k.shape[1]
    heads = np.arange(n_head) % n_head_k if node.attrs["tiled"] else np.arange(n_head) // (n_head // n_head_k)
    q, k, decay = q[:, heads], k[:, heads], decay.reshape(len(v), n_head, 1, -1)
    state = inputs.states[node.attrs["state"]]
    s = state.astype(np.float64)
    y = np.empty_like(v)
    for t in range(len(v)):
        s = s * decay[t]
        u = beta[t, :, None] * (v[t] - np.einsum("hvk,hk->hv", s, k[t]))
        s = s + u[:, :, None] * k[t, :, None, :]
        y[t] = np.einsum("hvk,hk->hv", s, q[t])
    state[...] = s
    return [y]


def generalized_delta_rule(node: Node, x: Sequence[F32], inputs: Inputs) -> list[Any]:
    """The generalized delta rule."""
    q, k, v, decay, a, b = (array.astype(np.float64) for array in x)
    decay = decay.reshape(k.shape)[:, :, None]
    state = inputs.states[node.attrs["state"]]
    s = state.astype(np.float64)
    y = np.empty_like(v)
    for t in range(len(v)):
        removed = np.einsum("hvk,hk->hv", s, a[t])
        s = s * decay[t] + removed[:, :, None] * b[t, :, None] + v[t, :, :, None] * k[t, :, None]
        y[t] = np.einsum("hvk,hk->hv", s, q[t])
    state[...] = s
    return [y]
