// A norm of a whole row, rounded to int8 (round.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read_write> act: array<vec4<u32>>;
// if KEEPS
@group(1) @binding(4) var<storage, read_write> y: array<f32>;

fn keep(row: u32, i: u32, v: vec4<f32>) {
    if (i >= N) { return; }
    for (var j = 0u; j < 4u; j += 1u) { y[row * Y_LD + Y_AT + i + j] = v[j]; }
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.y * X_LD + X_AT;
    measure(lane, start);
    for (var first = 0u; first < N; first += 8u * LANES) {
        let i = first + 256u * (lane / 32u) + 4u * (lane % 32u);
        let a = normalized(start, i, 0u);
        let b = normalized(start, i + 128u, 0u);
// if KEEPS
        keep(group.y, i, a);
        keep(group.y, i + 128u, b);
// end
        round_eight(lane, i, N, group.y * 3u * (N / 32u), a, b);
    }
}
