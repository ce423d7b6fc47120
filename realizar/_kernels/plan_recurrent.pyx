"""Recurrent ops, appended to a Program; the scan and the delta rules also alone, for tests."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc

import numpy as np

from realizar._kernels.exec cimport (
    RZ_OP_CAUSAL_CONV1D, RZ_OP_DELTA_RULE, RZ_OP_SCAN, RZ_OP_TOKEN_SHIFT, rz_delta, rz_op, rz_scan,
)
from realizar._kernels.plan cimport Program
from realizar._kernels.table cimport (
    RZ_SCAN_TILE, kernels, rz_delta_args, rz_delta_units, rz_kernels, rz_scan_args,
)


cdef set_state(Program program, rz_op *op, state, tuple shape):
    """Sets the state of an op: float32 [n_slots, *shape]."""
    if state.shape[1:] != shape or state.dtype != np.float32 or not state.flags.c_contiguous:
        raise ValueError(f"state of shape {state.shape} {state.dtype}: {shape} float32 a slot expected")
    op.state, op.state_stride = <char *> <uintptr_t> state.ctypes.data, state.strides[0]
    program.keep.append(state)


def in_tiles(a):
    """Return float32 [n_channel, n_state] in the scan's layout: [n_state][channels of the tile], tile after tile."""
    return np.concatenate([a[c : c + RZ_SCAN_TILE].T.reshape(-1) for c in range(0, len(a), RZ_SCAN_TILE)])


def add_causal_conv1d(Program program not None, w, bias, state, x, y, bint silu=False):
    """Depthwise causal convolution, or silu of it; w: float32 [n_tap, n_channel], bias: float32 [n_channel] or None."""
    cdef size_t n_tap = w.shape[0], n_channel = w.shape[1]
    cdef rz_op *op = program.new_op(RZ_OP_CAUSAL_CONV1D, n_channel)
    set_state(program, op, state, (n_tap - 1, n_channel))
    op.x, op.y = program.rows(x, n_channel), program.rows(y, n_channel)
    op.silu = silu
    op.w, op.b, op.n_tap = program.floats(w.reshape(-1), n_channel * n_tap), program.floats(bias, n_channel), n_tap
    program.max_row = max(program.max_row, 2 * n_tap)


def add_token_shift(Program program not None, w, state, x, y):
    """Mixes of each row with the previous one; w: float32 [n_mix, n_channel], y: rows of n_mix * n_channel."""
    cdef size_t n_mix = w.shape[0], n_channel = w.shape[1]
    cdef rz_op *op = program.new_op(RZ_OP_TOKEN_SHIFT, n_channel)
    set_state(program, op, state, (n_channel,))
    op.x, op.y, op.n_repeat = program.rows(x, n_channel), program.rows(y, n_mix * n_channel), n_mix
    op.w = program.floats(w.reshape(-1), n_mix * n_channel)


def add_selective_scan(Program program not None, size_t n_head, size_t n_group, a, d, dt_bias, state, x, dt, b, c, y):
    """Selective scan; state: float32 [n_slots, n_channel, n_state].

    a: float32 [n_head, n_state] with heads of one channel, or [n_head, 1]; d, dt_bias (or None): float32 [n_head].
    """
    cdef size_t n_channel = state.shape[1], n_state = state.shape[2]
    cdef rz_op *op = program.new_op(RZ_OP_SCAN, n_channel)
    cdef rz_scan *scan = <rz_scan *> calloc(1, sizeof(rz_scan))
    if scan == NULL:
        raise MemoryError("no memory for an op")
    op.scan = scan
    set_state(program, op, state, (n_channel, n_state))
    op.x, op.y = program.rows(x, n_channel), program.rows(y, n_channel)
    scan.dt = program.rows(dt, n_head)
    scan.b, scan.c = program.rows(b, n_group * n_state), program.rows(c, n_group * n_state)
    scan.n_head, scan.head_dim, scan.n_state, scan.n_group = n_head, n_channel // n_head, n_state, n_group
    if a.shape[1] == 1:
        scan.run, scan.unit = program.program.kernels.scan_heads, 1
        scan.a = program.floats(a.reshape(-1), n_head)
    elif n_head == n_channel and n_group == 1:
        scan.run, scan.unit = program.program.kernels.scan_channels, RZ_SCAN_TILE
        scan.a = program.floats(in_tiles(a), n_channel * n_state)
    else:
        raise ValueError(f"states that decay each by itself need heads of one channel and one group, not {n_head} "
                         f"heads for {n_channel} channels in {n_group} groups")
    scan.d, scan.dt_bias = program.floats(d, n_head), program.floats(dt_bias, n_head)


def add_delta_rule(Program program not None, size_t n_head_k, bint by_channel, bint tiled, state, q, k, v, decay, beta,
                   y):
    """Gated delta rule; state: float32 [n_slots, n_head, head_dim_v, head_dim_k].

    decay has a number for each head, or, by_channel, head_dim_k of them; head h has the key of head h // (n_head /
    n_head_k), or, tiled, of head h % n_head_k.
    """
    cdef size_t n_head = state.shape[1]
    cdef rz_delta *delta = new_delta_rule(program, n_head_k, by_channel, state, q, k, v, decay, y)
    delta.tiled, delta.beta = tiled, program.rows(beta, n_head)


def add_generalized_delta_rule(Program program not None, state, q, k, v, decay, a, b, y):
    """Generalized delta rule; state: float32 [n_slots, n_head, head_dim_v, head_dim_k]; each head has its own key."""
    cdef size_t n_head = state.shape[1], dim_k = state.shape[3]
    cdef rz_delta *delta = new_delta_rule(program, n_head, True, state, q, k, v, decay, y)
    delta.a, delta.b = program.rows(a, n_head * dim_k), program.rows(b, n_head * dim_k)


cdef rz_delta *new_delta_rule(Program program, size_t n_head_k, bint by_channel, state, q, k, v, decay, y) except NULL:
    """Appends a delta rule with what both kinds have."""
    cdef size_t n_head = state.shape[1], dim_v = state.shape[2], dim_k = state.shape[3]
    if n_head_k < 1 or n_head % n_head_k:
        raise ValueError(f"{n_head_k} heads of keys for {n_head} heads of values")
    cdef rz_op *op = program.new_op(RZ_OP_DELTA_RULE, n_head * dim_v)
    cdef rz_delta *delta = <rz_delta *> calloc(1, sizeof(rz_delta))
    if delta == NULL:
        raise MemoryError("no memory for an op")
    op.delta = delta
    set_state(program, op, state, (n_head, dim_v, dim_k))
    delta.n_head, delta.n_head_k, delta.head_dim_k, delta.head_dim_v = n_head, n_head_k, dim_k, dim_v
    delta.by_channel = by_channel
    op.x, delta.k = program.rows(q, n_head_k * dim_k), program.rows(k, n_head_k * dim_k)
    delta.v, op.y = program.rows(v, n_head * dim_v), program.rows(y, n_head * dim_v)
    delta.decay = program.rows(decay, n_head * (dim_k if by_channel else 1))
    return delta


def selective_scan(x, dt, b, c, a, d, state, dt_bias=None, str isa=None):
    """A selective scan alone, over the tokens of one sequence; `add_selective_scan` describes the arrays.

    Parameters
    ----------
    x : float32 [n, n_channel]
    dt : float32 [n, n_head]
    b, c : float32 [n, n_group, n_state]
    a : float32 [n_head, n_state or 1]
    d : float32 [n_head]
    state : float32 [n_channel * n_state]
        In the layout of `in_tiles`; changed in place.
    dt_bias : float32 [n_head], optional
    isa : str, optional
        ISA level of the kernel; the current one by default.

    Returns
    -------
    float32 [n, n_channel]
    """
    cdef const rz_kernels *table = kernels(isa)
    cdef rz_scan_args args
    together = a.shape[1] == 1
    flat = np.ascontiguousarray(a.reshape(-1)) if together else in_tiles(a)
    out = np.empty_like(x)
    cdef const float[:, ::1] x_view = x, dt_view = dt
    cdef const float[:, :, ::1] b_view = b, c_view = c
    cdef const float[::1] a_view = flat, d_view = d, bias_view = d if dt_bias is None else dt_bias
    cdef float[::1] h = state
    cdef float[:, ::1] y = out
    args.x, args.dt, args.b, args.c = &x_view[0, 0], &dt_view[0, 0], &b_view[0, 0, 0], &c_view[0, 0, 0]
    args.a, args.d, args.dt_bias = &a_view[0], &d_view[0], NULL
    if dt_bias is not None:
        args.dt_bias = &bias_view[0]
    args.n_tokens, args.n_head, args.head_dim = x.shape[0], dt.shape[1], x.shape[1] // dt.shape[1]
    args.n_group, args.n_state = b.shape[1], b.shape[2]
    args.ldx = args.ldy = x.shape[1]
    args.lddt, args.ldb, args.ldc = dt.shape[1], b.shape[1] * b.shape[2], b.shape[1] * b.shape[2]
    args.state, args.y, args.first, args.end = &h[0], &y[0, 0], 0, args.n_head
    (table.scan_heads if together else table.scan_channels)(&args)
    return out


def delta_rule(q, k, v, decay, beta, state, bint tiled=False, str isa=None):
    """A gated delta rule alone, over the tokens of one sequence.

    Parameters
    ----------
    q, k : float32 [n, n_head_k, head_dim_k]
    v : float32 [n, n_head, head_dim_v]
    decay : float32 [n, n_head, 1 or head_dim_k]
    beta : float32 [n, n_head]
    state : float32 [n_head * head_dim_v * head_dim_k]
        In tiles; changed in place.
    tiled : bool
        Whether head h has the key of head h % n_head_k.
    isa : str, optional
        ISA level of the kernel; the current one by default.

    Returns
    -------
    float32 [n, n_head, head_dim_v]
    """
    cdef rz_delta_args args
    cdef const float[:, ::1] beta_view = beta
    args.beta, args.ldbeta, args.tiled, args.a = &beta_view[0, 0], v.shape[1], tiled, NULL
    return run_delta(&args, q, k, v, decay, state, isa)


def generalized_delta_rule(q, k, v, decay, a, b, state, str isa=None):
    """A generalized delta rule alone, over the tokens of one sequence.

    Parameters
    ----------
    q, k, decay, a, b : float32 [n, n_head, head_dim_k]
    v : float32 [n, n_head, head_dim_v]
    state : float32 [n_head * head_dim_v * head_dim_k]
        In tiles; changed in place.
    isa : str, optional
        ISA level of the kernel; the current one by default.

    Returns
    -------
    float32 [n, n_head, head_dim_v]
    """
    cdef rz_delta_args args
    cdef const float[:, :, ::1] a_view = a, b_view = b
    args.a, args.b, args.tiled = &a_view[0, 0, 0], &b_view[0, 0, 0], False
    args.lda = args.ldb = a.shape[1] * a.shape[2]
    return run_delta(&args, q, k, v, decay, state, isa)


cdef run_delta(rz_delta_args *args, q, k, v, decay, state, str isa):
    """Runs a delta rule over one sequence; beta, or a and b, are set."""
    cdef const float[:, :, ::1] q_view = q, k_view = k, v_view = v, decay_view = decay
    cdef float[::1] s = state
    out = np.empty_like(v)
    cdef float[:, :, ::1] y = out
    args.q, args.k, args.v = &q_view[0, 0, 0], &k_view[0, 0, 0], &v_view[0, 0, 0]
    args.decay, args.state, args.y = &decay_view[0, 0, 0], &s[0], &y[0, 0, 0]
    args.n_tokens, args.n_head_k, args.head_dim_k = q.shape[0], q.shape[1], q.shape[2]
    args.n_head, args.head_dim_v, args.by_channel = v.shape[1], v.shape[2], args.a != NULL or decay.shape[2] > 1
    args.ldq = args.ldk = q.shape[1] * q.shape[2]
    args.ldv = args.ldy = v.shape[1] * v.shape[2]
    args.lddecay = decay.shape[1] * decay.shape[2]
    args.first, args.end = 0, args.n_head * rz_delta_units(args.head_dim_v)
    kernels(isa).delta_rule(args)
    return out
