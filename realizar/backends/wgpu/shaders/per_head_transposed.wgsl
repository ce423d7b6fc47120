// y[h] = W[h]^T x[h] for rows FIRST to FIRST + N_ROW of each head's matrix: an invocation for four outputs.
@group(1) @binding(1) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.z;
    if (id.x >= ROW_FOURS) { return; }
    let source_at = id.y * X_LD + X_AT + head * N_ROW;
    var sum = vec4<f32>();
    for (var r = 0u; r < N_ROW; r += 1u) {
        sum += x[source_at + r] * four(head * N_ROW_OF_HEAD + FIRST + r, id.x);
    }
    let to = id.y * Y_LD + Y_AT + 4u * (head * ROW_FOURS + id.x);
    for (var j = 0u; j < 4u; j += 1u) { y[to + j] = sum[j]; }
}
