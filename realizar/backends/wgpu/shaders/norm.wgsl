// Norms and softmax over N elements: one workgroup computes one of the vectors of a row.
@group(1) @binding(0) var<storage, read> x: array<f32>;
// if N_WEIGHT
@group(1) @binding(1) var<storage, read> weight: array<f32>;
// end
// if N_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
@group(1) @binding(3) var<storage, read_write> y: array<f32>;

const RMS_NORM = 0u;
const LAYER_NORM = 1u;
const SOFTMAX = 2u;
const LANES = 128u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.y * X_LD + X_AT + group.x * N;
    let to = group.y * Y_LD + Y_AT + group.x * N;
    var shift = 0.0;
    var part = 0.0;
    if (KIND == SOFTMAX) {
        part = -3.4028235e38;
        for (var i = lane; i < N; i += LANES) { part = max(part, x[start + i]); }
        shift = greatest(lane, part);
        part = 0.0;
        for (var i = lane; i < N; i += LANES) { part += exp(x[start + i] - shift); }
        let scale = 1.0 / total(lane, part);
        for (var i = lane; i < N; i += LANES) { y[to + i] = exp(x[start + i] - shift) * scale; }
        return;
    }
    if (KIND == LAYER_NORM) {
        for (var i = lane; i < N; i += LANES) { part += x[start + i]; }
        shift = total(lane, part) / f32(N);
        part = 0.0;
    }
    for (var i = lane; i < N; i += LANES) {
        let v = x[start + i] - shift;
        part += v * v;
    }
    let scale = 1.0 / sqrt(total(lane, part) / f32(N) + EPS);
    for (var i = lane; i < N; i += LANES) {
        var v = (x[start + i] - shift) * scale;
// if N_WEIGHT
        v *= weight[(group.x * N + i) % N_WEIGHT];
// end
// if N_BIAS
        v += bias[(group.x * N + i) % N_BIAS];
// end
        y[to + i] = v;
    }
}
