"""Prompt lookup: finds an earlier occurrence of the current suffix and proposes the tokens that followed it."""

from libc.stdint cimport int32_t

import numpy as np


cdef int longest_before(const int32_t *h, int n, int most, int *after) noexcept nogil:
    """Returns the length of the longest suffix of h (at most `most` tokens) that also occurs earlier and ends before n.

    `after` becomes the index after that occurrence. Of several occurrences it is the last one, so that a periodic
    sequence is found after one period.
    """
    cdef int end, length, best = 0
    after[0] = 0
    for end in range(n - 1, 0, -1):
        length = 0
        while length < most and length < end and h[end - 1 - length] == h[n - 1 - length]:
            length += 1
        if length > best:
            best = length
            after[0] = end
            if length == most:
                break
    return best


def repeat(const int32_t[::1] history not None, int most, int n_draft):
    """Return the length of the longest suffix that occurred before, at most `most`, and the n_draft tokens after it.

    At the end of the history, the drafts continue from the beginning of the repetition: a periodic sequence continues.

    Parameters
    ----------
    history : int32 [n]
    most, n_draft : int

    Returns
    -------
    length : int
        0 if the last token did not occur before.
    drafts : int32 [n_draft]
        Empty if length is 0.
    """
    cdef int n = <int>history.shape[0], after = 0, length = 0, i
    if most < 1 or n_draft < 0:
        raise ValueError(f"most={most}, n_draft={n_draft}: must be at least 1 and 0")
    if n > 1:
        with nogil:
            length = longest_before(&history[0], n, most, &after)
    cdef int32_t[::1] drafts = np.empty(n_draft if length else 0, np.int32)
    for i in range(<int>drafts.shape[0]):
        drafts[i] = history[after + i] if after + i < n else drafts[after + i - n]
    return length, np.asarray(drafts)
