// Factors of a recurrent state: y = exp(a softplus(x + bias)), with a bound exp(bound sigmoid(a (x + bias))).
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> bias: array<f32>;
@group(1) @binding(2) var<storage, read> a: array<f32>;
@group(1) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N) { return; }
    let shifted = x[id.y * X_LD + X_AT + id.x] + bias[id.x];
    var factor = 1.0;
    if (N_A > 0u) { factor = a[id.x / (N / max(N_A, 1u))]; }
    let exponent = select(factor * softplus(shifted), BOUND / (1.0 + exp(-factor * shifted)), BOUND != 0.0);
    y[id.y * Y_LD + Y_AT + id.x] = exp(exponent);
}
