"""Pool and Program: the worker threads, and a bound plan as the flat op array that they execute."""

import threading

from libc.stdint cimport int32_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset, strerror

import numpy as np

from realizar._kernels.rows import ACT_BLOCK, row_bytes

from realizar._kernels.exec cimport (
    RZ_OP_ADD, RZ_OP_CLAMP, RZ_OP_DECAY, RZ_OP_ELU, RZ_OP_EMBED, RZ_OP_EMBED_IDS, RZ_OP_EMBED_POSITIONS,
    RZ_OP_EMBED_TYPES, RZ_OP_GEGLU, RZ_OP_GEGLU_ERF, RZ_OP_GELU, RZ_OP_GELU_ERF, RZ_OP_HADAMARD, RZ_OP_LAYER_NORM,
    RZ_OP_LINEAR, RZ_OP_MUL, RZ_OP_QUANTIZE, RZ_OP_RMS_NORM, RZ_OP_RELU, RZ_OP_ROPE, RZ_OP_ROPE_TABLE, RZ_OP_SCALE,
    RZ_OP_SCALE_ROWS, RZ_OP_SIGMOID, RZ_OP_SILU, RZ_OP_SOFTCAP, RZ_OP_SOFTPLUS, RZ_OP_SWIGLU,
    RZ_OP_GATHER_ROWS, RZ_OP_POOL_FIRST, RZ_OP_POOL_MEAN, RZ_OP_SOFTMAX, exec_kernels, rz_act_bytes, rz_adapter_set,
    rz_batch,
    rz_counter, rz_format_kernels, rz_is_rowwise, rz_op,
    rz_pool_fn, rz_pool_free, rz_pool_new, rz_pool_run, rz_pool_size, rz_pool_stop, rz_program_run, rz_reach, rz_rope,
    rz_rows, rz_scratch_bytes, rz_weight,
)
from realizar._kernels.adapters cimport adapter_set_array
from realizar._kernels.table cimport kernels

_CODES = {
    "take_rows": RZ_OP_GATHER_ROWS, "rms_norm": RZ_OP_RMS_NORM, "layer_norm": RZ_OP_LAYER_NORM, "add": RZ_OP_ADD,
    "mul": RZ_OP_MUL, "scale": RZ_OP_SCALE, "scale_rows": RZ_OP_SCALE_ROWS, "scale_heads": RZ_OP_SCALE_ROWS,
    "clamp": RZ_OP_CLAMP, "softcap": RZ_OP_SOFTCAP, "softplus": RZ_OP_SOFTPLUS, "elu": RZ_OP_ELU,
    "hadamard": RZ_OP_HADAMARD,
    "silu": RZ_OP_SILU, "gelu": RZ_OP_GELU, "gelu_erf": RZ_OP_GELU_ERF, "sigmoid": RZ_OP_SIGMOID, "relu": RZ_OP_RELU,
    "swiglu": RZ_OP_SWIGLU, "geglu": RZ_OP_GEGLU, "geglu_erf": RZ_OP_GEGLU_ERF, "quantize": RZ_OP_QUANTIZE,
    "softmax": RZ_OP_SOFTMAX, "pool_first": RZ_OP_POOL_FIRST, "pool_mean": RZ_OP_POOL_MEAN,
    "decay": RZ_OP_DECAY,
}
_FORMAT = {name: index for index, name in enumerate(ACT_BLOCK)}
_EMBED = {
    "token": RZ_OP_EMBED, "id": RZ_OP_EMBED_IDS, "position": RZ_OP_EMBED_POSITIONS, "type": RZ_OP_EMBED_TYPES,
}

N_PLANES = {"int8": 1, "int16": 2, "f32": 1}
"""Number of quantized int8 rows per activation row, by type of activations."""


def act_bytes(size_t k, int block, str activations not None):
    """Return the bytes of a quantized activation row of k elements in blocks of 32 or 256; for int16, of both rows."""
    return N_PLANES[activations] * rz_act_bytes(k, block)


cdef class Pool:
    """Worker threads that sleep between steps; the calling thread is one of them.

    Parameters
    ----------
    n_threads : int
    """

    def __cinit__(self, int n_threads):
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads}: must be at least 1")
        self.pool = rz_pool_new(n_threads)
        if self.pool == NULL:
            raise MemoryError("no memory for the thread pool")

    def __dealloc__(self):
        if self.pool != NULL:
            rz_pool_free(self.pool)

    @property
    def n_threads(self):
        """Number of workers, including the calling thread."""
        return rz_pool_size(self.pool)

    def stop(self):
        """End the threads once no step is under way; the next step starts them again."""
        with nogil:
            rz_pool_stop(self.pool)

    cdef int run(self, rz_pool_fn *work, void *arg) noexcept nogil:
        """Run a function on every worker; returns 0, or an errno if the threads cannot start."""
        return rz_pool_run(self.pool, work, arg)


cdef class Program:
    """The op array of a bound plan over one arena. Methods append ops, which run in this order.

    Rows are given as (offset in bytes into the arena, floats from row to row); quantized rows as (offset, bytes from
    row to row). All addresses are checked against the arena for `n_batch` rows, so that a run cannot leave it.

    Parameters
    ----------
    pool : Pool
    arena : uint8 [n_bytes]
        The memory of all values of a step; aligned to 64 bytes.
    n_batch : int
        Greatest number of rows of a step.
    isa : str | None
        ISA level of the kernels; by default the current one at this time.
    activations : {"int8", "int16", "f32"}
        The type to which inputs of products with quantized weights are rounded.
    """

    def __cinit__(self, Pool pool not None, unsigned char[::1] arena not None, size_t n_batch, str isa=None,
                  str activations not None="int8"):
        self.pool, self.arena, self.n_batch = pool, arena, n_batch
        self.keep, self.lock, self.scratch = [], threading.Lock(), None
        self.program.kernels = <const exec_kernels *> kernels(isa)
        self.program.pool = pool.pool
        self.program.n_planes, self.f32 = N_PLANES[activations], activations == "f32"
        self.max_k = self.max_row = self.max_head = self.max_scratch = 0

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.program.n_op):
            free(self.program.op[i].weight)
            free(<void *> self.program.op[i].rope)
            free(<void *> self.program.op[i].attention)
            free(<void *> self.program.op[i].index)
            free(<void *> self.program.op[i].scan)
            free(<void *> self.program.op[i].delta)
            free(<void *> self.program.op[i].updates)
        free(self.program.op)

    # ---- checked addresses

    cdef void *at(self, size_t offset, size_t n_bytes) except NULL:
        if offset + n_bytes > <size_t> self.arena.shape[0]:
            raise ValueError(f"{n_bytes} bytes at {offset} do not lie in an arena of {self.arena.shape[0]}")
        return <void *> (<uintptr_t> &self.arena[0] + offset)

    cdef rz_rows rows(self, view, size_t n) except *:
        cdef rz_rows out
        out.data, out.ld = NULL, 0
        if view is not None:
            out.ld = view[1]
            out.data = <float *> self.at(view[0], ((self.n_batch - 1) * out.ld + n) * sizeof(float))
        return out

    cdef char *q_rows(self, view, size_t n, int block) except? NULL:
        if view is None:
            return NULL
        cdef size_t n_bytes = self.program.n_planes * rz_act_bytes(n, block)
        if <size_t> view[1] < n_bytes:
            raise ValueError(f"quantized rows of {n} elements take {n_bytes} bytes, not {view[1]}")
        return <char *> self.at(view[0], self.n_batch * <size_t> view[1])

    cdef const float *floats(self, array, size_t n) except? NULL:
        if array is None:
            return NULL
        cdef const float[::1] view = array
        if <size_t> view.shape[0] != n:
            raise ValueError(f"{n} floats expected, {view.shape[0]} given")
        self.keep.append(array)
        return &view[0]

    cdef const int32_t *ints(self, array, size_t n) except NULL:
        cdef const int32_t[::1] view = array
        if <size_t> view.shape[0] != n:
            raise ValueError(f"{n} integers expected, {view.shape[0]} given")
        self.keep.append(array)
        return &view[0]

    cdef const char *weight(self, array, size_t n_bytes, size_t *n_row, size_t *stride) except NULL:
        cdef const unsigned char[:, :] view = array
        if view.shape[0] < 1 or <size_t> view.shape[1] != n_bytes or view.strides[1] != 1:
            raise ValueError(f"a weight of rows of {n_bytes} bytes expected, found shape {array.shape}")
        self.keep.append(array)
        n_row[0], stride[0] = view.shape[0], view.strides[0]
        return <const char *> &view[0, 0]

    cdef int product_block(self, str format) except -1:
        return 0 if self.f32 else ACT_BLOCK[format]

    cdef void product(self, rz_weight *m, str format, data, size_t k) except *:
        """A weight of k columns, and the kernels that multiply it."""
        cdef const rz_format_kernels *kernel = &self.program.kernels.format[_FORMAT[format]]
        m.data = self.weight(data, row_bytes(format, k), &m.n_row, &m.stride)
        m.gemv = kernel.matmul_f32 if self.f32 else kernel.gemv
        m.gemm = kernel.matmul_f32 if self.f32 else kernel.gemm
        m.gemm_tokens = NULL if self.f32 else kernel.gemm_tokens
        m.n_planes = self.program.n_planes if self.product_block(format) else 1
        self.max_k = max(self.max_k, k)

    cdef void product_input(self, rz_weight *m, size_t k, int block, x, act32, act256) except *:
        """Its input: quantized rows of this block, or floats (0)."""
        cdef rz_rows rows
        found = (act32 if block == 32 else act256) if block else x
        if found is None:
            form = f"rows quantized in blocks of {block}" if block else "floats"
            raise ValueError(f"the input of a product is missing: its {form}")
        if block:
            m.x, m.x_stride = self.q_rows(found, k, block), found[1]
        else:
            rows = self.rows(found, k)
            m.x, m.x_stride = <const char *> rows.data, rows.ld * sizeof(float)

    cdef rz_op *new_op(self, int code, size_t n) except NULL:
        """Appends a zeroed op; the pointer is valid until the next call."""
        cdef void *grown
        if self.program.n_op == self.capacity:
            grown = realloc(self.program.op, (2 * self.capacity + 64) * sizeof(rz_op))
            if grown == NULL:
                raise MemoryError("no memory for the op array")
            self.program.op, self.capacity = <rz_op *> grown, 2 * self.capacity + 64
        cdef rz_op *op = &self.program.op[self.program.n_op]
        memset(op, 0, sizeof(rz_op))
        op.code, op.n, op.n_repeat = code, n, 1
        self.program.n_op += 1
        self.max_row = max(self.max_row, n)
        return op

    # ---- ops

    def add_rowwise(self, str name not None, size_t n, *, int n_repeat=1, bint m_rows=False, x=None, x2=None, y=None,
                    float scalar=0.0, w=None, b=None, act32=None, act256=None):
        """An op on rows of n_repeat groups of n elements; scalar is eps, factor, cap, limit or bound; w and b are for
        one group or for all groups. With w, "mul" multiplies by w instead of by another row; "hadamard" multiplies its
        input by w and its result by b."""
        cdef size_t n_all = n * n_repeat
        cdef rz_op *op = self.new_op(_CODES[name], n)
        op.n_repeat, op.m_rows, op.scalar = n_repeat, m_rows, scalar
        op.x, op.y = self.rows(x, n_all), self.rows(y, n_all)
        op.x2 = self.rows(x2, n_repeat if op.code == RZ_OP_SCALE_ROWS else n_all)
        op.w_step = n if max(len(w) if w is not None else 0, len(b) if b is not None else 0) > <Py_ssize_t> n else 0
        op.w, op.b = self.floats(w, n_all if op.w_step else n), self.floats(b, n_all if op.w_step else n)
        op.act32, op.act256 = self.q_rows(act32, n_all, 32), self.q_rows(act256, n_all, 256)
        op.act32_stride = act32[1] if act32 is not None else 0
        op.act256_stride = act256[1] if act256 is not None else 0
        self.max_row = max(self.max_row, n_all)

    def add_embed(self, str format not None, table, size_t n, y, str by not None="token", float scale=1.0):
        """Rows of an embedding table: by "token", times scale, with the step's embeddings in place of their rows; by
        "id", the same without embeddings; by "position"; or by "type", always the first row."""
        cdef rz_op *op = self.new_op(_EMBED[by], n)
        op.y, op.embed_format, op.scalar = self.rows(y, n), _FORMAT[format], scale
        op.weight = <rz_weight *> calloc(1, sizeof(rz_weight))
        if op.weight == NULL:
            raise MemoryError("no memory for an op")
        op.n_weight = 1
        op.weight.data = self.weight(table, row_bytes(format, n), &op.weight.n_row, &op.weight.stride)

    def add_linear(self, size_t k, weights, *, bint m_rows=False, x=None, act32=None, act256=None, residual=None):
        """Products of one input with several weights: (format, data, bias, y rows) each."""
        cdef rz_op *op = self.new_op(RZ_OP_LINEAR, k)
        cdef size_t j
        op.m_rows = m_rows
        op.weight = <rz_weight *> calloc(len(weights), sizeof(rz_weight))
        if op.weight == NULL:
            raise MemoryError("no memory for an op")
        for j, (format, data, bias, y) in enumerate(weights):
            m = &op.weight[j]
            self.product(m, format, data, k)
            self.product_input(m, k, self.product_block(format), x, act32, act256)
            m.bias, m.y = self.floats(bias, m.n_row), self.rows(y, m.n_row)
        op.n_weight = len(weights)
        if residual is not None:
            op.x2 = self.rows(residual, op.weight.n_row)

    cdef rz_rope *new_rope(self, rope) except NULL:
        """rope: (inv_freq, mscale, neox, axes of the frequencies or None, rows of the table)."""
        inv_freq, mscale, neox, axes, table = rope
        cdef rz_rope *out = <rz_rope *> calloc(1, sizeof(rz_rope))
        if out == NULL:
            raise MemoryError("no memory for an op")
        try:
            out.inv_freq, out.mscale, out.half = self.floats(inv_freq, len(inv_freq)), mscale, len(inv_freq)
            out.neox, out.table = neox, self.rows(table, 2 * len(inv_freq))
            if axes is not None:
                out.axes = self.ints(axes, len(inv_freq))
        except BaseException:
            free(out)
            raise
        return out

    def add_rope_table(self, rope):
        """Cosines and sines for the positions of the step; rope: see `new_rope`."""
        cdef rz_op *op = self.new_op(RZ_OP_ROPE_TABLE, 2 * len(rope[0]))
        op.rope = self.new_rope(rope)

    def add_rope(self, size_t head_dim, int n_head, x, y, rope, *, bint m_rows=False):
        """Rotates the heads of every row, or of every requested output (m_rows)."""
        if <size_t> (2 * len(rope[0])) > head_dim:
            raise ValueError(f"{2 * len(rope[0])} rotated elements in heads of {head_dim}")
        cdef rz_op *op = self.new_op(RZ_OP_ROPE, head_dim)
        op.n_repeat, op.m_rows = n_head, m_rows
        op.x, op.y = self.rows(x, head_dim * n_head), self.rows(y, head_dim * n_head)
        op.rope = self.new_rope(rope)

    @property
    def n_ops(self):
        """Number of ops."""
        return self.program.n_op

    def join(self, size_t first):
        """Let a worker run each op from index `first` on directly after the op before it, row by row.

        No worker may write, in these ops or the one before them, what another one reads there in another row.
        """
        cdef size_t i
        for i in range(max(first, 1), self.program.n_op):
            before, op = &self.program.op[i - 1], &self.program.op[i]
            if not rz_is_rowwise(before) or not rz_is_rowwise(op) or before.m_rows != op.m_rows:
                raise ValueError(f"op {i} does not compute the same rows as the op before it, row by row")
            op.joined = True

    # ---- running

    def _prepare(self):
        """Allocate the scratch memory of each worker and the item counters, after all ops were added."""
        n_threads = rz_pool_size(self.pool.pool)
        stride = rz_scratch_bytes(self.max_k, self.max_row, self.max_head, self.max_scratch)
        counters = self.program.n_op * sizeof(rz_counter)
        self.scratch = np.empty(n_threads * stride + counters + 128, np.uint8)
        base = (self.scratch.ctypes.data + 63) // 64 * 64
        self.program.scratch, self.program.scratch_stride = <char *> <uintptr_t> base, stride
        self.program.next = <rz_counter *> <uintptr_t> (base + n_threads * stride)

    def run(self, const int32_t[::1] tokens, const int32_t[:, ::1] positions, const int32_t[::1] seq_start,
            const int32_t[::1] seq_past, const int32_t[::1] state_slots, const int32_t[::1] outputs, block_tables,
            const int32_t[::1] encoder_lengths=None, const float[:, ::1] embeddings=None,
            const int32_t[::1] embedding_of=None, const int32_t[:, ::1] reach=None,
            const int32_t[::1] n_drafts=None, const int32_t[::1] draft_slots=None, adapter_sets=(),
            const int32_t[::1] set_of=None):
        """Run one step on the arrays of a checked Batch; releases the GIL. set_of: the index of each sequence's set of
        adapters, -1 for none."""
        cdef rz_batch batch
        cdef const int32_t *tables[16]
        cdef int32_t widths[16]
        cdef rz_adapter_set **sets = NULL
        cdef const int32_t[:, ::1] table
        cdef int error = 0
        if <size_t> tokens.shape[0] > self.n_batch or tokens.shape[0] < 1:
            raise ValueError(f"{tokens.shape[0]} tokens in a step; this program takes 1 to {self.n_batch}")
        if len(block_tables) > 16:
            raise ValueError(f"{len(block_tables)} cache groups; at most 16 are supported")
        batch.n_tokens, batch.n_seqs = <int> tokens.shape[0], <int> seq_past.shape[0]
        batch.n_outputs, batch.n_groups = <int> outputs.shape[0], len(block_tables)
        batch.n_axes = <int> positions.shape[0]
        batch.tokens, batch.positions = &tokens[0], &positions[0, 0]
        batch.seq_start, batch.seq_past, batch.state_slots = &seq_start[0], &seq_past[0], &state_slots[0]
        batch.encoder_lengths = &encoder_lengths[0] if encoder_lengths is not None else NULL
        batch.outputs = &outputs[0] if outputs.shape[0] else NULL
        batch.embeddings = &embeddings[0, 0] if embeddings is not None else NULL
        batch.embedding_of = &embedding_of[0] if embeddings is not None else NULL
        batch.reach = <const rz_reach *> &reach[0, 0] if reach is not None else NULL
        batch.n_drafts = &n_drafts[0] if n_drafts is not None else NULL
        batch.draft_slots = &draft_slots[0] if n_drafts is not None else NULL
        for group, array in enumerate(block_tables):
            table = array
            tables[group] = &table[0, 0] if table.shape[1] else NULL
            widths[group] = <int32_t> table.shape[1]
        batch.block_table, batch.table_width = tables, widths
        batch.n_set, batch.set, batch.set_of = 0, NULL, NULL
        if set_of is not None:
            sets = adapter_set_array(adapter_sets, set_of, batch.n_seqs)
            batch.n_set, batch.set, batch.set_of = len(adapter_sets), <const rz_adapter_set **> sets, &set_of[0]
        try:
            with self.lock:
                if self.scratch is None:
                    self._prepare()
                with nogil:
                    error = rz_program_run(&self.program, &batch)
        finally:
            free(sets)
        if error:
            raise OSError(error, f"the worker threads cannot be started: {strerror(error).decode()}")
