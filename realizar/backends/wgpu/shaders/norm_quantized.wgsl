// Norms over a whole row of N elements, rounded to int8 (quantize.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read_write> act: array<u32>;
@group(1) @binding(4) var<storage, read_write> y: array<f32>;

const RMS_NORM = 0u;
const LAYER_NORM = 1u;
const INVOCATIONS = 256u;
const LANES = INVOCATIONS;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let start = row * X_LD + X_AT;
    var shift = 0.0;
    var part = 0.0;
    if (KIND == LAYER_NORM) {
        for (var i = lane; i < N; i += INVOCATIONS) { part += x[start + i]; }
        shift = total(lane, part) / f32(N);
        part = 0.0;
    }
    for (var i = lane; i < N; i += INVOCATIONS) {
        let v = x[start + i] - shift;
        part += v * v;
    }
    let scale = 1.0 / sqrt(total(lane, part) / f32(N) + EPS);
    for (var first = 0u; first < N; first += 4u * INVOCATIONS) {
        let i = first + 4u * lane;
        var v = vec4<f32>();
        if (i < N) {
            for (var j = 0u; j < 4u; j += 1u) {
                v[j] = (x[start + i + j] - shift) * scale;
                if (N_WEIGHT > 0u) { v[j] *= weight[i + j]; }
                if (N_BIAS > 0u) { v[j] += bias[i + j]; }
                if (KEEPS) { y[row * Y_LD + Y_AT + i + j] = v[j]; }
            }
        }
        quantize(lane, row, i, v);
    }
}
