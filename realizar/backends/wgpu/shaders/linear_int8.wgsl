// y = W x + b (+ residual) for N_ROW rows of the step at a time, with activations of int8 (quantize.wgsl). A team of LANES
// invocations computes R rows of W; the order of a sum depends neither on R, N_ROW nor on the other rows of the step.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read> residual: array<f32>;
${STORE}

const TEAMS = INVOCATIONS / LANES;
var<workgroup> parts: array<f32, INVOCATIONS * N_ROW * R>;

fn dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let lane = id % LANES;
    let first_out = (group.x * TEAMS + id / LANES) * R;
    let first = group.y * N_ROW;
    let end = min(first + N_ROW, ${N});
    var sums: array<f32, N_ROW * R>;
    for (var g = lane; g < GROUPS; g += LANES) {
        var a: array<vec4<u32>, R>;
        var b: array<vec4<u32>, R>;
        var s: array<vec2<f32>, R>;
        var s_last: array<vec2<f32>, R>;
        for (var r = 0u; r < R; r += 1u) {
            let row_of_w = min(first_out + r, N_OUT - 1u);
            a[r] = first_codes(row_of_w * GROUPS + g);
            b[r] = last_codes(row_of_w * GROUPS + g);
            s[r] = scale_of(row_of_w, 8u * g);
            if (HALVES) { s_last[r] = scale_of(row_of_w, 8u * g + 4u); }
        }
        for (var t = 0u; t < N_ROW; t += 1u) {
            let x = 3u * (min(first + t, end - 1u) * GROUPS + g);
            let x_first = act[x];
            let x_last = act[x + 1u];
            let m = bitcast<vec4<f32>>(act[x + 2u]);
            for (var r = 0u; r < R; r += 1u) {
                if (HALVES) {
                    let products = s[r].x * f32(dots(a[r], x_first)) + s_last[r].x * f32(dots(b[r], x_last));
                    sums[t * R + r] += m.x * products + (s[r].y * m.y + s_last[r].y * m.z);
                } else {
                    let product = s[r].x * f32(dots(a[r], x_first) + dots(b[r], x_last));
                    sums[t * R + r] += m.x * product + s[r].y * (m.y + m.z);
                }
            }
        }
    }
    for (var i = 0u; i < N_ROW * R; i += 1u) { parts[i * INVOCATIONS + id] = sums[i]; }
    workgroupBarrier();
    let row = first + lane / R;
    let out = first_out + lane % R;
    if (lane >= N_ROW * R || row >= end || out >= N_OUT) { return; }
    var sum = 0.0;
    for (var i = 0u; i < LANES; i += 1u) { sum += parts[lane * INVOCATIONS + id - lane + i]; }
    if (HAS_BIAS) { sum += bias[FIRST_OUT + out]; }
    if (HAS_RESIDUAL) { sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out]; }
    store(row, FIRST_OUT + out, sum);
}
