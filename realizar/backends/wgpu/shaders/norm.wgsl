// A norm of each of the vectors of a row: one workgroup for a vector.
@group(1) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * N;
    let start = group.y * X_LD + X_AT + first;
    measure(lane, start);
    for (var i = 4u * lane; i < N; i += 4u * LANES) {
        let v = normalized(start, i, weights_of(i, first), biases_of(i, first));
        for (var j = 0u; j < min(4u, N - i); j += 1u) { y[group.y * Y_LD + Y_AT + first + i + j] = v[j]; }
    }
}
