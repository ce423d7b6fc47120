"""Samplers that depend on the token id and the history: bias, bans, penalties for repetition.

Each is a function of the candidates; sampling/token_filters.py, penalties.py and dry.py define them.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, pow
from libc.stdint cimport int32_t, uint8_t, uint32_t

import numpy as np

from realizar._kernels.sampling cimport Candidates


cdef check_tokens(name, const int32_t[::1] ids, int n_vocab):
    cdef Py_ssize_t i
    for i in range(ids.shape[0]):
        if not 0 <= ids[i] < n_vocab:
            raise ValueError(f"{name}[{i}] is {ids[i]}: no token of a vocabulary of {n_vocab}")


cdef inline float added(float x, double y) noexcept nogil:
    """Returns x + bias; a finite logit stays finite unless it is banned."""
    if x == -INFINITY or y == -INFINITY:
        return -INFINITY
    return <float>min(max(x + y, -<double>FLT_MAX), <double>FLT_MAX)


cdef void bias_tokens(Candidates c, const int32_t *ids, const float *biases, int n) noexcept nogil:
    cdef int i
    c._to_own()
    if c.is_dense:
        for i in range(n):
            c.own[ids[i]] = added(c.own[ids[i]], biases[i])
    else:
        for i in range(n):
            c.count[ids[i]] = i + 1
        for i in range(c.n):
            if c.count[c.ids[i]]:
                c.own[i] = added(c.own[i], biases[c.count[c.ids[i]] - 1])
        for i in range(n):
            c.count[ids[i]] = 0
    c._rescan(ids, n)


cdef inline float penalized(float x, int count, float repetition, float presence, float frequency) noexcept nogil:
    """Penalizes like llama.cpp and vLLM; a finite logit stays finite."""
    if x == -INFINITY:
        return x
    x = x / repetition if x > 0.0 else x * repetition
    x -= <float>count * frequency + presence
    return min(max(x, -FLT_MAX), FLT_MAX)


cdef void penalize_seen(Candidates c, const int32_t *history, int n, float repetition, float presence,
                        float frequency) noexcept nogil:
    cdef int i, id, count
    c._to_own()
    for i in range(n):
        c.count[history[i]] += 1
    for i in range(n if c.is_dense else c.n):
        id = history[i] if c.is_dense else c.ids[i]
        count = c.count[id]
        if count:
            c.count[id] = 0
            id = id if c.is_dense else i
            c.own[id] = penalized(c.own[id], count, repetition, presence, frequency)
    for i in range(n):
        c.count[history[i]] = 0
    c._rescan(history, n)


cdef void keep_tokens(Candidates c, const int32_t *ids, int n) noexcept nogil:
    cdef int i, kept = 0
    for i in range(n):
        c.count[ids[i]] = 1
    for i in range(c.n):
        if c.count[c._id(i)]:
            c.own[kept] = c.x[i]
            c.ids[kept] = c._id(i)
            kept += 1
    for i in range(n):
        c.count[ids[i]] = 0
    c._keep_first(kept)


cdef void keep_set(Candidates c, const uint32_t *bits, int n_bits) noexcept nogil:
    """Keeps tokens without a branch for each, which would be mispredicted half of the time."""
    cdef int i = 0, k, id, kept = 0, n = min(c.n, n_bits) if c.is_dense else c.n
    cdef uint32_t word
    if c.is_dense:
        while i < n:
            word = bits[i >> 5] if n - i >= 32 else bits[i >> 5] & ((<uint32_t>1 << (n - i)) - 1)
            if word:
                for k in range(min(32, n - i)):
                    c.own[kept] = c.x[i + k]
                    c.ids[kept] = i + k
                    kept += <int>(word >> k & 1)
            i += 32
    else:
        for i in range(n):
            id = c.ids[i]
            if id < n_bits and bits[id >> 5] >> (id & 31) & 1:
                c.own[kept] = c.x[i]
                c.ids[kept] = id
                kept += 1
    c._keep_first(kept)


cdef void penalize_repeats(Candidates c, const int32_t *marked, int n, double multiplier, double base,
                           int allowed) noexcept nogil:
    """Lowers the candidates that would extend a repetition, whose length is in count; sets count to zero again."""
    cdef int i, id, place, length
    c._to_own()
    for i in range(n if c.is_dense else c.n):
        id = marked[i] if c.is_dense else c.ids[i]
        place = id if c.is_dense else i
        length = c.count[id]
        if length:
            c.count[id] = 0
            c.own[place] = added(c.own[place], -min(multiplier * pow(base, length - allowed), <double>FLT_MAX))
    for i in range(n):
        c.count[marked[i]] = 0
    c._rescan(marked, n)


cdef void agreements(const int32_t *h, int n, int32_t *z) noexcept nogil:
    """z[k], 0 < k < n, becomes the length of the common prefix of the reversed history and its part from k on.

    The Z-algorithm (Gusfield, "Algorithms on strings, trees and sequences", 1997, section 1.4), linear in n.
    """
    cdef int left = 0, right = 0, k, length
    for k in range(1, n):
        length = min(right - k, z[k - left]) if k < right else 0
        while k + length < n and h[n - 1 - length] == h[n - 1 - k - length]:
            length += 1
        z[k] = length
        if k + length > right:
            left, right = k, k + length


cdef void mark_repeats(Candidates c, const int32_t *h, int n, int limit, int allowed, const uint8_t *exempt,
                       const int32_t *z) noexcept nogil:
    """count[token] becomes the length of the longest suffix, at most `limit`, that was followed by the token before."""
    cdef int k, length
    cdef int32_t token
    for k in range(1, n):
        token = h[n - k]
        length = min(z[k], limit)
        if length >= allowed and length > c.count[token] and not exempt[token]:
            c.count[token] = length


cdef void ban_repeats(Candidates c, const int32_t *h, int n, int size, const int32_t *z) noexcept nogil:
    """Bans the tokens that followed an earlier occurrence of the last size - 1 tokens."""
    cdef int i
    for i in range(1, n):
        if z[i] >= size - 1:
            c.count[h[n - i]] = 1
    if size == 1:
        c.count[h[0]] = 1
    c._to_own()
    if c.is_dense:
        for i in range(n):
            if c.count[h[i]]:
                c.own[h[i]] = -INFINITY
    else:
        for i in range(c.n):
            if c.count[c.ids[i]]:
                c.own[i] = -INFINITY
    c._rescan(h, n)
    for i in range(n):
        c.count[h[i]] = 0


def bias(Candidates c not None, const int32_t[::1] ids not None, const float[::1] biases not None):
    """Add a bias to the logit of each of these distinct tokens; -inf bans a token."""
    check_tokens("ids", ids, c.n_vocab)
    if ids.shape[0] != biases.shape[0]:
        raise ValueError(f"{ids.shape[0]} ids with {biases.shape[0]} biases: must be as many")
    if ids.shape[0]:
        with nogil:
            bias_tokens(c, &ids[0], &biases[0], <int>ids.shape[0])


def penalize(Candidates c not None, const int32_t[::1] history not None, float repetition, float presence,
             float frequency):
    """Lower (or raise) the logits of the tokens in the history: see sampling/penalties.py."""
    check_tokens("history", history, c.n_vocab)
    if history.shape[0]:
        with nogil:
            penalize_seen(c, &history[0], <int>history.shape[0], repetition, presence, frequency)


def keep(Candidates c not None, const int32_t[::1] ids not None):
    """Keep only these tokens; possibly no candidate is left."""
    check_tokens("ids", ids, c.n_vocab)
    with nogil:
        keep_tokens(c, &ids[0] if ids.shape[0] else NULL, <int>ids.shape[0])


def keep_bits(Candidates c not None, const uint32_t[::1] bits not None):
    """Keep the tokens whose bit is set (bit i % 32 of word i // 32 for token i); possibly no candidate is left."""
    with nogil:
        keep_set(c, &bits[0] if bits.shape[0] else NULL, <int>min(32 * bits.shape[0], c.n_vocab))


def no_repeat(Candidates c not None, const int32_t[::1] history not None, size):
    """Ban each token that would complete an n-gram of `size` tokens (any integer) that occurs in the history."""
    if size < 1:
        raise ValueError(f"size={size}: must be at least 1")
    cdef int32_t[::1] z
    cdef int n = <int>history.shape[0], length
    check_tokens("history", history, c.n_vocab)
    if n >= size:
        z, length = np.empty(n, np.int32), size
        with nogil:
            agreements(&history[0], n, &z[0])
            ban_repeats(c, &history[0], n, length, &z[0])


def dry(Candidates c not None, const int32_t[::1] history not None, int limit, double multiplier, double base,
        allowed, const uint8_t[::1] exempt not None):
    """Lower the tokens that would extend a repetition of at least `allowed` tokens (any integer): see sampling/dry.py.

    Repetitions are counted up to `limit` tokens. Tokens marked in `exempt` ([n_vocab]) are not penalized.
    """
    cdef int32_t[::1] z
    cdef int n = <int>history.shape[0], least
    if allowed < 1:
        raise ValueError(f"allowed={allowed}: must be at least 1")
    if exempt.shape[0] != c.n_vocab:
        raise ValueError(f"{exempt.shape[0]} marks for a vocabulary of {c.n_vocab}")
    check_tokens("history", history, c.n_vocab)
    if n > allowed and limit >= allowed:
        z, least = np.empty(n, np.int32), allowed
        with nogil:
            agreements(&history[0], n, &z[0])
            mark_repeats(c, &history[0], n, limit, least, &exempt[0], &z[0])
            penalize_repeats(c, &history[0], n, multiplier, base, least)
