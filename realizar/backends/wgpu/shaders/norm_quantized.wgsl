// Norms over a whole row of N elements, rounded to int8 (quantize.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read> x: array<f32>;
// if N_WEIGHT
@group(1) @binding(1) var<storage, read> weight: array<f32>;
// end
// if N_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
@group(1) @binding(3) var<storage, read_write> act: array<u32>;
// if KEEPS
@group(1) @binding(4) var<storage, read_write> y: array<f32>;
// end

const RMS_NORM = 0u;
const LAYER_NORM = 1u;
const INVOCATIONS = 256u;
const LANES = INVOCATIONS;
const OWN = (N + 4u * INVOCATIONS - 1u) / (4u * INVOCATIONS);

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let start = row * X_LD + X_AT;
    var own: array<vec4<f32>, OWN>;
    for (var m = 0u; m < OWN; m += 1u) {
        let i = 4u * (m * INVOCATIONS + lane);
        if (i < N) { own[m] = vec4<f32>(x[start + i], x[start + i + 1u], x[start + i + 2u], x[start + i + 3u]); }
    }
    var part = 0.0;
    if (KIND == LAYER_NORM) {
        for (var m = 0u; m < OWN; m += 1u) { part += dot(own[m], vec4<f32>(1.0)); }
        let mean = total(lane, part) / f32(N);
        part = 0.0;
        for (var m = 0u; m < OWN; m += 1u) {
            if (4u * (m * INVOCATIONS + lane) < N) { own[m] -= mean; }
        }
    }
    for (var m = 0u; m < OWN; m += 1u) { part += dot(own[m], own[m]); }
    let scale = 1.0 / sqrt(total(lane, part) / f32(N) + EPS);
    for (var m = 0u; m < OWN; m += 1u) {
        let i = 4u * (m * INVOCATIONS + lane);
        var v = own[m] * scale;
        if (i < N) {
            for (var j = 0u; j < 4u; j += 1u) {
// if N_WEIGHT
                v[j] *= weight[i + j];
// end
// if N_BIAS
                v[j] += bias[i + j];
// end
// if KEEPS
                y[row * Y_LD + Y_AT + i + j] = v[j];
// end
            }
        }
        quantize(lane, row, i, v);
    }
}
