"""The kernels without weights on numpy arrays, for tests and tools."""

import numpy as np

from realizar._kernels.table cimport (
    RZ_LOGITS_BLOCK, kernels, rz_binary_fn, rz_kernels, rz_scaled_fn, rz_unary_fn,
)

cdef extern from "realizar/scalar/math.h" nogil:
    float exp_f32(float x)
    float tanh_f32(float x)

cdef extern from "realizar/scalar/rope_table.h" nogil:
    void rope_table_f32(const float *inv_freq, size_t half, float position, float mscale, float *cos, float *sin)


def _f32(str name, x, shape=None):
    """Return x as a contiguous, non-empty float32 array, checked for this shape unless it is None."""
    array = np.asarray(x)
    if array.dtype != np.float32 or array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name}: needs a float32 array that is not empty, got {array.dtype} of shape {array.shape}")
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{name}: needs shape {tuple(shape)}, got {array.shape}")
    return np.ascontiguousarray(array)


def _rows(array):
    """The array as [n_rows, n], n being its last axis; a view."""
    *_, n = array.shape
    return array.reshape(-1, n)


# ---- normalization --------------------------------------------------------------------------------------------------

def rms_norm(x, w=None, float eps=1e-5, str isa=None):
    """RMS normalization: x / sqrt(mean(x^2) + eps) * w.

    Parameters
    ----------
    x : float32 [..., n]
    w : float32 [n], optional
    eps : float
    isa : str, optional
        An ISA level of `table.available()`; by default the one in use.

    Returns
    -------
    float32 [..., n]
    """
    cdef const rz_kernels *table = kernels(isa)
    source = _f32("x", x)
    out = np.empty_like(source)
    cdef const float[:, ::1] rows = _rows(source)
    cdef float[:, ::1] y = _rows(out)
    cdef size_t n = rows.shape[1], i
    cdef const float[::1] weight
    cdef const float *pw = NULL
    if w is not None:
        weight = _f32("w", w, (n,))
        pw = &weight[0]
    with nogil:
        for i in range(<size_t> rows.shape[0]):
            table.rms_norm(&rows[i, 0], pw, eps, n, &y[i, 0])
    return out


def layer_norm(x, w=None, b=None, float eps=1e-5, str isa=None):
    """Layer normalization: (x - mean) / sqrt(var + eps) * w + b.

    Parameters
    ----------
    x : float32 [..., n]
    w, b : float32 [n], optional
    eps : float
    isa : str, optional
        See `rms_norm`.

    Returns
    -------
    float32 [..., n]
    """
    cdef const rz_kernels *table = kernels(isa)
    source = _f32("x", x)
    out = np.empty_like(source)
    cdef const float[:, ::1] rows = _rows(source)
    cdef float[:, ::1] y = _rows(out)
    cdef size_t n = rows.shape[1], i
    cdef const float[::1] weight, bias
    cdef const float *pw = NULL
    cdef const float *pb = NULL
    if w is not None:
        weight = _f32("w", w, (n,))
        pw = &weight[0]
    if b is not None:
        bias = _f32("b", b, (n,))
        pb = &bias[0]
    with nogil:
        for i in range(<size_t> rows.shape[0]):
            table.layer_norm(&rows[i, 0], pw, pb, eps, n, &y[i, 0])
    return out


cdef _each_row(rz_unary_fn *of, x):
    source = _f32("x", x)
    out = np.empty_like(source)
    cdef const float[:, ::1] rows = _rows(source)
    cdef float[:, ::1] y = _rows(out)
    cdef size_t i
    with nogil:
        for i in range(<size_t> rows.shape[0]):
            of(&rows[i, 0], rows.shape[1], &y[i, 0])
    return out


def softmax(x, str isa=None):
    """exp(x - max) / sum over the last axis; float32 [..., n] to the same."""
    return _each_row(kernels(isa).softmax, x)


# ---- elementwise -----------------------------------------------------------------------------------------------------

cdef _binary(rz_binary_fn *of, str name, x, str name2, x2):
    source = _f32(name, x)
    cdef const float[::1] px = source.ravel()
    cdef const float[::1] px2 = _f32(name2, x2, source.shape).ravel()
    out = np.empty_like(source)
    cdef float[::1] y = out.ravel()
    with nogil:
        of(&px[0], &px2[0], px.shape[0], &y[0])
    return out


cdef _scaled(rz_scaled_fn *of, x, float s):
    source = _f32("x", x)
    cdef const float[::1] px = source.ravel()
    out = np.empty_like(source)
    cdef float[::1] y = out.ravel()
    with nogil:
        of(&px[0], s, px.shape[0], &y[0])
    return out


def add(a, b, str isa=None):
    """a + b; float32 arrays of one shape."""
    return _binary(kernels(isa).add, "a", a, "b", b)


def mul(a, b, str isa=None):
    """a * b; float32 arrays of one shape."""
    return _binary(kernels(isa).mul, "a", a, "b", b)


def scale(x, float s, str isa=None):
    """x * s; float32 of any shape."""
    return _scaled(kernels(isa).scale, x, s)


def clamp(x, float s, str isa=None):
    """x, or the bound of [-s, s] next to it; float32 of any shape."""
    return _scaled(kernels(isa).clamp, x, s)


def softcap(x, float s, str isa=None):
    """s * tanh(x / s); float32 of any shape."""
    return _scaled(kernels(isa).softcap, x, s)


def silu(x, str isa=None):
    """x * sigmoid(x); float32 of any shape."""
    return _each_row(kernels(isa).silu, x)


def gelu(x, str isa=None):
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); float32 of any shape."""
    return _each_row(kernels(isa).gelu, x)


def gelu_erf(x, str isa=None):
    """0.5 x (1 + erf(x / sqrt(2))); float32 of any shape."""
    return _each_row(kernels(isa).gelu_erf, x)


def sigmoid(x, str isa=None):
    """1 / (1 + exp(-x)); float32 of any shape."""
    return _each_row(kernels(isa).sigmoid, x)


def relu(x, str isa=None):
    """max(x, 0); float32 of any shape."""
    return _each_row(kernels(isa).relu, x)


def softplus(x, str isa=None):
    """ln(1 + exp(x)); float32 of any shape."""
    return _each_row(kernels(isa).softplus, x)


def elu(x, str isa=None):
    """x above zero, exp(x) - 1 below; float32 of any shape."""
    return _each_row(kernels(isa).elu, x)


def silu_mul(gate, up, str isa=None):
    """silu(gate) * up; float32 arrays of one shape."""
    return _binary(kernels(isa).silu_mul, "gate", gate, "up", up)


def gelu_mul(gate, up, str isa=None):
    """gelu(gate) * up; float32 arrays of one shape."""
    return _binary(kernels(isa).gelu_mul, "gate", gate, "up", up)


def gelu_erf_mul(gate, up, str isa=None):
    """gelu_erf(gate) * up; float32 arrays of one shape."""
    return _binary(kernels(isa).gelu_erf_mul, "gate", gate, "up", up)


def swiglu_oai(gate, up, str isa=None):
    """gate / (1 + exp(-1.702 gate)) * (up + 1), gate at most 7 and up within 7 of zero; float32 arrays of one shape."""
    return _binary(kernels(isa).swiglu_oai, "gate", gate, "up", up)


def decay(x, a, b, float bound=0.0, str isa=None):
    """exp(a * softplus(x + b)), with a bound exp(bound * sigmoid(a * (x + b))); float32 arrays of one shape."""
    cdef const rz_kernels *table = kernels(isa)
    source = _f32("x", x)
    cdef const float[::1] px = source.ravel(), pa = _f32("a", a, source.shape).ravel()
    cdef const float[::1] pb = _f32("b", b, source.shape).ravel()
    out = np.empty_like(source)
    cdef float[::1] y = out.ravel()
    with nogil:
        table.decay(&px[0], &pa[0], &pb[0], bound, px.shape[0], &y[0])
    return out


cdef _each_element(float (*of)(float) noexcept nogil, x):
    source = _f32("x", x)
    out = np.empty_like(source)
    cdef const float[::1] px = source.ravel()
    cdef float[::1] y = out.ravel()
    cdef Py_ssize_t i
    with nogil:
        for i in range(px.shape[0]):
            y[i] = of(px[i])
    return out


def exp(x):
    """The exp of every ISA level; float32 of any shape, within 1 ulp."""
    return _each_element(exp_f32, x)


def tanh(x):
    """The tanh of every ISA level; float32 of any shape, within 2 ulp."""
    return _each_element(tanh_f32, x)


# ---- rope and convolution -------------------------------------------------------------------------------------------

def rope_table(inv_freq, positions, float mscale=1.0):
    """cos and sin of position * inv_freq, the product taken in float32, times mscale.

    Parameters
    ----------
    inv_freq : float32 [half]
        Radians per position.
    positions : float32 [n]
    mscale : float

    Returns
    -------
    cos, sin : float32 [n, half]
    """
    cdef const float[::1] freq = _f32("inv_freq", inv_freq).ravel()
    cdef const float[::1] where = _f32("positions", positions).ravel()
    cdef size_t half = freq.shape[0], i
    cos = np.empty((where.shape[0], half), np.float32)
    sin = np.empty_like(cos)
    cdef float[:, ::1] c = cos, s = sin
    with nogil:
        for i in range(<size_t> where.shape[0]):
            rope_table_f32(&freq[0], half, where[i], mscale, &c[i, 0], &s[i, 0])
    return cos, sin


def rope(x, cos, sin, str style="neox", str isa=None):
    """Rotate the first 2 * half elements of each head; the others are copied.

    Parameters
    ----------
    x : float32 [n_tokens, n_head, head_dim]
    cos, sin : float32 [n_tokens, half]
        From `rope_table`.
    style : {"neox", "norm"}
        Pairs (i, i + half), or pairs (2i, 2i + 1).
    isa : str, optional
        See `rms_norm`.

    Returns
    -------
    float32 [n_tokens, n_head, head_dim]
    """
    cdef const rz_kernels *table = kernels(isa)
    if style not in ("neox", "norm"):
        raise ValueError(f"style: {style!r} is neither 'neox' nor 'norm'")
    out = _f32("x", x, np.shape(x)[:3]).copy()
    cdef float[:, :, ::1] y = out
    cdef const float[:, ::1] c = _f32("cos", cos, (out.shape[0], *np.shape(cos)[1:2]))
    cdef const float[:, ::1] s = _f32("sin", sin, np.shape(cos))
    cdef size_t half = c.shape[1], t, h
    if 2 * half > <size_t> y.shape[2]:
        raise ValueError(f"cos: {half} pairs do not fit into a head of {y.shape[2]} elements")
    cdef bint neox = style == "neox"
    with nogil:
        for t in range(<size_t> y.shape[0]):
            for h in range(<size_t> y.shape[1]):
                if neox:
                    table.rope_neox(&y[t, h, 0], &c[t, 0], &s[t, 0], half, &y[t, h, 0])
                else:
                    table.rope_norm(&y[t, h, 0], &c[t, 0], &s[t, 0], half, &y[t, h, 0])
    return out


# ---- logits ---------------------------------------------------------------------------------------------------------

def logit_blocks(x, str isa=None):
    """Return, for each block of 64 logits, the greatest, the sum of e**(x - greatest), and that times greatest - x.

    Parameters
    ----------
    x : float32 [n]
    isa : str, optional
        See `rms_norm`.

    Returns
    -------
    greatest, sum, fall : float32 [ceil(n / 64)]
    """
    cdef const rz_kernels *table = kernels(isa)
    cdef const float[::1] source = _f32("x", x, np.shape(x)[:1])
    out = np.empty((3, (len(source) + RZ_LOGITS_BLOCK - 1) // RZ_LOGITS_BLOCK), np.float32)
    cdef float[:, ::1] y = out
    with nogil:
        table.logit_sums(&source[0], source.shape[0], &y[0, 0], &y[1, 0])
        table.logit_falls(&source[0], source.shape[0], &y[0, 0], &y[2, 0])
    return out[0], out[1], out[2]


def logit_weights(x, float peak, str isa=None):
    """e**(x - peak), where no x is above the peak.

    Parameters
    ----------
    x : float32 [...]
    peak : float
    isa : str, optional
        See `rms_norm`.

    Returns
    -------
    float32 [...]
    """
    return _scaled(kernels(isa).logit_weights, x, peak)


# ---- convolution ----------------------------------------------------------------------------------------------------

def conv_step(rows, w, b=None, str isa=None):
    """One step of a depthwise causal convolution: y[c] = b[c] + sum_j w[j, c] * rows[j, c].

    Parameters
    ----------
    rows : float32 [n_tap, n_channel]
        Oldest first.
    w : float32 [n_tap, n_channel]
    b : float32 [n_channel], optional
    isa : str, optional
        See `rms_norm`.

    Returns
    -------
    float32 [n_channel]
    """
    cdef const rz_kernels *table = kernels(isa)
    source = _f32("rows", rows, np.shape(rows)[:2])
    cdef const float[:, ::1] taps = source
    cdef const float[:, ::1] weight = _f32("w", w, source.shape)
    cdef const float[::1] bias = source[0] if b is None else _f32("b", b, source.shape[1:])
    cdef const float *offset = NULL
    if b is not None:
        offset = &bias[0]
    addresses = np.array([<size_t> &taps[j, 0] for j in range(taps.shape[0])], np.uintp)
    cdef const size_t[::1] pointers = addresses
    out = np.empty(taps.shape[1], np.float32)
    cdef float[::1] y = out
    with nogil:
        table.conv_step(<const float *const *> &pointers[0], &weight[0, 0], taps.shape[1], offset, taps.shape[0],
                        taps.shape[1], &y[0])
    return out
