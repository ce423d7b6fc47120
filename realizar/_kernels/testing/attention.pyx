"""The attention kernels on numpy arrays, with a temporary cache, for tests and tools."""

import numpy as np

from libc.stdint cimport int32_t

from realizar._kernels.kv import KV_TYPES, kv_bytes

from realizar._kernels.table cimport (
    RZ_ATTEND_MAX_HEAD_DIM, RZ_ATTEND_MAX_QUERIES, RZ_ATTEND_SCRATCH, RZ_ATTEND_SPLIT, RZ_BIAS_PAD, RZ_KV_BLOCK,
    RZ_INDEX_SCRATCH, RZ_LATENT_MAX_DIM, kernels, rz_attend_args, rz_index_args, rz_kernels, rz_kv_types,
    rz_reach,
)

cdef extern from "realizar/scalar/hadamard.h" nogil:
    size_t hadamard_width(size_t head_dim)
    void transform "hadamard"(float *x, size_t head_dim)

_FLOATS = {"f32": np.float32, "f16": np.float16}


def _heads(str name, x):
    """Return x as a contiguous, non-empty float32 array [n_tokens, n_head, head_dim]."""
    array = np.asarray(x)
    if array.dtype != np.float32 or array.ndim != 3 or array.size == 0:
        raise ValueError(
            f"{name}: needs float32 [n_tokens, n_head, head_dim], not empty; got {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array)


def _type_index(str name, str value):
    """Index of a cache type in the kernel table."""
    if value not in KV_TYPES:
        raise ValueError(f"{name}: {value!r} is no cache type; there are {', '.join(KV_TYPES)}")
    return KV_TYPES[value]


def hadamard(x, float factor, str isa=None):
    """factor * H x of every head, H of +1 and -1; float32 [n_tokens, n_head, n] to the same, n a power of two."""
    cdef const rz_kernels *table = kernels(isa)
    source = _heads("x", x)
    out = np.empty_like(source)
    cdef const float[:, ::1] rows = source.reshape(-1, source.shape[2])
    cdef float[:, ::1] y = out.reshape(-1, source.shape[2])
    cdef size_t i
    for i in range(<size_t> rows.shape[0]):
        table.hadamard(&rows[i, 0], factor, rows.shape[1], &y[i, 0])
    return out


def store(x, str kind, str kv_type="f16", str isa=None):
    """Store the keys or values of one sequence in cache blocks; unused slots are NaN.

    Parameters
    ----------
    x : float32 [n_tokens, n_head_kv, head_dim]
    kind : {"k", "v"}
    kv_type : {"f32", "f16", "int8", "q4"}
    isa : str, optional
        An ISA level of `table.available()`; by default the one in use.

    Returns
    -------
    float32 or float16 [n_blocks, n_head_kv, head_dim, 16] for k, [n_blocks, n_head_kv, 16, head_dim] for v
        uint8 [n_blocks, n_head_kv, kv_bytes(kv_type, head_dim)] of int8 and q4: the elements (scalar/kv.h), then
        float32 [16] scales.
    """
    cdef const rz_kernels *table = kernels(isa)
    cdef int type = _type_index("kv_type", kv_type)
    if kind not in ("k", "v"):
        raise ValueError(f"kind: {kind!r} is neither 'k' nor 'v'")
    source = _heads("x", x)
    cdef const float[:, :, ::1] tokens = source
    n_tokens, n_head_kv, head_dim = source.shape
    # every byte 255: NaN in each type
    blocks = np.full((-(-n_tokens // RZ_KV_BLOCK), n_head_kv, kv_bytes(kv_type, head_dim)), 255, np.uint8)
    cdef unsigned char[:, :, ::1] raw = blocks
    cdef size_t t, h, n = head_dim
    cdef bint is_k = kind == "k"
    cdef int slot
    with nogil:
        for t in range(<size_t> tokens.shape[0]):
            slot = <int> (t % RZ_KV_BLOCK)
            for h in range(<size_t> tokens.shape[1]):
                if is_k:
                    table.store_k[type](&tokens[t, h, 0], n, slot, &raw[t // RZ_KV_BLOCK, h, 0])
                else:
                    table.store_v[type](&tokens[t, h, 0], n, slot, &raw[t // RZ_KV_BLOCK, h, 0])
    if kv_type not in _FLOATS:
        return blocks
    shape = (head_dim, RZ_KV_BLOCK) if kind == "k" else (RZ_KV_BLOCK, head_dim)
    return blocks.view(_FLOATS[kv_type]).reshape(*blocks.shape[:2], *shape)


def _paged(x, str kind, str kv_type, str isa):
    """Return the cache as bytes [n_blocks, n_head_kv, n], with the blocks in reverse order, so that kernels have to use
    the block table."""
    blocks = store(x, kind, kv_type, isa)[::-1]
    return np.ascontiguousarray(blocks).reshape(*blocks.shape[:2], -1).view(np.int8)


def _check(q, k, v, int max_queries, bint latent):
    """Check that the shapes match."""
    if k.shape[:2] != v.shape[:2] or q.shape[2] != k.shape[2] or q.shape[1] % k.shape[1]:
        raise ValueError(
            "q, k, v: need [n_tokens, n_head, head_dim_k], [n_keys, n_head_kv, head_dim_k] and [n_keys, n_head_kv, "
            f"head_dim_v] with n_head a multiple of n_head_kv; got {q.shape}, {k.shape} and {v.shape}")
    if q.shape[2] > RZ_ATTEND_MAX_HEAD_DIM:
        raise ValueError(f"q: heads of {q.shape[2]} elements; at most {RZ_ATTEND_MAX_HEAD_DIM} are supported")
    if not q.shape[1] // k.shape[1] <= max_queries <= RZ_ATTEND_MAX_QUERIES:
        raise ValueError(f"max_queries: must be between the {q.shape[1] // k.shape[1]} query heads of a KV head and "
                         f"{RZ_ATTEND_MAX_QUERIES}, got {max_queries}")
    if latent and v.shape[2] > min(k.shape[2], RZ_LATENT_MAX_DIM):
        raise ValueError(f"v: {v.shape[2]} elements in keys of {k.shape[2]}; at most {RZ_LATENT_MAX_DIM}")


def _padded_bias(bias, int n_head, int n):
    """Return the biases, padded with NaN as far as kernels may read; a column of zeros if bias is None."""
    if bias is None:
        return np.zeros((1, 1 + RZ_BIAS_PAD), np.float32)
    array = np.asarray(bias)
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[0] != n_head or array.shape[1] < 2 * n - 1:
        raise ValueError(f"bias: needs float32 [{n_head}, {2 * n - 1}] or wider; got {array.dtype} of {array.shape}")
    return np.pad(array, ((0, 0), (0, RZ_BIAS_PAD)), constant_values=np.nan)


cdef void _attend(const rz_kernels *table, rz_attend_args *args, float[:, ::1] stats,
                  float[:, :, ::1] acc) noexcept nogil:
    """Computes split after split, merges and divides. stats: m, l, partial m, partial l; acc: result and partial."""
    cdef int n = args.n_tokens * args.n_group, i
    cdef size_t head_dim = args.head_dim_v, d
    args.m, args.l, args.acc, args.key0 = &stats[0, 0], &stats[1, 0], &acc[0, 0, 0], 0
    table.attend(args)
    args.m, args.l, args.acc, args.key0 = &stats[2, 0], &stats[3, 0], &acc[1, 0, 0], RZ_ATTEND_SPLIT
    while args.key0 < args.n_keys:
        table.attend(args)
        for i in range(n):
            table.attend_merge(&stats[0, i], &stats[1, i], &acc[0, i, 0], stats[2, i], stats[3, i], &acc[1, i, 0],
                               head_dim)
        args.key0 += RZ_ATTEND_SPLIT
    for i in range(n):
        for d in range(head_dim):
            acc[0, i, d] /= stats[1, i]


cdef void _transform_back(float[:, :, ::1] y) noexcept nogil:
    """Undoes the Hadamard transform of cached values."""
    cdef Py_ssize_t t, h, d
    cdef size_t n = y.shape[2]
    for t in range(y.shape[0]):
        for h in range(y.shape[1]):
            transform(&y[t, h, 0], n)
            for d in range(y.shape[2]):
                y[t, h, d] *= 1 / <float> hadamard_width(n)


def attention(q, k, v, *, pos0=None, scale=None, bint causal=True, int window=0, float softcap=0.0, str k_type="f16",
              str v_type="f16", bias=None, reach=None, bint latent=False, int max_queries=RZ_ATTEND_MAX_QUERIES,
              bint chunked=False, int skip=0, str isa=None):
    """Attention of one sequence over a paged cache whose unused slots hold NaN.

    Parameters
    ----------
    q : float32 [n_tokens, n_head, head_dim_k]
    k : float32 [n_keys, n_head_kv, head_dim_k]
    v : float32 [n_keys, n_head_kv, head_dim_v]
        n_head must be a multiple of n_head_kv.
    pos0 : int, optional
        Position of the first query; by default n_keys - n_tokens.
    scale : float, optional
        By default head_dim_k ** -0.5.
    causal : bool
        A query sees no key after its own position.
    window : int
        A causal query sees the last `window` keys, another one those at most window // 2 away; 0: all of them.
    chunked : bool
        A causal query sees those from the last multiple of `window` on.
    skip : int
        The first keys, which only causal queries among them see, each its own.
    softcap : float
        Scores become softcap * tanh(score / softcap); 0: no softcap.
    k_type, v_type : {"f32", "f16", "int8", "q4"}
        Types of the cache.
    bias : float32 [n_head, 2 * n - 1], optional
        Added to the scores: column n - 1 + key - position, n at least as large as every position and n_keys.
    reach : int32 [n_tokens, 2], optional
        The numbers of query tokens before and after its own that a causal query always sees: those of its span.
    latent : bool
        v is the first elements of each cached key, and so is the result (transformed in int8 and q4 caches); only the
        shape of `v` is used.
    max_queries : int
        Greatest number of queries of one KV head in a call of the kernel.
    isa : str, optional
        See `store`.

    Returns
    -------
    float32 [n_tokens, n_head, head_dim_v]
        NaN for a query that sees no key.
    """
    cdef const rz_kernels *table = kernels(isa)
    cdef int k_index = _type_index("k_type", k_type), v_index = _type_index("v_type", v_type)
    cdef const float[:, :, ::1] queries = _heads("q", q)
    k, v = _heads("k", k), _heads("v", v)
    _check(np.asarray(queries), k, v, max_queries, latent)
    cdef int first = k.shape[0] - queries.shape[0] if pos0 is None else pos0
    if first < 0:
        raise ValueError(f"pos0: position {first} of the first query is negative")
    cdef const char[:, :, ::1] k_blocks = _paged(k, "k", k_type, isa)
    cdef const char[:, :, ::1] v_blocks = _paged(v, "v", v_type, isa)
    cdef const int32_t[::1] block_table = np.arange(k_blocks.shape[0], dtype=np.int32)[::-1].copy()
    out = np.empty((*np.shape(queries)[:2], v.shape[2]), np.float32)
    cdef float[:, :, ::1] y = out
    cdef float[:, ::1] stats = np.empty((4, max_queries), np.float32)
    cdef float[:, :, ::1] acc = np.empty((2, max_queries, v.shape[2]), np.float32)
    cdef char[::1] room = np.empty(RZ_ATTEND_SCRATCH + 63, np.int8)
    cdef rz_attend_args args
    args.n_group = queries.shape[1] // k.shape[1]
    args.head_dim_k, args.head_dim_v, args.n_keys = k.shape[2], v.shape[2], k.shape[0]
    args.q_stride = queries.shape[1] * queries.shape[2]
    args.window, args.causal, args.chunked, args.skip, args.softcap = window, causal, chunked, skip, softcap
    args.k_type, args.v_type, args.latent = k_index, v_index, latent
    args.scale = k.shape[2] ** -0.5 if scale is None else scale
    args.k_block_stride = k_blocks.strides[0]
    args.v_block_stride = k_blocks.strides[0] if latent else v_blocks.strides[0]
    args.block_table = &block_table[0]
    args.scratch = <void *> ((<size_t> &room[0] + 63) & ~<size_t> 63)
    cdef const float[:, ::1] biases = _padded_bias(bias, queries.shape[1], max(first + queries.shape[0], k.shape[0]))
    args.bias_stride = biases.shape[1]
    cdef size_t centre = (biases.shape[1] - RZ_BIAS_PAD) // 2
    cdef bint biased = bias is not None
    cdef const int32_t[:, ::1] reaches = np.zeros((1, 2), np.int32) if reach is None else reach
    cdef bint reaching = reach is not None
    if reaching and (reaches.shape[0] != queries.shape[0] or reaches.shape[1] != 2):
        raise ValueError(f"reach: needs int32 [{queries.shape[0]}, 2], got {np.shape(reach)}")
    cdef int chunk = max_queries // args.n_group, t, i, head, d
    with nogil:
        for head in range(<int> k_blocks.shape[1]):
            args.k, args.v = &k_blocks[0, head, 0], &k_blocks[0, head, 0] if latent else &v_blocks[0, head, 0]
            args.bias = &biases[head * args.n_group, centre] if biased else NULL
            t = 0
            while t < queries.shape[0]:
                args.q, args.pos0 = &queries[t, head * args.n_group, 0], first + t
                args.n_tokens = min(chunk, <int> queries.shape[0] - t)
                args.reach = <const rz_reach *> &reaches[t, 0] if reaching else NULL
                _attend(table, &args, stats, acc)
                for i in range(args.n_tokens * args.n_group):
                    for d in range(args.head_dim_v):
                        y[t + i // args.n_group, head * args.n_group + i % args.n_group, d] = acc[0, i, d]
                t += chunk
        if rz_kv_types[v_index].transforms_v and not latent:
            _transform_back(y)
    return out


def index_scores(q, k, weights, str k_type="f16", str isa=None):
    """Scores of an indexer for one query over a paged cache whose unused slots hold NaN.

    Parameters
    ----------
    q : float32 [n_head, head_dim]
        In the form of the cached keys: transformed for an int8 or q4 cache.
    k : float32 [n_keys, head_dim]
    weights : float32 [n_head]
    k_type : {"f32", "f16", "int8", "q4"}
    isa : str, optional
        See `store`.

    Returns
    -------
    float32 [n_keys]
    """
    cdef const rz_kernels *table = kernels(isa)
    cdef const float[:, ::1] queries = q
    cdef const float[::1] w = weights
    keys = _heads("k", np.asarray(k)[:, None])
    if queries.shape[0] != w.shape[0] or queries.shape[1] != keys.shape[2]:
        raise ValueError(f"q, k, weights: need [n_head, head_dim], [n_keys, head_dim] and [n_head]; got "
                         f"{np.shape(q)}, {np.shape(k)} and {np.shape(weights)}")
    cdef const char[:, :, ::1] blocks = _paged(keys, "k", k_type, isa)
    cdef const int32_t[::1] block_table = np.arange(blocks.shape[0], dtype=np.int32)[::-1].copy()
    cdef char[::1] room = np.empty(RZ_INDEX_SCRATCH + 63, np.int8)
    out = np.empty(blocks.shape[0] * RZ_KV_BLOCK, np.float32)
    cdef float[::1] y = out
    cdef rz_index_args args
    args.q, args.weights, args.n_head, args.head_dim = &queries[0, 0], &w[0], queries.shape[0], queries.shape[1]
    args.k_type, args.k, args.k_block_stride = _type_index("k_type", k_type), &blocks[0, 0, 0], blocks.strides[0]
    args.block_table, args.first, args.end, args.scores = &block_table[0], 0, blocks.shape[0], &y[0]
    args.scratch = <void *> ((<size_t> &room[0] + 63) & ~<size_t> 63)
    table.index_scores(&args)
    return out[: len(keys)]
