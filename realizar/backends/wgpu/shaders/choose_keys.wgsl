// The N_CHOSEN keys with the best scores (index_scores.wgsl), ascending, then -1; of equal scores the first ones: one
// workgroup for each row. The least score that is chosen is found digit by digit.
@group(1) @binding(0) var<storage, read> scores: array<u32>;
@group(1) @binding(1) var<storage, read_write> ids: array<f32>;

const LANES = 256u;
var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> before: array<u32, LANES>;
var<workgroup> digit: u32;
var<workgroup> n_above: u32;

// The number with the n-th greatest score of a row's keys.
fn nth(lane: u32, start: u32, end: u32, n: u32) -> vec2<u32> {
    var prefix = 0u;
    var wanted = n;
    for (var shift = 24; shift >= 0; shift -= 8) {
        atomicStore(&counts[lane], 0u);
        workgroupBarrier();
        for (var j = lane; j < end; j += LANES) {
            let score = scores[start + j];
            if (shift == 24 || (score >> u32(min(shift + 8, 31))) == (prefix >> u32(min(shift + 8, 31)))) {
                atomicAdd(&counts[(score >> u32(shift)) & 255u], 1u);
            }
        }
        workgroupBarrier();
        if (lane == 0u) {
            var above = 0u;
            var at = 255u;
            while (at > 0u && above + atomicLoad(&counts[at]) < wanted) {
                above += atomicLoad(&counts[at]);
                at -= 1u;
            }
            digit = at;
            n_above = above;
        }
        let found = workgroupUniformLoad(&digit);
        wanted -= workgroupUniformLoad(&n_above);
        prefix |= found << u32(shift);
    }
    return vec2<u32>(prefix, wanted);
}

// The sum of `own` over the invocations up to and with this one.
fn sum_up_to(lane: u32, own: u32) -> u32 {
    workgroupBarrier();
    before[lane] = own;
    for (var distance = 1u; distance < LANES; distance *= 2u) {
        workgroupBarrier();
        var other = 0u;
        if (lane >= distance) { other = before[lane - distance]; }
        workgroupBarrier();
        before[lane] += other;
    }
    workgroupBarrier();
    return before[lane];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var row = group.y;
    if (PICKED) { row = output_row(group.y); }
    let end = u32(bounds(place(row), n_keys(sequence(row)), span_of(row)).y);
    let start = group.y * N_CTX;
    let to = group.y * IDS_LD + IDS_AT;
    var least = vec2<u32>(0u, 0u);  // all keys that are seen have greater scores
    if (end > N_CHOSEN) { least = nth(lane, start, end, N_CHOSEN); }
    var n_better = 0u;
    var n_equal = 0u;
    for (var first = 0u; first < end; first += LANES) {
        var score = 0u;
        if (first + lane < end) { score = scores[start + first + lane]; }
        let is_better = score > least.x;
        let is_equal = score == least.x && first + lane < end;
        let up_to = sum_up_to(lane, select(0u, 1u, is_better) | select(0u, 0x10000u, is_equal));
        let equals = n_equal + (up_to >> 16u);
        let betters = n_better + (up_to & 0xffffu);
        if (is_better) { ids[to + betters - 1u + min(equals, least.y)] = f32(first + lane); }
        if (is_equal && equals <= least.y) { ids[to + betters + equals - 1u] = f32(first + lane); }
        workgroupBarrier();
        n_better += before[LANES - 1u] & 0xffffu;
        n_equal += before[LANES - 1u] >> 16u;
    }
    for (var i = n_better + min(n_equal, least.y) + lane; i < N_CHOSEN; i += LANES) { ids[to + i] = -1.0; }
}
