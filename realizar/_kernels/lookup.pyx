"""Where the end of a text stands in it once before, and what followed there: guesses of what follows now."""

from libc.stdint cimport int32_t

import numpy as np


cdef int longest_before(const int32_t *h, int n, int most, int *after) noexcept nogil:
    """Length of the longest end of h, `most` tokens at best, that ends before n too; `after` is behind that place.

    Of several places it is the last one, so that a text that goes round in a circle is found after one round.
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
    """Return how many of the last tokens, `most` at best, stood together before, and the n_draft that followed there.

    Where those run into the end of the text, they begin again behind the place: a circle goes on.

    Parameters
    ----------
    history : int32 [n]
    most, n_draft : int

    Returns
    -------
    length : int
        0 if the last token is new.
    drafts : int32 [n_draft]
        Empty if it is.
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
