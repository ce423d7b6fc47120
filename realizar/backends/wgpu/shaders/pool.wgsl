// For each output of the step the first row of its sequence, or the mean of its rows; all of them are in the step.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N) { return; }
    let s = sequence(output_row(id.y));
    let first = u32(first_of_sequence(s));
    var n = 1u;
    if (IS_MEAN) { n = u32(n_of_sequence(s)); }
    var sum = 0.0;
    for (var row = first; row < first + n; row += 1u) { sum += x[row * X_LD + X_AT + id.x]; }
    y[id.y * Y_LD + Y_AT + id.x] = sum / f32(n);
}
