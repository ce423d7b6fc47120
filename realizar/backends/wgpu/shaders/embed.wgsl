// y = SCALE * the row of a table that belongs to a row of the step.
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= ROW_FOURS) { return; }
    let row = ${ROW};
    let found = four(row, id.x) * SCALE;
    for (var j = 0u; j < 4u && 4u * id.x + j < N; j += 1u) { y[id.y * Y_LD + Y_AT + 4u * id.x + j] = found[j]; }
}
