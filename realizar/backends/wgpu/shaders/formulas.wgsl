// Functions of one number, which elementwise ops are made of.

// exp overflows in a GPU's tanh: beyond 15 it is 1 in float32.
fn tanh_of(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }

fn silu(x: f32) -> f32 { return x / (1.0 + exp(-x)); }

fn gelu(x: f32) -> f32 { return 0.5 * x * (1.0 + tanh_of(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

// The error function: near 0 its Taylor series, elsewhere a Chebyshev fit of erfc with a relative error of 1.2e-7
// (W. H. Press et al., Numerical Recipes, section 6.2).
fn erf_of(x: f32) -> f32 {
    if (abs(x) < 0.5) {
        let s = x * x;
        return 1.1283791670955126 * x * (1.0 - s * (0.3333333333333333 - s * (0.1 - s * (0.023809523809523808
            - s * (0.004629629629629629 - s * 0.0007575757575757576)))));
    }
    let z = abs(x);
    let t = 1.0 / (1.0 + 0.5 * z);
    let p = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
        + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    return sign(x) * (1.0 - t * exp(-z * z + p));
}

fn gelu_erf(x: f32) -> f32 { return 0.5 * x * (1.0 + erf_of(0.7071067811865476 * x)); }

fn softplus(x: f32) -> f32 { return max(x, 0.0) + log_of_one_plus(exp(-abs(x))); }

// ln(1 + x) for x in [0, 1]; the quotient corrects the rounding of 1 + x.
fn log_of_one_plus(x: f32) -> f32 {
    let u = 1.0 + x;
    if (u == 1.0) { return x; }
    return log(u) * (x / (u - 1.0));
}

// exp(x) - 1 for x <= 0, near 0 by its Taylor series.
fn exp_minus_one(x: f32) -> f32 {
    if (x > -0.25) {
        return x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * 0.0013888889)))));
    }
    return exp(x) - 1.0;
}
