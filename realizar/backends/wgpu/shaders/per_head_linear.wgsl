// y[h] = W[h] x[h] for rows FIRST to FIRST + N_ROW of each head's matrix: an invocation for each output.
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.z;
    if (id.x >= N_ROW) { return; }
    let source_at = (id.y * X_LD + X_AT) / 4u + head * ROW_FOURS;
    let row = head * N_ROW_OF_HEAD + FIRST + id.x;
    var sum = 0.0;
    for (var c = 0u; c < ROW_FOURS; c += 1u) { sum += dot(four(row, c), x[source_at + c]); }
    y[id.y * Y_LD + Y_AT + head * N_ROW + id.x] = sum;
}
