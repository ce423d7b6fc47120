"""The kernel table: which instruction sets this CPU can run, and which one is in use."""

import os

cdef extern from "realizar/isa_levels.h" nogil:
    void rz_resolve()
    size_t rz_tables(const rz_kernels **out)
    const rz_kernels *rz_current()
    void rz_use(const rz_kernels *table)


def available():
    """Names of the ISA levels that this CPU can run, best last."""
    cdef const rz_kernels *tables = NULL
    cdef size_t n = rz_tables(&tables), i
    return tuple([tables[i].name.decode() for i in range(n)])


def current():
    """Name of the ISA level in use."""
    return rz_current().name.decode()


def use(str isa not None):
    """Choose the ISA level of plans made from now on.

    Parameters
    ----------
    isa : str
        One of `available()`.

    Raises
    ------
    ValueError
        If this CPU cannot run it, or the level does not exist.
    """
    rz_use(kernels(isa))


cdef const rz_kernels *kernels(str isa=None) except NULL:
    if isa is None:
        return rz_current()
    cdef const rz_kernels *tables = NULL
    cdef size_t n = rz_tables(&tables), i
    for i in range(n):
        if tables[i].name.decode() == isa:
            return &tables[i]
    raise ValueError(f"instruction set {isa!r} is not available; this CPU runs: {', '.join(available())}")


def _choose_at_import():
    """Resolve the tables; the environment variable REALIZAR_ISA may select a lower level than the best."""
    rz_resolve()
    isa = os.environ.get("REALIZAR_ISA")
    if isa:
        try:
            use(isa)
        except ValueError as error:
            raise ValueError(f"environment variable REALIZAR_ISA: {error}") from None


_choose_at_import()
