"""Probes of the machine: reading memory and multiply-adds in registers, for the lower bounds of benchmarks."""

from libc.stdint cimport uint8_t, uint64_t

from realizar._kernels.table cimport kernels

from realizar._kernels.table import available

cdef extern from "realizar/probe.h" nogil:
    ctypedef uint64_t rz_probe_read(const char *data, size_t n_bytes)
    ctypedef uint64_t rz_probe_macs(uint64_t n_rounds)
    struct rz_probe:
        const char *isa
        rz_probe_read *read
        rz_probe_macs *int8
        rz_probe_macs *f32
    const rz_probe rz_probes[]
    const uint64_t RZ_PROBE_MAX_ROUNDS


cdef const rz_probe *find(str isa) except NULL:
    kernels(isa)  # ValueError if this CPU cannot run it
    cdef const rz_probe *probe = rz_probes
    while probe.isa.decode() != isa:
        probe += 1
    return probe


def read(const uint8_t[::1] data not None):
    """Read every byte once with the best instructions of this CPU, without the GIL.

    Parameters
    ----------
    data : uint8[n]
        What to read, for example a part of a mapped file.

    Returns
    -------
    int
        A checksum, so that the compiler cannot remove the reads.
    """
    *_, best = available()
    cdef const rz_probe *probe = find(best)
    cdef size_t n_bytes = data.shape[0]
    cdef const char *start = <const char *> &data[0] if n_bytes else NULL
    cdef uint64_t checksum
    with nogil:
        checksum = probe.read(start, n_bytes)
    return checksum


cdef uint64_t run(rz_probe_macs *macs, uint64_t n_rounds) except? 0:
    if n_rounds > RZ_PROBE_MAX_ROUNDS:
        raise ValueError(f"{n_rounds} rounds: at most {RZ_PROBE_MAX_ROUNDS} are counted exactly")
    cdef uint64_t done
    with nogil:
        done = macs(n_rounds)
    return done


def int8_macs(uint64_t n_rounds, str isa not None):
    """Do int8 multiply-adds in registers, without the GIL.

    Parameters
    ----------
    n_rounds : int
        Rounds of the inner loop, at most 2^24.
    isa : str
        An ISA level of `table.available()`.

    Returns
    -------
    int
        The number of multiply-adds: the sum of all accumulators, since every product is 1.

    Raises
    ------
    ValueError
        If this CPU cannot run the level, or n_rounds is too large.
    """
    return run(find(isa).int8, n_rounds)


def f32_macs(uint64_t n_rounds, str isa not None):
    """Do float32 multiply-adds in registers, without the GIL; see `int8_macs`."""
    return run(find(isa).f32, n_rounds)
