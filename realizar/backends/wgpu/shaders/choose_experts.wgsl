// The N_USED experts with the best scores, best first, ties to the lower id: one workgroup for each row. An expert's
// place is the number of experts before it. Groups whose best scores sum to less than those of others are left out.
@group(1) @binding(0) var<storage, read> logits: array<f32>;
@group(1) @binding(1) var<storage, read> bias: array<f32>;
@group(1) @binding(2) var<storage, read_write> ids: array<f32>;

const LANES = 64u;
const OF_GROUP = N_EXPERT / N_GROUP;
const OUT = -3.4028235e38;
var<workgroup> scores: array<f32, N_EXPERT>;
var<workgroup> of_groups: array<f32, N_GROUP>;

fn is_before(a: f32, i: u32, b: f32, j: u32) -> bool { return a > b || (a == b && i < j); }

// The sum of the N_GROUP_BEST best scores of a group.
fn best_of(group: u32) -> f32 {
    var sum = 0.0;
    for (var e = group * OF_GROUP; e < (group + 1u) * OF_GROUP; e += 1u) {
        var n_before = 0u;
        for (var f = group * OF_GROUP; f < (group + 1u) * OF_GROUP; f += 1u) {
            if (is_before(scores[f], f, scores[e], e)) { n_before += 1u; }
        }
        if (n_before < N_GROUP_BEST) { sum += scores[e]; }
    }
    return sum;
}

fn is_used(group: u32) -> bool {
    var n_before = 0u;
    for (var g = 0u; g < N_GROUP; g += 1u) {
        if (is_before(of_groups[g], g, of_groups[group], group)) { n_before += 1u; }
    }
    return n_before < N_GROUP_USED;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.y * LOGITS_LD + LOGITS_AT;
    let to = group.y * IDS_LD + IDS_AT;
    let normal = gating_of(lane, start);
    for (var e = lane; e < N_EXPERT; e += LANES) {
        var score = gated(logits[start + e], normal);
        if (HAS_BIAS) { score += bias[e]; }
        scores[e] = score;
    }
    workgroupBarrier();
    if (N_GROUP > 1u) {
        for (var g = lane; g < N_GROUP; g += LANES) { of_groups[g] = best_of(g); }
        workgroupBarrier();
        for (var e = lane; e < N_EXPERT; e += LANES) {
            if (!is_used(e / OF_GROUP)) { scores[e] = OUT; }
        }
        workgroupBarrier();
    }
    for (var e = lane; e < N_EXPERT; e += LANES) {
        var n_before = 0u;
        for (var f = 0u; f < N_EXPERT; f += 1u) {
            if (is_before(scores[f], f, scores[e], e)) { n_before += 1u; }
        }
        if (n_before < N_USED) { ids[to + n_before] = f32(e); }
    }
}
