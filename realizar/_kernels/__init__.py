"""The compiled kernels: a grid of instruction sets and files, one table of functions; imports nothing of realizar.

::

                         scalar/        avx2/         avx512/        one .c per column in src/, ending in ONE literal
                         the meaning                                 of struct rz_kernels (include/realizar/table.h)
    q4_k.h q8_0.h ...  | products     | products    | products    |  weights: int8 and f32 activations
    act.h              | rows -> int8 | same        | same        |
    attention.h norm.h | definitions  |           wide/           |  without weights: written once over sixteen lanes,
    softmax.h rope.h   |              | f32x16.h    | f32x16.h    |  f32x16.h says what sixteen lanes are
                             |              |             |
                             +----- src/resolve.c --------+          an empty slot inherits from the column to its left;
                                          |                          a CPU gets the columns that src/cpu.c finds
                                     table.pyx                       available(), current(), use(isa); REALIZAR_ISA
                                     /    |    \\
                              plan.pyx  rows.pyx  testing/ops.pyx, attention.pyx    kv.pyx (sizes of a cache)
                       the op array of    products   everything else, on numpy,
                       a bound model      on numpy   for tests and benchmarks

Sampling: ``logit_scan.pyx`` summarizes the logits of a step with all threads; ``sampling.pyx`` has the candidates;
``token_filters.pyx``, ``distribution.pyx``, ``diversity.pyx`` and ``infill.pyx`` have the samplers, one group each.
``repack.pyx`` makes planes of the wgpu backend from weights.

``avxvnni`` is a column between avx2 and avx512: the products of ``avx2/`` once more, with ``avxvnni/dot.h`` in place of
``avx2/dot.h``. ``amx`` extends avx512: the K formats with many tokens, on tile registers. ``streams.h`` is the order in
which products read weight rows, ``avx512/micro_kernels.h`` has what the products with many tokens share. Every column
gives the bits of ``scalar/`` (docs/kernels.md is the specification). ``plan.pyx`` owns ``src/exec*.c``, which runs the
ops without the GIL, and ``src/pool.c``, the thread pool.
"""
