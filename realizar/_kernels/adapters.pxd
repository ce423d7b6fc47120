"""The adapters of sequences, for plan.pyx."""

from libc.stdint cimport int32_t

from realizar._kernels.exec cimport rz_adapter, rz_adapter_set, rz_factors

cdef class Factors:
    cdef rz_factors *factors
    cdef rz_adapter adapter
    cdef list keep

cdef class AdapterSet:
    cdef rz_adapter_set adapters
    cdef const rz_adapter **pointers
    cdef float *scales
    cdef tuple keep

# The pointers of these AdapterSets, to be freed by the caller, after a check of the indices of all sequences.
cdef rz_adapter_set **adapter_set_array(sets, const int32_t[::1] set_of, size_t n_seqs) except NULL
