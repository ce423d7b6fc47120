// A norm of a whole row, rounded to int8 (round.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read_write> act: array<vec4<u32>>;
// if KEEPS
@group(1) @binding(4) var<storage, read_write> y: array<f32>;
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    normalize(lane, group.y * X_LD + X_AT, 0u);
    for (var m = 0u; m < OWN; m += 2u) {
        let i = element_of(lane, m);
// if KEEPS
        if (i < N) {
            let to = group.y * Y_LD + Y_AT + i;
            for (var j = 0u; j < 4u; j += 1u) {
                y[to + j] = own[m][j];
                y[to + 4u + j] = own[m + 1u][j];
            }
        }
// end
        round_eight(lane, i, N, (group.y * N + i) / 32u, own[m], own[m + 1u]);
    }
}
