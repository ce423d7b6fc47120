// Mixes of each row with the previous one: y_j = x + w_j (previous - x), for N_MIX rows of N weights one after another.
@group(1) @binding(1) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read> weight: array<f32>;
@group(1) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N * N_MIX) { return; }
    let run = run_of(sequence(id.y));
    let own = x[id.y * X_LD + X_AT + id.x % N];
    y[id.y * Y_LD + Y_AT + id.x] = own + weight[id.x] * (row_before(run, i32(id.y) - 1, id.x % N) - own);
}
