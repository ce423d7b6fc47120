// A causal convolution over the rows of a sequence: N_TAP taps for each of N channels. `past` has the rows before the step.
@group(1) @binding(1) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read> weight: array<f32>;
@group(1) @binding(3) var<storage, read> bias: array<f32>;
@group(1) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N) { return; }
    let run = run_of(sequence(id.y));
    var sum = 0.0;
    if (HAS_BIAS) { sum = bias[id.x]; }
    for (var j = 0u; j < N_TAP; j += 1u) {
        sum += weight[id.x * N_TAP + j] * row_before(run, i32(id.y) - i32(N_TAP - 1u - j), id.x);
    }
    y[id.y * Y_LD + Y_AT + id.x] = select(sum, silu(sum), IS_SILU);
}
