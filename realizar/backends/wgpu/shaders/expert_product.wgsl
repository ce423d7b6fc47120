// Products with the experts that a row has chosen. One dispatch computes y = f(gate, W_e x) for each rank of a row (the
// third dimension), or, if SUMS, the sum of the ranks' products with their weights, in the order of the ranks. The input
// is float32, or int8 (round.wgsl).
// if IS_FLOAT
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
// end
// if IS_INT8
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// end
@group(1) @binding(2) var<storage, read> ids: array<f32>;
@group(1) @binding(3) var<storage, read> bias: array<f32>;
@group(1) @binding(4) var<storage, read> expert_scales: array<f32>;
@group(1) @binding(5) var<storage, read> gate: array<f32>;
@group(1) @binding(6) var<storage, read> weights: array<f32>;
@group(1) @binding(7) var<storage, read_write> y: array<f32>;

const LANES = 16u;
const N_OUT_OF_GROUP = 4u;
var<workgroup> parts: array<f32, 64>;

fn f(g: f32, p: f32) -> f32 { return ${F}; }

// What a lane adds to the product of a row of an expert's matrix with the input of a rank.
fn part_of(of_weight: u32, row: u32, rank: u32, lane: u32) -> f32 {
    var sum = 0.0;
// if IS_FLOAT
    let at = (row * X_LD + X_AT + rank * X_OF_RANK) / 4u;
    for (var c = lane; c < ROW_FOURS; c += LANES) { sum += dot(four(of_weight, c), x[at + c]); }
// end
// if IS_INT8
    let plane = X_N / 32u;
    let at = 3u * plane * row + rank * (X_OF_RANK / 32u);
    for (var g = lane; g < GROUPS; g += LANES) {
        let m = bitcast<vec4<f32>>(act[at + 2u * plane + g]);
        sum += product_of(group_of(of_weight, g), act[at + g], act[at + plane + g], m);
    }
// end
    return sum;
}

// The product of a row of an expert's matrix with the input of a rank. Its LANES invocations must call it together.
fn product(id: u32, row: u32, rank: u32, out: u32) -> f32 {
    let expert = u32(ids[row * IDS_LD + IDS_AT + rank]);
    let of_weight = expert * N_OUT + min(out, N_OUT - 1u);
    let part = part_of(of_weight, row, rank, id % LANES);
    workgroupBarrier();
    parts[id] = part;
    workgroupBarrier();
    var sum = 0.0;
    let first = id - id % LANES;
    for (var i = 0u; i < LANES; i += 1u) { sum += parts[first + i]; }
    if (HAS_SCALE) { sum *= expert_scales[expert]; }
    if (HAS_BIAS) { sum += bias[of_weight]; }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let row = group.y;
    let out = group.x * N_OUT_OF_GROUP + id / LANES;
    let is_last = id % LANES == 0u && out < N_OUT;
    if (SUMS) {
        var sum = 0.0;
        for (var rank = 0u; rank < N_USED; rank += 1u) {
            sum += weights[row * WEIGHTS_LD + WEIGHTS_AT + rank] * product(id, row, rank, out);
        }
        if (is_last) { y[row * Y_LD + Y_AT + out] = sum; }
        return;
    }
    let p = product(id, row, group.z, out);
    if (!is_last) { return; }
    let at = group.z * N_OUT + out;
    var g = 0.0;
    if (HAS_GATE) { g = gate[row * GATE_LD + GATE_AT + at]; }
    y[row * Y_LD + Y_AT + at] = f(g, p);
}
