// y[h] = W[h] x[h] for rows FIRST to FIRST + N_ROW of each head's matrix: an invocation for each output. The input is
// float32, or int8 (round.wgsl).
// if IS_FLOAT
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
// end
// if IS_INT8
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// end
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.z;
    if (id.x >= N_ROW) { return; }
    let row = head * N_ROW_OF_HEAD + FIRST + id.x;
    var sum = 0.0;
// if IS_FLOAT
    let at = (id.y * X_LD + X_AT) / 4u + head * ROW_FOURS;
    for (var c = 0u; c < ROW_FOURS; c += 1u) { sum += dot(four(row, c), x[at + c]); }
// end
// if IS_INT8
    let plane = X_N / 32u;
    let at = 3u * plane * id.y + head * GROUPS;
    for (var g = 0u; g < GROUPS; g += 1u) {
        let m = bitcast<vec4<f32>>(act[at + 2u * plane + g]);
        sum += product_of(group_of(row, g), act[at + g], act[at + plane + g], m);
    }
// end
    y[id.y * Y_LD + Y_AT + head * N_ROW + id.x] = sum;
}
