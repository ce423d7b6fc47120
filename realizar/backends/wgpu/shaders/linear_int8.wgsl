// y = W x + b (+ residual) for N_ROW rows of the step at a time, with activations of int8 (round.wgsl). A team of TEAM
// invocations computes OUTS rows of W; the order of a sum depends neither on N_ROW nor on the other rows of the step.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// if HAS_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
// if HAS_RESIDUAL
@group(1) @binding(3) var<storage, read> residual: array<f32>;
// end
${STORE}

const TEAMS = LANES / TEAM;
const SUMS = OUTS * N_ROW;
const OWN = (SUMS + TEAM - 1u) / TEAM;  // sums that an invocation stores
// if HAS_TEAMS_IN_MEMORY
var<workgroup> parts: array<f32, LANES * SUMS>;
// end

// Row t of the step of those of a workgroup.
fn row_of(first: u32, t: u32) -> u32 {
    if (N_ROW == 1u) { return first; }
    return min(first + t, ${N} - 1u);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let lane = id % TEAM;
    let first_out = group.x * OUTS * TEAMS + id / TEAM;  // and each TEAMS rows further
    let first = group.y * N_ROW;
    var sums: array<f32, SUMS>;
    for (var g = lane; g < GROUPS; g += TEAM) {
        var w: array<Group, OUTS>;
        for (var o = 0u; o < OUTS; o += 1u) { w[o] = group_of(min(first_out + o * TEAMS, N_OUT - 1u), g); }
        for (var t = 0u; t < N_ROW; t += 1u) {
            let x = 3u * GROUPS * row_of(first, t) + g;
            let x_first = act[x];
            let x_last = act[x + GROUPS];
            let m = bitcast<vec4<f32>>(act[x + 2u * GROUPS]);
            for (var o = 0u; o < OUTS; o += 1u) { sums[o * N_ROW + t] += product_of(w[o], x_first, x_last, m); }
        }
    }
    var own: array<f32, OWN>;
// if HAS_TEAMS_IN_SUBGROUPS
    for (var i = 0u; i < SUMS; i += 1u) {
        var total = sums[i];
        for (var half = TEAM / 2u; half > 0u; half /= 2u) { total += subgroupShuffleXor(total, half); }
        if (i % TEAM == lane) { own[i / TEAM] = total; }
    }
// end
// if HAS_TEAMS_IN_MEMORY
    for (var i = 0u; i < SUMS; i += 1u) { parts[i * LANES + id] = sums[i]; }
    workgroupBarrier();
    for (var m = 0u; m < OWN; m += 1u) {
        let i = min(m * TEAM + lane, SUMS - 1u);
        for (var j = 0u; j < TEAM; j += 1u) { own[m] += parts[i * LANES + id - lane + j]; }
    }
// end
    for (var m = 0u; m < OWN; m += 1u) {
        let i = m * TEAM + lane;
        let row = first + i % N_ROW;
        let out = first_out + i / N_ROW * TEAMS;
        if (i >= SUMS || row >= ${N} || out >= N_OUT) { continue; }
        var sum = own[m];
// if HAS_BIAS
        sum += bias[FIRST_OUT + out];
// end
// if HAS_RESIDUAL
        sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out];
// end
        store(row, FIRST_OUT + out, sum);
    }
}
