"""Attention over the KV cache, appended to a Program: store K and V, attend, merge."""

import numpy as np

from libc.stdint cimport int32_t, uintptr_t
from libc.stdlib cimport calloc

from realizar._kernels.kv import KV_TYPES, kv_bytes

from realizar._kernels.exec cimport (
    RZ_ATTEND_MAX_HEAD_DIM, RZ_KV_BLOCK, RZ_LATENT_MAX_DIM, RZ_OP_ATTEND, RZ_OP_CHOOSE_KEYS, RZ_OP_INDEX_SCORES,
    RZ_OP_KV_STORE, RZ_OP_MERGE, rz_attention, rz_chosen_bytes, rz_index, rz_index_bytes, rz_op,
)
from realizar._kernels.plan cimport Program
from realizar._kernels.table cimport rz_kv_types


cdef check_cache(str name, cache, tuple shape):
    """Checks that a cache array has blocks of this shape; the bytes of each head of a block must be contiguous."""
    if cache.shape[1:] != shape or cache.itemsize != 1 or cache.strides[2] != 1:
        raise ValueError(f"{name} cache of shape {cache.shape} {cache.dtype}: blocks of {shape} bytes expected")


cdef check_latent(str k_type, int head_dim_k, int head_dim_v):
    """Checks the shapes for values that are a prefix of their keys (MLA)."""
    if not 0 < head_dim_v <= min(head_dim_k, RZ_LATENT_MAX_DIM):
        raise ValueError(f"values of {head_dim_v} elements in keys of {head_dim_k}; at most {RZ_LATENT_MAX_DIM} fit")
    if rz_kv_types[<int> KV_TYPES[k_type]].transforms_k and head_dim_v % (head_dim_k & -head_dim_k):
        raise ValueError(f"a cache of type {k_type} transforms {head_dim_k & -head_dim_k} elements of a key together, "
                         f"and values of {head_dim_v} elements would cut through some; take kv_type f16")


cdef const int32_t *count_blocks(Program program, size_t n) except NULL:
    """Returns block numbers 0, 1, 2 ... for a step whose K and V are not cached."""
    if n < program.n_batch + program.n_batch // RZ_KV_BLOCK:
        raise ValueError(f"{n} blocks for the K and V of a step; {program.n_batch} rows may need more")
    return program.ints(np.arange(n, dtype=np.int32), n)


cdef rz_attention *new_attention(Program program, rz_op *op, cache, int n_head) except NULL:
    """Allocates the parameters that store, attend and merge share."""
    group, k_type, v_type, n_head_kv, head_dim_k, head_dim_v, k_cache, v_cache = cache
    check_cache("K", k_cache, (n_head_kv, kv_bytes(k_type, head_dim_k)))
    latent = v_cache.ctypes.data == k_cache.ctypes.data
    if latent:
        check_latent(k_type, head_dim_k, head_dim_v)
    else:
        check_cache("V", v_cache, (n_head_kv, kv_bytes(v_type, head_dim_v)))
    if head_dim_k > RZ_ATTEND_MAX_HEAD_DIM:
        raise ValueError(f"attention heads of {head_dim_k} elements; at most {RZ_ATTEND_MAX_HEAD_DIM} fit")
    cdef rz_attention *a = <rz_attention *> calloc(1, sizeof(rz_attention))
    if a == NULL:
        raise MemoryError("no memory for an op")
    op.attention, a.latent = a, latent
    a.group, a.k_type, a.v_type = -1 if group is None else group, KV_TYPES[k_type], KV_TYPES[v_type]
    a.n_head, a.n_head_kv, a.head_dim_k, a.head_dim_v = n_head, n_head_kv, head_dim_k, head_dim_v
    a.k, a.v = <char *> <uintptr_t> k_cache.ctypes.data, <char *> <uintptr_t> v_cache.ctypes.data
    a.k_block_stride, a.v_block_stride = k_cache.strides[0], v_cache.strides[0]
    a.k_head_stride, a.v_head_stride = k_cache.strides[1], v_cache.strides[1]
    if group is None:
        a.step_blocks = count_blocks(program, min(len(k_cache), len(v_cache)))
    program.keep += [k_cache, v_cache]
    program.max_head = max(program.max_head, <size_t> head_dim_v)
    return a


def add_kv_store(Program program not None, cache, k, v):
    """Store the K and V of the step's rows; cache: see `add_attention`."""
    cdef rz_op *op = program.new_op(RZ_OP_KV_STORE, cache[3] * cache[4])
    cdef rz_attention *a = new_attention(program, op, cache, cache[3])
    a.k_in, a.v_in = program.rows(k, cache[3] * cache[4]), program.rows(v, cache[3] * cache[5])


def add_attention(Program program not None, *, cache, int n_head, int window, bint causal, float scale, float softcap,
                  q, out, k=None, v=None, bint cross=False, q_rot=None, rope=None, partial=None, bias=None, sinks=None,
                  bint chunked=False, int skip=0, bint spans=True, bint m_rows=False, chosen=None):
    """Store K and V, attend, merge: three ops over the cache arrays of one layer.

    cache: (group, k_type, v_type, n_head_kv, head_dim_k, head_dim_v, K, V), the last two uint8 [n_blocks, n_head_kv,
    kv_bytes(type, head_dim)]; without a group they hold only the K and V of this step. Without k and v nothing is
    stored: it attends to what another op stored, with `cross` to the stored keys of the sequence's encoder input;
    with `m_rows` q and out have a row for each requested output.
    sinks: float32 [n_head] or None. bias: float32 [n_head, n] and the column of distance 0 between key and query.
    chosen: rows of the keys that a query sees, and their number; None: it sees all up to its own.
    """
    cdef rz_attention *a
    cdef rz_op *op
    cdef size_t n_head_kv = cache[3], head_dim_k = cache[4], head_dim_v = cache[5], n_q = n_head * head_dim_k
    if rope is not None and <size_t> (2 * len(rope[0])) > head_dim_k:
        raise ValueError(f"{2 * len(rope[0])} rotated elements in heads of {head_dim_k}")
    for code in (RZ_OP_KV_STORE, RZ_OP_ATTEND, RZ_OP_MERGE)[k is None:]:
        op = program.new_op(code, n_q)
        a = new_attention(program, op, cache, n_head)
        a.window, a.causal, a.chunked, a.skip, a.spans = window, causal, chunked, skip, spans
        a.cross, a.m_rows = cross, m_rows
        a.scale, a.softcap = scale, softcap
        a.q, a.q_rot, a.out = program.rows(q, n_q), program.rows(q_rot, n_q), program.rows(out, n_head * head_dim_v)
        a.k_in, a.v_in = program.rows(k, n_head_kv * head_dim_k), program.rows(v, n_head_kv * head_dim_v)
        a.sinks = program.floats(sinks, n_head)
        if chosen is not None:
            a.chosen, a.n_chosen = program.rows(chosen[0], chosen[1]), chosen[1]
            program.max_scratch = max(program.max_scratch, rz_chosen_bytes(a.k_type, head_dim_k, head_dim_v))
        if rope is not None:
            op.rope = a.rope = program.new_rope(rope)
        if partial is not None:
            a.n_partial = partial[1] // (n_head // n_head_kv * (head_dim_v + 2) * sizeof(float))
            a.partial = <float *> program.at(partial[0], partial[1])
        if bias is not None:
            a.bias = program.floats(bias[0].reshape(-1), n_head * bias[0].shape[1]) + <size_t> bias[1]
            a.bias_stride = bias[0].shape[1]


def add_choose_keys(Program program not None, *, cache, int n_head, size_t n_keys, size_t n_ctx, q, k, weights, scores,
                    out):
    """Store the keys of an indexer, compute the scores of all keys, and choose the greatest: three ops.

    cache: as for `add_attention`, with one head. scores: offset and bytes of float32 [n_row, n_ctx], n_ctx a multiple
    of 16, in which the scores of steps of at most n_row tokens are computed.
    """
    cdef size_t head_dim = cache[4], n_row = scores[1] // (n_ctx * sizeof(float))
    cdef rz_attention *a
    cdef rz_index *x
    cdef rz_op *op
    if cache[3] != 1 or n_ctx % RZ_KV_BLOCK:
        raise ValueError(f"an indexer with {cache[3]} heads of keys and scores of {n_ctx} keys; 1 head and a multiple "
                         f"of {RZ_KV_BLOCK} keys are needed")
    add_kv_store(program, cache, k, None)
    for code in (RZ_OP_INDEX_SCORES, RZ_OP_CHOOSE_KEYS):
        op = program.new_op(code, n_keys)
        a = new_attention(program, op, cache, n_head)
        a.q = program.rows(q, n_head * head_dim)
        op.y = program.rows(out, n_keys)
        x = <rz_index *> calloc(1, sizeof(rz_index))
        if x == NULL:
            raise MemoryError("no memory for an op")
        op.index = x
        x.n_keys, x.weights, x.n_row = n_keys, program.rows(weights, n_head), n_row
        x.scores.data, x.scores.ld = <float *> program.at(scores[0], scores[1]), n_ctx
    program.max_scratch = max(program.max_scratch, rz_index_bytes(n_head * head_dim, n_ctx))
