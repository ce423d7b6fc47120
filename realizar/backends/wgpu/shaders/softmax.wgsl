// Softmax over N elements: one workgroup for one of the vectors of a row.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.y * X_LD + X_AT + group.x * N;
    let to = group.y * Y_LD + Y_AT + group.x * N;
    var part = -3.4028235e38;
    for (var i = lane; i < N; i += LANES) { part = max(part, x[start + i]); }
    let most = greatest(lane, part);
    part = 0.0;
    for (var i = lane; i < N; i += LANES) { part += exp(x[start + i] - most); }
    let scale = 1.0 / total(lane, part);
    for (var i = lane; i < N; i += LANES) { y[to + i] = exp(x[start + i] - most) * scale; }
}
