"""Ops on the heads of a row, appended to a Program: copies of parts of them, and products with a matrix for each."""

from libc.stdlib cimport calloc

from realizar._kernels.exec cimport (
    RZ_OP_COPY_HEADS, RZ_OP_PER_HEAD_LINEAR, RZ_OP_QUANTIZE_HEADS, rz_act_bytes, rz_op, rz_rows, rz_weight,
)
from realizar._kernels.plan cimport Program


def add_copy_heads(Program program not None, size_t n, int n_head, x, size_t x_step, y, size_t y_step, *,
                   bint m_rows=False):
    """Copy n floats of each head of x (heads x_step floats apart) to the heads of y (y_step floats apart)."""
    cdef rz_op *op = program.new_op(RZ_OP_COPY_HEADS, n)
    op.n_repeat, op.m_rows, op.x_step, op.y_step = n_head, m_rows, x_step, y_step
    op.x, op.y = program.rows(x, (n_head - 1) * x_step + n), program.rows(y, (n_head - 1) * y_step + n)


def add_per_head_linear(Program program not None, size_t k, str format not None, list data not None, x, y, room,
                        *, bint m_rows=False):
    """One product for each head: the k floats of its input with data[head], the rows of its matrix.

    room: offset of n_head quantized heads per row, if the format requires them.
    """
    cdef size_t n_head = len(data), n_bytes = 0, stride = 0, h
    cdef int block = program.product_block(format)
    cdef rz_rows inputs = program.rows(x, n_head * k), outputs
    cdef char *q_rows = NULL
    if block:
        n_bytes = rz_act_bytes(k, block)
        stride = program.program.n_planes * n_head * n_bytes
        q_rows = <char *> program.at(room, program.n_batch * stride)
        quantize_heads(program, k, n_head, inputs, q_rows, stride, block, m_rows)
    cdef rz_op *op = program.new_op(RZ_OP_PER_HEAD_LINEAR, k)
    op.m_rows = m_rows
    op.weight = <rz_weight *> calloc(n_head, sizeof(rz_weight))
    if op.weight == NULL:
        raise MemoryError("no memory for an op")
    for h in range(n_head):
        m = &op.weight[h]
        program.product(m, format, data[h], k)
        if block:
            m.x, m.x_stride = q_rows + h * n_bytes, stride
        else:
            m.x, m.x_stride = <const char *> (inputs.data + h * k), inputs.ld * sizeof(float)
        outputs = program.rows(y, n_head * m.n_row)
        m.y.data, m.y.ld = outputs.data + h * m.n_row, outputs.ld
    op.n_weight = <int> n_head
    program.max_k = max(program.max_k, k)


cdef quantize_heads(Program program, size_t k, size_t n_head, rz_rows inputs, char *q_rows, size_t stride, int block,
                    bint m_rows):
    """Quantize every head of every row."""
    cdef rz_op *op = program.new_op(RZ_OP_QUANTIZE_HEADS, k)
    op.n_repeat, op.m_rows, op.x = <int> n_head, m_rows, inputs
    if block == 32:
        op.act32, op.act32_stride = q_rows, stride
    else:
        op.act256, op.act256_stride = q_rows, stride
