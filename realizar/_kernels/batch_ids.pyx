"""Range checks of a step's int32 arrays, on which the kernels rely; in numpy they would take as long as a small op."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef bint all_below(const int32_t[::1] ids, uint32_t limit) noexcept nogil:
    """Whether all ids are in [0, limit); as unsigned numbers the negative ones are the largest."""
    cdef uint32_t greatest = 0
    cdef Py_ssize_t i
    for i in range(ids.shape[0]):
        greatest = max(greatest, <uint32_t> ids[i])
    return ids.shape[0] == 0 or greatest < limit


def first_out_of_range(arrays, limits):
    """Return the index of the first array with an id outside [0, limit), or -1.

    Parameters
    ----------
    arrays : sequence of int32 [n]
        Contiguous.
    limits : sequence of int
        One for each array, in [0, 2**31].
    """
    cdef const int32_t[::1] ids
    cdef Py_ssize_t i
    for i in range(len(arrays)):
        ids = arrays[i]
        if not all_below(ids, <uint32_t> limits[i]):
            return i
    return -1


def sequence_lengths(const int32_t[::1] seq_start not None, const int32_t[::1] seq_past not None):
    """Return the minimum and maximum length of a step's sequences, including the rows of the step.

    Parameters
    ----------
    seq_start : int32 [s + 1]
    seq_past : int32 [s]
        At least one.
    """
    cdef int64_t length, shortest, longest
    cdef Py_ssize_t i
    if seq_past.shape[0] < 1 or seq_start.shape[0] != seq_past.shape[0] + 1:
        raise ValueError(f"{seq_start.shape[0]} starts of {seq_past.shape[0]} sequences")
    shortest = longest = <int64_t> seq_start[1] - seq_start[0] + seq_past[0]
    for i in range(1, seq_past.shape[0]):
        length = <int64_t> seq_start[i + 1] - seq_start[i] + seq_past[i]
        shortest, longest = min(shortest, length), max(longest, length)
    return shortest, longest
