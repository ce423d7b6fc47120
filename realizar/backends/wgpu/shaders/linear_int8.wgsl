// y = W x + b (+ residual) for N_ROW rows of the step at a time, with activations of int8 (quantize.wgsl). LANES
// invocations share a row of W; the order of a sum depends neither on N_ROW nor on the other rows of the step.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read> residual: array<f32>;
${STORE}

const N_OUT_OF_GROUP = INVOCATIONS / LANES;
var<workgroup> parts: array<f32, INVOCATIONS * N_ROW>;

fn dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let lane = id % LANES;
    let out = group.x * N_OUT_OF_GROUP + id / LANES;
    let row_of_w = min(out, N_OUT - 1u);
    let first = group.y * N_ROW;
    let end = min(first + N_ROW, ${N});
    var sums: array<f32, N_ROW>;
    for (var g = lane; g < GROUPS; g += LANES) {
        let at = row_of_w * GROUPS + g;
        let a = first_codes(at);
        let b = last_codes(at);
        let s = scale_of(row_of_w, 8u * g);
        var s_last = s;
        if (HALVES) { s_last = scale_of(row_of_w, 8u * g + 4u); }
        for (var t = 0u; t < N_ROW; t += 1u) {
            let x = 3u * (min(first + t, end - 1u) * GROUPS + g);
            let m = bitcast<vec4<f32>>(act[x + 2u]);
            if (HALVES) {
                let products = s.x * f32(dots(a, act[x])) + s_last.x * f32(dots(b, act[x + 1u]));
                sums[t] += m.x * products + (s.y * m.y + s_last.y * m.z);
            } else {
                sums[t] += m.x * (s.x * f32(dots(a, act[x]) + dots(b, act[x + 1u]))) + s.y * (m.y + m.z);
            }
        }
    }
    for (var t = 0u; t < N_ROW; t += 1u) { parts[t * INVOCATIONS + id] = sums[t]; }
    workgroupBarrier();
    let row = first + lane;
    if (lane >= N_ROW || row >= end || out >= N_OUT) { return; }
    var sum = 0.0;
    for (var i = 0u; i < LANES; i += 1u) { sum += parts[lane * INVOCATIONS + id - lane + i]; }
    if (HAS_BIAS) { sum += bias[FIRST_OUT + out]; }
    if (HAS_RESIDUAL) { sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out]; }
    store(row, FIRST_OUT + out, sum);
}
