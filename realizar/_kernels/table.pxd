"""The kernel table, for the compiled modules."""

cdef extern from "realizar/table.h":
    cdef struct rz_kernels:
        const char *name

# The table of a tier by its name; the chosen one when isa is None. ValueError for a name that is not available.
cdef const rz_kernels *kernels(str isa=*) except NULL
