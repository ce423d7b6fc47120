// The generalized delta rule: S = S diag(decay) + (S a) b^T + v k^T; y = S q. An outer row of the state is one element of
// the values of a head.
@group(1) @binding(2) var<storage, read> q: array<f32>;
@group(1) @binding(3) var<storage, read> k: array<f32>;
@group(1) @binding(4) var<storage, read> v: array<f32>;
@group(1) @binding(5) var<storage, read> decay: array<f32>;
@group(1) @binding(6) var<storage, read> a: array<f32>;
@group(1) @binding(7) var<storage, read> b: array<f32>;

fn update(row: u32, outer: u32, lane: u32, id: u32) -> f32 {
    let first = outer / DIM_V * N_INNER;
    var part = 0.0;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * LANES + lane;
        if (i < N_INNER) { part += state[m] * a[row * A_LD + A_AT + first + i]; }
    }
    let removed = sum_of_lanes(id, part);
    let value = v[row * V_LD + V_AT + outer];
    part = 0.0;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * LANES + lane;
        if (i >= N_INNER) { continue; }
        state[m] = state[m] * decay[row * DECAY_LD + DECAY_AT + first + i]
            + removed * b[row * B_LD + B_AT + first + i] + value * k[row * K_LD + K_AT + first + i];
        part += state[m] * q[row * Q_LD + Q_AT + first + i];
    }
    return sum_of_lanes(id, part);
}
