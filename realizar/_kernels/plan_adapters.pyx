"""Updates by the adapters of each sequence, appended to a Program."""

from libc.stdlib cimport calloc

from realizar._kernels.exec cimport (
    RZ_OP_LOW_RANK_DOWN, RZ_OP_LOW_RANK_EMBED, RZ_OP_LOW_RANK_UP, rz_op, rz_rows, rz_update, rz_updates,
)
from realizar._kernels.plan cimport Program


cdef rz_updates *new_updates(rz_op *op, size_t n) except NULL:
    """Updates of n products in one piece of memory, which the op owns."""
    cdef rz_updates *out = <rz_updates *> calloc(1, sizeof(rz_updates) + n * sizeof(rz_update))
    if out == NULL:
        raise MemoryError("no memory for an op")
    out.n, out.update = n, <rz_update *> (out + 1)
    op.updates = out
    return out


cdef set_targets(Program program, rz_updates *updates, targets):
    cdef size_t j
    for j, (slot, n_row, y) in enumerate(targets):
        updates.update[j].slot, updates.update[j].n_row = slot, n_row
        updates.update[j].y = program.rows(y, n_row)


def add_low_rank(Program program not None, size_t k, targets, size_t max_rank, x, room, *, bint m_rows=False):
    """Add B (scale * A x) to products of x (k floats) in place, with the factors of each sequence.

    targets: (slot, n_row, y rows) of each product; room: offset of len(targets) * max_rank floats per row, max_rank the
    sum of the ranks of a sequence's adapters at most.
    """
    cdef size_t n = len(targets)
    cdef rz_rows ax = program.rows((room, n * max_rank), n * max_rank)
    cdef rz_op *op = program.new_op(RZ_OP_LOW_RANK_DOWN, k)
    cdef rz_updates *updates = new_updates(op, n)
    op.m_rows, op.x = m_rows, program.rows(x, k)
    updates.max_rank, updates.ax = max_rank, ax
    set_targets(program, updates, targets)
    program.max_k = max(program.max_k, k)
    op = program.new_op(RZ_OP_LOW_RANK_UP, k)
    updates = new_updates(op, n)
    op.m_rows, updates.max_rank, updates.ax = m_rows, max_rank, ax
    set_targets(program, updates, targets)


def add_low_rank_embed(Program program not None, size_t slot, size_t n_row, size_t max_rank, y, room, float scale,
                       bint by_token):
    """Add B (scale * A[token]) to rows of an embedding table, times its scale, in place; if `by_token`, embeddings
    that the step has in place of them stay."""
    cdef rz_rows ax = program.rows((room, max_rank), max_rank)
    cdef rz_op *op = program.new_op(RZ_OP_LOW_RANK_EMBED, n_row)
    cdef rz_updates *updates = new_updates(op, 1)
    op.scalar, op.by_token, updates.max_rank, updates.ax = scale, by_token, max_rank, ax
    set_targets(program, updates, [(slot, n_row, y)])


def add_control_vector(Program program not None, size_t slot, size_t n, y, *, bint m_rows=False):
    """Add the control vectors of each sequence to rows of n floats in place."""
    cdef rz_op *op = program.new_op(RZ_OP_LOW_RANK_UP, n)
    cdef rz_updates *updates = new_updates(op, 1)
    op.m_rows = m_rows
    set_targets(program, updates, [(slot, n, y)])
