// The selective scan: h = exp(dt a) h + dt x b and y = c h + d x with dt = softplus(dt + bias). An outer row of the state
// is a channel, of which a head has several.
@group(1) @binding(2) var<storage, read> x: array<f32>;
@group(1) @binding(3) var<storage, read> dt: array<f32>;
@group(1) @binding(4) var<storage, read> b: array<f32>;
@group(1) @binding(5) var<storage, read> c: array<f32>;
@group(1) @binding(6) var<storage, read> a: array<f32>;
@group(1) @binding(7) var<storage, read> d: array<f32>;
@group(1) @binding(8) var<storage, read> bias: array<f32>;

fn update(row: u32, outer: u32, lane: u32, id: u32) -> f32 {
    let head = outer / (N_OUTER / N_HEAD);
    let of_group = head / (N_HEAD / N_GROUP) * N_INNER;
    var raw = dt[row * DT_LD + DT_AT + head];
    if (HAS_BIAS) { raw += bias[head]; }
    let step_size = softplus(raw);
    let input = x[row * X_LD + X_AT + outer];
    var part = 0.0;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * LANES + lane;
        if (i >= N_INNER) { continue; }
        let rate = a[head * N_A + select(0u, i, N_A > 1u)];
        state[m] = state[m] * exp(step_size * rate) + step_size * input * b[row * B_LD + B_AT + of_group + i];
        part += state[m] * c[row * C_LD + C_AT + of_group + i];
    }
    return sum_of_lanes(id, part) + d[head] * input;
}
