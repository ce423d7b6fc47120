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
    var own = eight_of(lane, 0u);
    measure(lane, start);
    for (var first = 0u; first < N; first += 8u * LANES) {
        if (first > 0u) { own = eight_of(lane, first); }
        let a = first_four(start, own);
        let b = last_four(start, own);
// if KEEPS
        keep(group.y, own.i, a);
        keep(group.y, own.i + 128u, b);
// end
        round_eight(lane, own.i, N, group.y * 3u * (N / 32u), a, b);
    }
}
