"""Adapters as the kernels read them: the low-rank factors of one adapter, and the adapters of a sequence."""

from libc.stdint cimport int32_t, uintptr_t
from libc.stdlib cimport calloc, free

import numpy as np

from realizar._kernels.exec cimport RZ_F16, RZ_F32, rz_adapter, rz_adapter_set, rz_factors
from realizar._kernels.table cimport RZ_FACTOR_TILE, kernels, rz_kernels

_FORMATS = {np.dtype(np.float32): RZ_F32, np.dtype(np.float16): RZ_F16}


def in_tiles(b):
    """Return B [n_out, rank], or several of them [n, n_out, rank], in the layout of the kernels.

    Tiles of RZ_FACTOR_TILE rows, each transposed, the last one padded with zeros: [..., n_tile, rank, RZ_FACTOR_TILE].
    """
    *several, n_out, rank = b.shape
    n_tile = -(-n_out // RZ_FACTOR_TILE)
    if n_out % RZ_FACTOR_TILE:
        b = np.concatenate([b, np.zeros((*several, n_tile * RZ_FACTOR_TILE - n_out, rank), b.dtype)], axis=-2)
    return np.ascontiguousarray(b.reshape(*several, n_tile, RZ_FACTOR_TILE, rank).swapaxes(-1, -2))


cdef class Factors:
    """The factors of one adapter, in numbered slots, each for one weight or one place for control vectors.

    Parameters
    ----------
    n_slot : int
    """

    def __cinit__(self, size_t n_slot):
        self.keep = []
        self.factors = <rz_factors *> calloc(max(n_slot, 1), sizeof(rz_factors))
        if self.factors == NULL:
            raise MemoryError("no memory for an adapter")
        self.adapter.factors, self.adapter.n_slot = self.factors, n_slot

    def __dealloc__(self):
        free(self.factors)

    def set(self, size_t slot, a, b, size_t n_out, float scale=1.0, bint of_tokens=False):
        """Set the factors of a slot: B (scale * A x) is added, times the scale of a request.

        Parameters
        ----------
        slot : int
        a : float32 or float16 [rank, n_in], [n_expert, rank, n_in], [n_token, rank] or None
            For experts of each expert; for an embedding table of each token; None for a control vector, of rank 1.
        b : [n_tile, rank, RZ_FACTOR_TILE] of the same type
            As `in_tiles` returns it; for experts [n_expert, n_tile, rank, RZ_FACTOR_TILE].
        n_out : int
        scale : float
            Not of a control vector.
        of_tokens : bool
            Whether A has a row for each token.
        """
        if slot >= self.adapter.n_slot:
            raise ValueError(f"slot {slot} of {self.adapter.n_slot}")
        *several, n_tile, rank, width = b.shape
        least = (n_out + RZ_FACTOR_TILE - 1) // RZ_FACTOR_TILE
        if width != RZ_FACTOR_TILE or n_tile != least or len(several) > 1 or not b.flags.c_contiguous:
            raise ValueError(f"B of {n_out} rows in tiles expected, shape {b.shape} given")
        cdef rz_factors *f = &self.factors[slot]
        if a is not None:
            *before, n_row, n = a.shape
            if a.dtype != b.dtype or before != several or rank != (n if of_tokens else n_row) or \
                    not a.flags.c_contiguous:
                raise ValueError(f"A of rank {rank} and type {b.dtype} expected, shape {a.shape} {a.dtype} given")
            f.a, f.n_in = <const char *> <uintptr_t> a.ctypes.data, n_row if of_tokens else n
            f.a_stride, f.b_stride = (a.strides[0], b.strides[0]) if several else (0, 0)
        elif rank != 1:
            raise ValueError(f"a vector has rank 1, not {rank}")
        f.format, f.rank, f.n_out, f.scale = _FORMATS[b.dtype], rank, n_out, scale
        f.b = <const char *> <uintptr_t> b.ctypes.data
        self.keep += [a, b]


cdef class AdapterSet:
    """The adapters of a sequence with their scales, applied in this order.

    Parameters
    ----------
    uses : sequence of (Factors, float)
    """

    def __cinit__(self, uses):
        cdef Factors factors
        cdef size_t i, n = len(uses)
        self.keep = tuple([factors for factors, _ in uses])
        self.pointers = <const rz_adapter **> calloc(max(n, 1), sizeof(rz_adapter *))
        self.scales = <float *> calloc(max(n, 1), sizeof(float))
        if self.pointers == NULL or self.scales == NULL:
            raise MemoryError("no memory for adapters")
        for i in range(n):
            factors = uses[i][0]
            self.pointers[i], self.scales[i] = &factors.adapter, uses[i][1]
        self.adapters.n, self.adapters.adapter, self.adapters.scale = n, self.pointers, self.scales

    def __dealloc__(self):
        free(self.pointers)
        free(self.scales)


cdef rz_adapter_set **adapter_set_array(sets, const int32_t[::1] set_of, size_t n_seqs) except NULL:
    cdef AdapterSet one
    cdef size_t i, n = len(sets)
    if <size_t> set_of.shape[0] != n_seqs:
        raise ValueError(f"set_of: {set_of.shape[0]} numbers for {n_seqs} sequences")
    for i in range(n_seqs):
        if not -1 <= set_of[i] < <int32_t> n:
            raise ValueError(f"set_of: {set_of[i]} is none of {n} sets")
    cdef rz_adapter_set **out = <rz_adapter_set **> calloc(max(n, 1), sizeof(rz_adapter_set *))
    if out == NULL:
        raise MemoryError("no memory for adapters")
    for i in range(n):
        one = sets[i]
        out[i] = &one.adapters
    return out


def add_product(h, b, y, str isa=None):
    """y + B h by the kernel; for tests.

    Parameters
    ----------
    h : float32 [rank]
    b : float32 or float16 [n_tile, rank, RZ_FACTOR_TILE]
        As `in_tiles` returns it.
    y : float32 [n]
    isa : str, optional
        ISA level of the kernel; the current one by default.

    Returns
    -------
    float32 [n]
    """
    cdef const rz_kernels *table = kernels(isa)
    out = y.copy()
    if b.shape != (-(-len(y) // RZ_FACTOR_TILE), len(h), RZ_FACTOR_TILE) or not b.flags.c_contiguous:
        raise ValueError(f"B of {len(y)} rows and rank {len(h)} in tiles expected, shape {b.shape} given")
    cdef const float[::1] factors = h
    cdef float[::1] result = out
    cdef const void *data = <const void *> <uintptr_t> b.ctypes.data
    if _FORMATS[b.dtype] == RZ_F16:
        table.add_product_f16(&factors[0], data, len(h), len(y), &result[0])
    else:
        table.add_product_f32(&factors[0], data, len(h), len(y), &result[0])
    return out
