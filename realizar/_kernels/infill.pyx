"""The sampler for fill-in-the-middle, defined by sampling/infill.py."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcmp

from realizar._kernels.sampling cimport Candidates, rz_sort


cdef void merge(Candidates c, const uint8_t *text, const int32_t *start) noexcept nogil:
    """Merges pairs of tokens of which one is a prefix of the other: the more probable one gets the weight of both.

    Pairs are processed in order, best tokens first; a token that has given its weight away is skipped afterwards.
    """
    cdef int i, j, to
    cdef int32_t length
    for i in range(c.n):
        length = start[c.ids[i] + 1] - start[c.ids[i]]
        if length == 0:
            continue
        for j in range(c.n):
            if c.spare_x[i] == 0.0:
                break
            if (i == j or c.spare_x[j] == 0.0 or length > start[c.ids[j] + 1] - start[c.ids[j]]
                    or memcmp(text + start[c.ids[i]], text + start[c.ids[j]], length) != 0):
                continue
            to = j if c.spare_x[j] > c.spare_x[i] else i
            c.spare_x[to] += c.spare_x[i + j - to]
            c.spare_x[i + j - to] = 0.0


cdef int keep_likely(Candidates c, const uint8_t *ends, double least, double *mass) noexcept nogil:
    """Packs the tokens of at least this weight and all end tokens; returns how many are not end tokens.

    `mass` becomes the sum of the weights of those. own, ids and weights are packed; the caller makes them the
    candidates.
    """
    cdef int i, kept = 0, n_text = 0
    mass[0] = 0.0
    for i in range(c.n):
        if ends[c.ids[i]] or c.spare_x[i] >= least:
            n_text += not ends[c.ids[i]]
            mass[0] += c.spare_x[i]
            c.own[kept], c.ids[kept], c.spare_x[kept] = c.own[i], c.ids[i], c.spare_x[i]
            kept += 1
    c.n = kept
    return n_text


cdef void fill_in(Candidates c, const uint8_t *text, const int32_t *start, const uint8_t *ends,
                  int32_t end_id) noexcept nogil:
    cdef double total, mass, of_ends = 0.0
    cdef int i, n_text
    cdef int32_t best
    c._keep_from(-INFINITY)
    rz_sort(c.own, c.ids, 0, c.n)
    c._scan()
    best = c.ids[0]
    total = c._weigh(c.x, c.n)
    for i in range(c.n):
        c.spare_x[i] /= <float>total
        if ends[c.ids[i]]:
            of_ends += c.spare_x[i]
    if 3.0 * of_ends * c.n > 1.0 - of_ends:
        keep_likely(c, ends, INFINITY, &mass)
    else:
        merge(c, text, start)
        n_text = keep_likely(c, ends, 0.2, &mass)
        if n_text:
            keep_likely(c, ends, mass / (n_text + 1), &mass)
        else:
            c.own[0], c.ids[0], c.n = 0.0, best if end_id < 0 else end_id, 1
    c._keep_first(c.n)


def infill(Candidates c not None, const uint8_t[::1] text not None, const int32_t[::1] start not None,
           const uint8_t[::1] ends not None, int32_t end_id):
    """Apply the sampler.

    `text` contains the bytes of all tokens; those of token i are text[start[i] : start[i + 1]] (start: [n_vocab + 1],
    ascending). `ends` [n_vocab] marks the end tokens. If no token is likely, only `end_id` is kept, or the best
    candidate if `end_id` is -1.
    """
    cdef int i, token
    if start.shape[0] != c.n_vocab + 1 or ends.shape[0] != c.n_vocab or not -1 <= end_id < c.n_vocab:
        raise ValueError(f"{start.shape[0]} starts, {ends.shape[0]} marks, end_id={end_id}: vocabulary of {c.n_vocab}")
    for i in range(c.n):
        token = c._id(i)
        if not 0 <= start[token] <= start[token + 1] <= text.shape[0]:
            raise ValueError(f"token {token} is bytes {start[token]} to {start[token + 1]} of {text.shape[0]}")
    with nogil:
        fill_in(c, &text[0] if text.shape[0] else NULL, &start[0], &ends[0], end_id)
