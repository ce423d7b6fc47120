"""Attention against float64, and the same bits for any chunks and tiles; test_attention_isa.py has all ISA levels."""

from typing import get_args

import numpy as np
import pytest

from realizar._kernels.kv import KV_TYPES, kv_bytes
from realizar._kernels.testing.attention import attention, store
from realizar.params import KVType
from tests.isa import DEFINED, LEVELS

SPLIT = 512
"""Keys per split: RZ_ATTEND_SPLIT."""


def make(n_tokens, n_keys, n_head=6, n_head_kv=2, head_dim=64, head_dim_v=None, seed=0):
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((n_tokens, n_head, head_dim), np.float32)
    k = rng.standard_normal((n_keys, n_head_kv, head_dim), np.float32)
    v = rng.standard_normal((n_keys, n_head_kv, head_dim_v or head_dim), np.float32)
    return q, k, v


def naive(q, k, v, causal=True, window=0, softcap=0.0, bias=None, spans=(), chunked=False, skip=0):
    """Attention by the full score matrix, in float64."""
    n_tokens, n_head, head_dim = q.shape
    n_group = n_head // k.shape[1]
    k, v = (np.repeat(x.astype(np.float64), n_group, axis=1) for x in (k, v))
    s = np.einsum("thd,khd->htk", q.astype(np.float64), k) * head_dim**-0.5
    if softcap:
        s = softcap * np.tanh(s / softcap)
    query, key = np.arange(n_tokens)[:, None] + len(k) - n_tokens, np.arange(len(k))
    if bias is not None:
        s = s + bias[:, bias.shape[1] // 2 + key - query]
    if causal:
        near = key // window == query // window if chunked else (query - key < window) if window else True
        seen = (key <= query) & near & (key >= np.minimum(skip, query))
        for first, end in np.asarray(spans) + len(k) - n_tokens:
            seen |= (first <= query) & (query < end) & (first <= key) & (key < end)
        s = np.where(seen, s, -np.inf)
    elif window:
        s = np.where(np.abs(query - key) <= window // 2, s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("htk,khd->thd", p / p.sum(-1, keepdims=True), v)


def same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize(
    "options",
    [
        *({}, {"causal": False}, {"window": 5}, {"window": 100}, {"softcap": 2.0}, {"window": 700, "softcap": 30.0}),
        {"window": 40, "chunked": True},
        *({"skip": 1}, {"skip": 600}, {"skip": 30, "window": 20}),
        *({"causal": False, "window": window} for window in (1, 2, 33, 90, 700)),
    ],
    ids=str,
)
@pytest.mark.parametrize(("n_tokens", "n_keys"), [(1, 1), (1, 700), (37, 37), (20, 1100), (70, 100)])
def test_against_float64(isa, options, n_tokens, n_keys):
    q, k, v = make(n_tokens, n_keys)
    got = attention(q, k, v, k_type="f32", v_type="f32", isa=isa, **options)
    want = naive(q, k, v, **options)
    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("options", [{}, {"causal": False}, {"window": 100}, {"softcap": 2.0}], ids=str)
@pytest.mark.parametrize(("n_tokens", "n_keys"), [(1, 700), (70, 100)])
def test_relative_position_bias_against_float64(isa, options, n_tokens, n_keys):
    q, k, v = make(n_tokens, n_keys)
    bias = np.random.default_rng(1).standard_normal((6, 2 * n_keys - 1)).astype(np.float32)
    got = attention(q, k, v, k_type="f32", v_type="f32", isa=isa, bias=bias, **options)
    np.testing.assert_allclose(got, naive(q, k, v, bias=bias, **options), atol=1e-4)


def reach_of(spans, n):
    """For each of n rows, how many rows of its span are before and after it."""
    out = np.zeros((n, 2), np.int32)
    for first, end in spans:
        for row in range(first, end):
            out[row] = row - first, end - 1 - row
    return out


SPANS = {
    "one": [[0, 37]],
    "short": [[3, 4], [5, 7], [7, 20]],
    "across tiles and splits": [[1, 30], [33, 37]],
}


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize(
    "options",
    [{}, {"window": 5}, {"window": 40}, {"softcap": 2.0}, {"window": 20, "chunked": True}, {"skip": 9}],
    ids=str,
)
@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize("n_keys", [37, 522, 1100])
def test_bidirectional_spans_against_float64(isa, options, spans, n_keys):
    q, k, v = make(37, n_keys)
    got = attention(q, k, v, k_type="f32", v_type="f32", isa=isa, reach=reach_of(spans, 37), **options)
    np.testing.assert_allclose(got, naive(q, k, v, spans=spans, **options), atol=1e-4)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("options", [{}, {"window": 5}, {"window": 40}], ids=str)
@pytest.mark.parametrize("kv_type", sorted(KV_TYPES))
def test_spans_change_only_their_own_rows(isa, kv_type, options):
    """Same bits with chunks that contain whole spans, with query tiles that cut them, and with one-token spans."""
    q, k, v = make(75, 600)
    options = {**options, "k_type": kv_type, "v_type": kv_type, "isa": isa}
    reach = reach_of([(10, 60)], 75)
    plain, whole = attention(q, k, v, **options), attention(q, k, v, reach=reach, **options)
    same_bits(attention(q, k, v, reach=reach_of([(3, 4), (70, 71)], 75), **options), plain)
    same_bits(whole[:10], plain[:10])
    same_bits(whole[60:], plain[60:])
    assert not np.array_equal(whole[10:59], plain[10:59])
    for max_queries in (3, 15, 60):
        same_bits(attention(q, k, v, reach=reach, max_queries=max_queries, **options), whole)
    chunk = attention(q[10:60], k[:585], v[:585], reach=reach[10:60], **options)
    same_bits(chunk, whole[10:60])
    same_bits(attention(q[5:], k, v, reach=reach[5:], **options), whole[5:])


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize(("k_type", "v_type"), [("f16", "f16"), ("f32", "f16"), ("f16", "f32")])
def test_f16_cache_equals_f32_cache_of_rounded_values(isa, k_type, v_type):
    q, k, v = make(20, 90)
    got = attention(q, k, v, k_type=k_type, v_type=v_type, isa=isa)
    rounded_k = k.astype(np.float16).astype(np.float32) if k_type == "f16" else k
    rounded_v = v.astype(np.float16).astype(np.float32) if v_type == "f16" else v
    same_bits(got, attention(q, rounded_k, rounded_v, k_type="f32", v_type="f32", isa=isa))


def hadamard(x):
    """Hadamard transform in the kernels' order; its width is the largest power of two that divides head_dim."""
    x = x.copy()
    width, distance = x.shape[-1] & -x.shape[-1], 1
    while distance < width:
        pairs = x.reshape(*x.shape[:-1], -1, 2, distance)
        a, b = pairs[..., 0, :].copy(), pairs[..., 1, :].copy()
        pairs[..., 0, :], pairs[..., 1, :] = a + b, a - b
        distance *= 2
    return x, np.float32(width)


def round_int8(x):
    """Round x as an int8 cache does: one scale per token and head."""
    amax = np.abs(x).max(-1, keepdims=True)
    return np.rint(x * (np.float32(127) / amax)) * (amax / np.float32(127))


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("head_dim", [64, 80, 100, 7])
@pytest.mark.parametrize("n_tokens", [1, 50])
def test_int8_cache_equals_f32_cache_of_rounded_values(isa, head_dim, n_tokens):
    q, k, v = make(n_tokens, 90, head_dim=head_dim)
    got = attention(q, k, v, k_type="int8", v_type="int8", isa=isa)
    (kept_k, _), (kept_q, width) = hadamard(k), hadamard(q)
    floats = {"k_type": "f32", "v_type": "f32", "scale": head_dim**-0.5}
    same_bits(got, attention(kept_q / width, round_int8(kept_k), round_int8(v), isa=isa, **floats))


def round_q4(x):
    """Round x as a q4 cache does: one scale per token and head, by which the greatest element becomes -8."""
    high, low = x.max(-1, keepdims=True), x.min(-1, keepdims=True)
    most = np.where(high >= -low, high, low)
    return np.minimum(np.rint(x * (np.float32(-8) / most)), 7) * (most / np.float32(-8))


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("head_dim", [64, 80, 100, 7])
@pytest.mark.parametrize("n_tokens", [1, 50])
def test_q4_cache_is_near_float64_attention_to_rounded_values(isa, head_dim, n_tokens):
    """Besides K and V, only the transformed query is rounded to int8; the rounding of weights to int16 is small."""
    q, k, v = make(n_tokens, 700, head_dim=head_dim)
    got = attention(q, k, v, k_type="q4", v_type="q4", isa=isa)
    (kept_k, _), (kept_q, width), (kept_v, _) = hadamard(k), hadamard(q), hadamard(v)
    want, _ = hadamard(naive(round_int8(kept_q / width), round_q4(kept_k), round_q4(kept_v)))
    assert np.linalg.norm(got - want / width) <= 1e-4 * np.linalg.norm(want / width)


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("head_dim", [64, 80, 128])
def test_values_of_one_key(isa, head_dim):
    """The values of a key alone are those that were rounded: every element of every slot is at its place."""
    v = make(0, 20, 1, 1, head_dim)[2]
    (kept, width), zeros = hadamard(v), np.zeros((20, 1, head_dim), np.float32)
    got = attention(zeros, zeros, v, window=1, v_type="q4", isa=isa)
    np.testing.assert_allclose(got, hadamard(round_q4(kept))[0] / width, atol=1e-5)


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize(
    ("k_type", "v_type", "bound"),
    [("int8", "int8", 0.03), ("f16", "int8", 0.01), ("q4", "q4", 0.35), ("int8", "q4", 0.13), ("f16", "q4", 0.13)],
)
@pytest.mark.parametrize("head_dim", [64, 80])
def test_error_of_rounded_caches(isa, k_type, v_type, bound, head_dim):
    q, k, v = make(40, 300, head_dim=head_dim)
    k[..., 3] *= 20  # one dimension much larger than the others, as real models have them
    want = naive(q, k, v)
    got = attention(q, k, v, k_type=k_type, v_type=v_type, isa=isa)
    assert np.linalg.norm(got - want) <= bound * np.linalg.norm(want)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("options", [{}, {"window": 40}, {"softcap": 5.0}], ids=str)
@pytest.mark.parametrize("kv_type", ["f16", "int8", "q4"])
def test_results_do_not_depend_on_chunks_and_query_tiles(isa, kv_type, options):
    q, k, v = make(75, 600)
    options = {**options, "k_type": kv_type, "v_type": kv_type}
    whole = attention(q, k, v, isa=isa, **options)
    for max_queries in (3, 4, 15, 60, 96):
        same_bits(attention(q, k, v, isa=isa, max_queries=max_queries, **options), whole)
    for n, step in ((1, 6), (7, 7), (40, 40)):
        for t in range(0, 75, step):
            upto = 525 + min(t + n, 75)
            same_bits(attention(q[t : t + n], k[:upto], v[:upto], isa=isa, **options), whole[t : t + n])


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("kv_type", ["f16", "int8", "q4"])
def test_results_do_not_depend_on_invisible_keys(isa, kv_type):
    options = {"isa": isa, "k_type": kv_type, "v_type": kv_type}
    q, k, v = make(5, 90)
    clean = attention(q[:3], k[:88], v[:88], **options)
    k[88:], v[88:] = np.nan, np.inf
    same_bits(attention(q[:3], k, v, pos0=85, **options), clean)
    window = attention(q, k[:88], v[:88], window=20, **options)
    k[:64], v[:64] = np.inf, np.nan
    same_bits(attention(q, k[:88], v[:88], window=20, **options), window)


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("k_type", ["f16", "int8", "q4"])
def test_nan_in_a_visible_key_gives_nan(isa, k_type):
    q, k, v = make(4, 50)
    k[48] = np.nan
    got = attention(q, k, v, k_type=k_type, isa=isa)
    assert np.isfinite(got[:2]).all()
    assert np.isnan(got[2:]).all()


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("split", [0, 1, 2])
def test_a_split_with_scores_of_minus_infinity(isa, split):
    """Scores of -inf are not masked keys: the sum of their split is NaN, and the merge keeps it."""
    q, k, v = make(2, 3 * SPLIT)
    q[..., 0] = 1
    k[split * SPLIT : (split + 1) * SPLIT, :, 0] = -np.inf
    assert np.isnan(attention(q, k, v, pos0=3 * SPLIT - 2, k_type="f32", isa=isa)).all()


@pytest.mark.parametrize("isa", DEFINED)
@pytest.mark.parametrize("sign", [1, -1])
def test_results_do_not_depend_on_the_sign_of_zero(isa, sign):
    """Scores of +0 and -0, in either order, within and across tiles and splits: all keys have equal weight."""
    q, k, v = (
        np.full((1, 1, 2), 1e-30, np.float32),
        np.zeros((3 * SPLIT, 1, 2), np.float32),
        make(1, 3 * SPLIT, 1, 1)[2],
    )
    is_negative = np.random.default_rng(0).random(3 * SPLIT) < 0.5
    is_negative[: SPLIT + 70], is_negative[SPLIT + 70 : 2 * SPLIT + 10] = sign < 0, sign > 0
    k[..., 0] = np.where(is_negative, -1e-15, 1e-15)[:, None]
    got = attention(q, k, v, scale=1e-30, k_type="f32", v_type="f32", isa=isa)
    same_bits(got, attention(q, np.abs(k), v, scale=1e-30, k_type="f32", v_type="f32", isa=isa))
    np.testing.assert_allclose(got[0, 0], v[:, 0].mean(0), atol=1e-6)


@pytest.mark.parametrize("isa", DEFINED)
def test_a_query_without_visible_keys_is_nan(isa):
    q, k, v = make(1, 3)
    assert np.isnan(attention(q, k, v, pos0=40, window=8, isa=isa)).all()


def test_store_layout():
    x = np.arange(19 * 2 * 3, dtype=np.float32).reshape(19, 2, 3)
    k, v = store(x, "k", "f32"), store(x, "v", "f32")
    assert k.shape == (2, 2, 3, 16)
    assert v.shape == (2, 2, 16, 3)
    same_bits(k[1, 1, :, 2].copy(), x[18, 1])
    same_bits(v[0, 1, 15].copy(), x[15, 1])
    assert np.isnan(v[1, :, 3:]).all()


def test_types_and_bytes():
    """The list of types here, in C, and that of the params, which must not import the kernels."""
    assert list(KV_TYPES) == ["f32", "f16", "int8", "q4"]
    assert set(KV_TYPES) == set(get_args(KVType))
    assert [kv_bytes(name, 64) for name in KV_TYPES] == [16 * n for n in (256, 128, 68, 36)]
    assert kv_bytes("q4", 80) == kv_bytes("q4", 96)  # whole groups of 32


def test_clear_errors():
    q, k, v = make(2, 5)
    with pytest.raises(ValueError, match="k_type: 'q8' is no cache type; there are f32, f16, int8, q4"):
        attention(q, k, v, k_type="q8")
    with pytest.raises(ValueError, match="n_head a multiple of n_head_kv"):
        attention(q[:, :5].copy(), k, v)
    with pytest.raises(ValueError, match="q: needs float32"):
        attention(q.astype(np.float64), k, v)
    with pytest.raises(ValueError, match="max_queries: must be between the 3 query heads"):
        attention(q, k, v, max_queries=2)
    with pytest.raises(ValueError, match="q: heads of 769 elements; at most 768 are supported"):
        attention(*make(1, 1, head_dim=769))
    with pytest.raises(ValueError, match=r"reach: needs int32 \[2, 2\], got \(5, 2\)"):
        attention(q, k, v, reach=np.zeros((5, 2), np.int32))
    with pytest.raises(ValueError, match="pos0: position -3"):
        attention(q, k, v, pos0=-3)
    with pytest.raises(ValueError, match="neither 'k' nor 'v'"):
        store(k, "x")
