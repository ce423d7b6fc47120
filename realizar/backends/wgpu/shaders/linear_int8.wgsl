// y = W x + b (+ residual) for N_ROW rows of the step at a time, with activations of int8 (quantize.wgsl). A team of LANES
// invocations computes a row of W; the order of a sum depends neither on N_ROW nor on the other rows of the step.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// if HAS_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
// if HAS_RESIDUAL
@group(1) @binding(3) var<storage, read> residual: array<f32>;
// end
${STORE}

const TEAMS = INVOCATIONS / LANES;
// if USES_MEMORY
var<workgroup> parts: array<f32, INVOCATIONS * N_ROW>;
// end

// The row of the step that is row t of a workgroup.
fn row_of(first: u32, t: u32) -> u32 {
    if (N_ROW == 1u) { return first; }
    return min(first + t, ${N} - 1u);
}

fn dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let lane = id % LANES;
    let out = group.x * TEAMS + id / LANES;
    let first = group.y * N_ROW;
    let row_of_w = min(out, N_OUT - 1u);
    var sums: array<f32, N_ROW>;
    for (var g = lane; g < GROUPS; g += LANES) {
        let a = first_codes(row_of_w * GROUPS + g);
        let b = last_codes(row_of_w * GROUPS + g);
        let s = scale_of(row_of_w, 8u * g);
        var s_last = s;
        if (HALVES) { s_last = scale_of(row_of_w, 8u * g + 4u); }
        for (var t = 0u; t < N_ROW; t += 1u) {
            let x = 3u * (row_of(first, t) * GROUPS + g);
            let m = bitcast<vec4<f32>>(act[x + 2u]);
            if (HALVES) {
                let products = s.x * f32(dots(a, act[x])) + s_last.x * f32(dots(b, act[x + 1u]));
                sums[t] += m.x * products + (s.y * m.y + s_last.y * m.z);
            } else {
                sums[t] += m.x * (s.x * f32(dots(a, act[x]) + dots(b, act[x + 1u]))) + s.y * (m.y + m.z);
            }
        }
    }
    var sum = 0.0;
// if HAS_SUBGROUPS
    for (var i = 0u; i < N_ROW; i += 1u) {
        var total = sums[i];
        for (var half = LANES / 2u; half > 0u; half /= 2u) { total += subgroupShuffleXor(total, half); }
        if (i == lane) { sum = total; }
    }
// end
// if USES_MEMORY
    for (var i = 0u; i < N_ROW; i += 1u) { parts[i * INVOCATIONS + id] = sums[i]; }
    workgroupBarrier();
    if (lane < N_ROW) {
        for (var i = 0u; i < LANES; i += 1u) { sum += parts[lane * INVOCATIONS + id - lane + i]; }
    }
// end
    let row = row_of(first, lane);
    if (lane >= N_ROW || row != first + lane || out >= N_OUT) { return; }
// if HAS_BIAS
    sum += bias[FIRST_OUT + out];
// end
// if HAS_RESIDUAL
    sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out];
// end
    store(row, FIRST_OUT + out, sum);
}
