// y = W x + b (+ residual) in float32, for one or four rows of the step at a time. LANES invocations share a row of W;
// the order of a sum depends neither on the number of rows nor on the other rows of the step.
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
// if HAS_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
// if HAS_RESIDUAL
@group(1) @binding(3) var<storage, read> residual: array<f32>;
// end
${STORE}

alias Sums = ${SUMS};
const LANES = 16u;
const N_OUT_OF_GROUP = 4u;
var<workgroup> parts: array<Sums, 64>;

fn product(weights: vec4<f32>, row: u32, c: u32) -> f32 { return dot(weights, x[(row * X_LD + X_AT) / 4u + c]); }

fn products(weights: vec4<f32>, first: u32, last: u32, c: u32) -> Sums {
    return ${PRODUCTS};
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let lane = id % LANES;
    let out = group.x * N_OUT_OF_GROUP + id / LANES;
    let first = group.y * N_ROW;
    let last = min(first + N_ROW, ${N}) - 1u;
    var sums: Sums;
    for (var c = lane; c < ROW_FOURS; c += LANES) {
        sums += products(four(min(out, N_OUT - 1u), c), first, last, c);
    }
    parts[id] = sums;
    workgroupBarrier();
    let row = first + lane;
    if (lane >= N_ROW || row > last || out >= N_OUT) { return; }
    var sum = 0.0;
    for (var i = 0u; i < LANES; i += 1u) { sum += parts[id - lane + i]${OWN}; }
// if HAS_BIAS
    sum += bias[FIRST_OUT + out];
// end
// if HAS_RESIDUAL
    sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out];
// end
    store(row, FIRST_OUT + out, sum);
}
