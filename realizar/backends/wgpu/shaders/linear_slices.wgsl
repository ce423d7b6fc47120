// y = W x + b (+ residual) for ROWS rows of the step at a time, with activations of int8 (round.wgsl). The groups of a row
// are in TEAM slices, as in linear_int8.wgsl, which are summed in its order. Each 32 invocations compute a slice, for OUT_TILE
// rows of W: an invocation has OUTS of them and N_ROW rows of the step.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// if HAS_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
// if HAS_RESIDUAL
@group(1) @binding(3) var<storage, read> residual: array<f32>;
// end
${STORE}

const LANES = 32u * TEAM;
const OUT_LANES = 32u / ROW_LANES;
const OUT_TILE = OUT_LANES * OUTS;
const ROWS = ROW_LANES * N_ROW;
const SUMS = OUT_TILE * ROWS;
var<workgroup> parts: array<f32, TEAM * SUMS>;

fn total_of_slices(i: u32) -> f32 {
    var own: array<f32, TEAM>;
    for (var j = 0u; j < TEAM; j += 1u) { own[j] = parts[j * SUMS + i]; }
// if HAS_TEAMS_IN_SUBGROUPS
    for (var half = TEAM / 2u; half > 0u; half /= 2u) {
        for (var j = 0u; j < half; j += 1u) { own[j] += own[j + half]; }
    }
// end
// if HAS_TEAMS_IN_MEMORY
    for (var j = 1u; j < TEAM; j += 1u) { own[0] += own[j]; }
// end
    return own[0];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let slice = id / 32u;
    let out_lane = id % 32u / ROW_LANES;
    let row_lane = id % ROW_LANES;
    let first_out = group.x * OUT_TILE;
    let first_row = group.y * ROWS;
    let end = ${N};
    var sums: array<f32, OUTS * N_ROW>;
    for (var g = slice; g < GROUPS; g += TEAM) {
        var w: array<Group, OUTS>;
        for (var o = 0u; o < OUTS; o += 1u) {
            w[o] = group_of(min(first_out + out_lane + OUT_LANES * o, N_OUT - 1u), g);
        }
        for (var t = 0u; t < N_ROW; t += 1u) {
            let x = 3u * (min(first_row + row_lane + ROW_LANES * t, end - 1u) * GROUPS + g);
            let x_first = act[x];
            let x_last = act[x + 1u];
            let m = bitcast<vec4<f32>>(act[x + 2u]);
            for (var o = 0u; o < OUTS; o += 1u) { sums[o * N_ROW + t] += product_of(w[o], x_first, x_last, m); }
        }
    }
    for (var o = 0u; o < OUTS; o += 1u) {
        for (var t = 0u; t < N_ROW; t += 1u) {
            let i = (row_lane + ROW_LANES * t) * OUT_TILE + out_lane + OUT_LANES * o;
            parts[slice * SUMS + i] = sums[o * N_ROW + t];
        }
    }
    workgroupBarrier();
    for (var i = id; i < SUMS; i += LANES) {
        let out = first_out + i % OUT_TILE;
        let row = first_row + i / OUT_TILE;
        if (row >= end || out >= N_OUT) { continue; }
        var sum = total_of_slices(i);
// if HAS_BIAS
        sum += bias[FIRST_OUT + out];
// end
// if HAS_RESIDUAL
        sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out];
// end
        store(row, FIRST_OUT + out, sum);
    }
}
