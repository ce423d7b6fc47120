// The gated delta rule: S = S' + u k^T with S' = S diag(decay) and u = beta (v - S' k); y = S q. An outer row of the
// state is one element of the values of a head.
@group(1) @binding(2) var<storage, read> q: array<f32>;
@group(1) @binding(3) var<storage, read> k: array<f32>;
@group(1) @binding(4) var<storage, read> v: array<f32>;
@group(1) @binding(5) var<storage, read> decay: array<f32>;
@group(1) @binding(6) var<storage, read> beta: array<f32>;

fn update(row: u32, outer: u32, lane: u32, id: u32) -> f32 {
    let head = outer / DIM_V;
    var head_k = head / (N_HEAD / N_HEAD_K);
    if (TILED) { head_k = head % N_HEAD_K; }
    let of_q = row * Q_LD + Q_AT + head_k * N_INNER;
    let of_k = row * K_LD + K_AT + head_k * N_INNER;
    let of_decay = row * DECAY_LD + DECAY_AT + head * N_DECAY;
    var part = 0.0;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * LANES + lane;
        if (i >= N_INNER) { continue; }
        state[m] *= decay[of_decay + select(0u, i, N_DECAY > 1u)];
        part += state[m] * k[of_k + i];
    }
    let seen = sum_of_lanes(id, part);
    let u = beta[row * BETA_LD + BETA_AT + head] * (v[row * V_LD + V_AT + outer] - seen);
    part = 0.0;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * LANES + lane;
        if (i >= N_INNER) { continue; }
        state[m] += u * k[of_k + i];
        part += state[m] * q[of_q + i];
    }
    return sum_of_lanes(id, part);
}
