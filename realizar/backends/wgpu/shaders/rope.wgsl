// Rotary position embedding of N_HEAD heads of DIM elements: see Graph.rope.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

fn source(i: u32) -> f32 { return x[i]; }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N_HEAD * DIM) { return; }
    var row = id.y;
    if (PICKED) { row = output_row(id.y); }
    let head = id.x / DIM;
    y[id.y * Y_LD + Y_AT + id.x] = rotated(row, id.y * X_LD + X_AT + head * DIM, id.x % DIM);
}
