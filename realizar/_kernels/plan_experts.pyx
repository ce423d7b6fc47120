"""Ops of mixtures of experts, appended to a Program: routing, and the products of the chosen experts."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc

import numpy as np

from realizar._kernels.exec cimport (
    RZ_GATING_SIGMOID, RZ_GATING_SOFTMAX, RZ_GATING_SOFTMAX_CHOSEN, RZ_GEGLU, RZ_GELU_ERF, RZ_OP_CHOOSE_EXPERTS,
    RZ_OP_EXPERTS_DOWN, RZ_OP_EXPERTS_GATHER, RZ_OP_EXPERTS_GROUP, RZ_OP_EXPERTS_QUANTIZE, RZ_OP_EXPERTS_SUM,
    RZ_OP_EXPERTS_UP, RZ_OP_EXPERTS_UPDATE_DOWN, RZ_OP_EXPERTS_UPDATE_UP, RZ_OP_WEIGH_EXPERTS, RZ_REGLU, RZ_RELU2,
    RZ_SWIGLU, RZ_SWIGLU_OAI, rz_act_bytes, rz_expert_weight, rz_experts, rz_op, rz_route, rz_route_scratch, rz_update,
    rz_updates,
)
from realizar._kernels.plan cimport Program

_GATINGS = {
    "softmax": RZ_GATING_SOFTMAX, "sigmoid": RZ_GATING_SIGMOID, "softmax_chosen": RZ_GATING_SOFTMAX_CHOSEN,
}
_ACTIVATIONS = {
    "silu": RZ_SWIGLU, "gelu": RZ_GEGLU, "swiglu_oai": RZ_SWIGLU_OAI, "relu": RZ_REGLU, "relu2": RZ_RELU2,
    "gelu_erf": RZ_GELU_ERF,
}


cdef class _Route:
    """Allocate the parameters of a routing op."""

    cdef rz_route route


cdef class _Experts:
    """Allocate the parameters that the ops of a mixture of experts share."""

    cdef rz_experts experts


def add_route(Program program not None, size_t n_expert, size_t n_used, str gating not None, *, logits, y, ids=None,
              per_expert=None, int n_group=1, int n_group_used=1, int n_group_best=1, bint normalize=False,
              float scale=1.0, bint m_rows=False):
    """Choose the experts of each row, or, with `ids`, compute the weights of the given experts.

    per_expert: float32 [n_expert], added to the scores of a choice; with `ids`, weights are multiplied by it.
    """
    cdef _Route keeper = _Route()
    cdef rz_op *op = program.new_op(RZ_OP_CHOOSE_EXPERTS if ids is None else RZ_OP_WEIGH_EXPERTS, n_expert)
    if not 1 <= n_used <= n_expert or not 1 <= n_group_used <= n_group or n_expert % n_group:
        raise ValueError(f"{n_used} of {n_expert} experts, {n_group_used} of {n_group} groups")
    keeper.route = rz_route(_GATINGS[gating], n_used, n_group, n_group_used, n_group_best, normalize)
    program.keep.append(keeper)
    op.route, op.m_rows, op.scalar = &keeper.route, m_rows, scale
    op.x, op.x2, op.y = program.rows(logits, n_expert), program.rows(ids, n_used), program.rows(y, n_used)
    op.b = program.floats(per_expert, n_expert)
    program.max_row = max(program.max_row, rz_route_scratch(n_expert))


def add_experts(Program program not None, size_t n_expert, size_t n_used, size_t n_embd, str activation not None, *,
                gate, up, down, ids, weights, y, room, x=None, act32=None, act256=None, bint m_rows=False,
                float limit=0.0, slots=(), size_t max_rank=0):
    """The weighted sum of the chosen experts' down(act(gate x) * up x), or down(act(up x)) without a gate.

    limit: of silu(gate x) and of up x, 0 for none. slots: those of the adapters' factors for the products, in their
    order, None for products that none changes; max_rank: the sum of the ranks of a sequence's adapters at most.

    gate, up, down: (format, data, bias or None, factor of each expert or None); gate may be None. room: name -> offset,
    of `n_used` rows for each row of a step: "gate", "up" and "out" of floats, "x0", "x32" or "x256" of inputs, "h" of
    quantized rows if `down` reads them, "ax" of max_rank floats if there are slots.
    """
    cdef _Experts keeper = _Experts()
    cdef rz_experts *e = &keeper.experts
    cdef size_t n_ff, n_pairs = program.n_batch * n_used
    products = [(name, weight) for name, weight in (("gate", gate), ("up", up)) if weight is not None]
    if not 1 <= n_used <= n_expert:
        raise ValueError(f"{n_used} of {n_expert} experts")
    program.keep.append(keeper)
    e.n_expert, e.n_used, e.activation, e.limit = n_expert, n_used, _ACTIVATIONS[activation], limit
    e.ids, e.weights = program.rows(ids, n_used), program.rows(weights, n_used)
    e.n_up = len(products)
    for j, (name, weight) in enumerate(products):
        _weight(program, &e.up[j], weight, n_expert, n_embd)
        _results(program, &e.up[j], room[name], n_pairs)
        _inputs(program, &e.up[j], program.product_block(weight[0]), n_embd, n_pairs, room, x, act32, act256)
    n_ff = e.up[0].weight.n_row
    if e.up[e.n_up - 1].weight.n_row != n_ff:
        raise ValueError(f"gate has {n_ff} rows and up {e.up[1].weight.n_row}")
    _weight(program, &e.down, down, n_expert, n_ff)
    _results(program, &e.down, room["out"], n_pairs)
    e.down_block = program.product_block(down[0])
    if e.down_block:
        e.down.weight.x_stride = program.program.n_planes * rz_act_bytes(n_ff, e.down_block)
        e.down.pairs = <char *> program.at(room["h"], n_pairs * e.down.weight.x_stride)
    else:
        e.down.weight.x_stride, e.down.pairs = n_ff * sizeof(float), <char *> e.up[0].weight.y.data
    _order(program, e, n_expert, n_pairs)
    of_ups, of_down = slots[:e.n_up], slots[e.n_up:]
    e.is_linear = any([slot is not None for slot in of_ups])
    codes = [RZ_OP_EXPERTS_GROUP, RZ_OP_EXPERTS_GATHER, RZ_OP_EXPERTS_UP]
    codes += [RZ_OP_EXPERTS_UPDATE_UP] if e.is_linear else []
    codes += [RZ_OP_EXPERTS_QUANTIZE] if e.down_block else []
    codes += [RZ_OP_EXPERTS_DOWN] + ([RZ_OP_EXPERTS_UPDATE_DOWN] if any([slot is not None for slot in of_down]) else [])
    cdef rz_op *op
    for code in codes:
        op = _append(program, keeper, code, n_embd, n_ff, m_rows)
        if code == RZ_OP_EXPERTS_UPDATE_UP:
            op.x = program.rows(x, n_embd)
            _updates(program, op, e, of_ups, 0, room["ax"], n_pairs, max_rank)
        elif code == RZ_OP_EXPERTS_UPDATE_DOWN:
            _updates(program, op, e, of_down, e.n_up, room["ax"], n_pairs, max_rank)
    _append(program, keeper, RZ_OP_EXPERTS_SUM, n_embd, n_ff, m_rows).y = program.rows(y, e.down.weight.n_row)


cdef void _weight(Program program, rz_expert_weight *m, tuple weight, size_t n_expert, size_t k) except *:
    """weight: format, the rows of each expert [n_expert, n_row, row_bytes], their biases or None, scales or None."""
    format, data, bias, scales = weight
    if data.ndim != 3 or len(data) != n_expert:
        raise ValueError(f"weights of shape {data.shape}: the rows of {n_expert} experts are needed")
    program.product(&m.weight, format, data[0], k)
    m.expert_stride = data.strides[0]
    m.weight.bias = program.floats(bias, n_expert * m.weight.n_row)
    m.weight.scale = program.floats(scales, n_expert)


cdef void _results(Program program, rz_expert_weight *m, size_t offset, size_t n_pairs) except *:
    m.weight.y.ld = m.weight.n_row
    m.weight.y.data = <float *> program.at(offset, n_pairs * m.weight.n_row * sizeof(float))


cdef void _inputs(Program program, rz_expert_weight *m, int block, size_t k, size_t n_pairs, room, x, act32,
                  act256) except *:
    """Set the address of the input rows, and where they are gathered."""
    program.product_input(&m.weight, k, block, x, act32, act256)
    m.pairs = <char *> program.at(room[f"x{block}"], n_pairs * m.weight.x_stride)
    m.input_bytes = m.weight.x_stride if block else k * sizeof(float)


cdef void _order(Program program, rz_experts *e, size_t n_expert, size_t n_pairs) except *:
    """Allocate the arrays for the order of the pairs of a step."""
    cdef int32_t[::1] order = np.zeros(2 + 2 * n_expert + 2 * n_pairs, np.int32)
    program.keep.append(order)
    e.n_active, e.active, e.first = &order[0], &order[1], &order[1 + n_expert]
    e.token = e.first + n_expert + 1
    e.place = e.token + n_pairs


cdef rz_op *_append(Program program, _Experts keeper, int code, size_t n_embd, size_t n_ff, bint m_rows) except NULL:
    """Append an op of src/exec_experts.c."""
    cdef size_t n = n_embd
    if code == RZ_OP_EXPERTS_SUM:
        n = keeper.experts.down.weight.n_row
    elif code in (RZ_OP_EXPERTS_QUANTIZE, RZ_OP_EXPERTS_DOWN):
        n = n_ff
    cdef rz_op *op = program.new_op(code, n)
    op.experts, op.m_rows = &keeper.experts, m_rows
    return op


cdef void _updates(Program program, rz_op *op, rz_experts *e, slots, int first, size_t room, size_t n_pairs,
                   size_t max_rank) except *:
    """The updates of products `first` and on, gate and up before down, for slots that are not None."""
    cdef size_t n = 0
    cdef rz_expert_weight *weight
    cdef rz_updates *out = <rz_updates *> calloc(1, sizeof(rz_updates) + len(slots) * sizeof(rz_update))
    if out == NULL:
        raise MemoryError("no memory for an op")
    op.updates, out.update, out.max_rank = out, <rz_update *> (out + 1), max_rank
    out.ax.data, out.ax.ld = <float *> program.at(room, n_pairs * max_rank * sizeof(float)), max_rank
    for j, slot in enumerate(slots):
        if slot is not None:
            weight = &e.down if first + j == e.n_up else &e.up[j]
            out.update[n].slot, out.update[n].n_row, out.update[n].y = slot, weight.weight.n_row, weight.weight.y
            n += 1
    out.n = n
