// Copies SIZE elements of each of N_HEAD heads of a row; row m of the output may be that of output m of the step.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if (i >= N_HEAD * SIZE) { return; }
    var row = id.y;
    if (GATHERS) { row = output_row(id.y); }
    let head = i / SIZE;
    let d = i % SIZE;
    y[id.y * Y_LD + Y_AT + head * Y_DIM + Y_START + d] = x[row * X_LD + X_AT + head * X_DIM + X_START + d];
}
