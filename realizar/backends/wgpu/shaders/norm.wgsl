// A norm of each of the vectors of a row: one workgroup for a vector.
@group(1) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * N;
    normalize(lane, group.y * X_LD + X_AT + first, first);
    for (var m = 0u; m < OWN; m += 1u) {
        let i = element_of(lane, m);
        for (var j = 0u; j < 4u; j += 1u) {
            if (i + j < N) { y[group.y * Y_LD + Y_AT + first + i + j] = own[m][j]; }
        }
    }
}
