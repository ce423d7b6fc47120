// The scores by which an indexer chooses keys: for each key the sum over the heads of weight * relu(q . k), as numbers
// whose order is that of the scores; 0 for keys that the row does not see. One workgroup for 64 keys of a row.
@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(3) var<storage, read> weights: array<f32>;
@group(1) @binding(4) var<storage, read_write> scores: array<u32>;

const LANES = 64u;
var<workgroup> query: array<f32, Q_SIZE>;

// The order of scores: NaN is the least one, 0 is -0.
fn in_order(score: f32) -> u32 {
    var bits = bitcast<u32>(score);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { bits = 0xff800000u; }
    if (bits == 0x80000000u) { bits = 0u; }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var row = group.y;
    if (PICKED) { row = output_row(group.y); }
    let i = place(row);
    let span = span_of(row);
    let s = sequence(row);
    let first = i32(group.z * LANES);
    let j = first + i32(lane);
    let end = bounds(i, n_keys(s), span).y;
    if (first >= end) { return; }
    let is_seen = j < end && sees(i, j, span);
    let at = kv_row(s, select(i, j, is_seen), 0u);
    var score = 0.0;
    for (var h = 0u; h < N_HEAD; h += 1u) {
        workgroupBarrier();
        let start = group.y * Q_LD + Q_AT + h * K_DIM;
        for (var d = lane; d < Q_SIZE; d += LANES) {
            var element = 0.0;
            if (d < K_DIM) { element = q[start + d]; }
            query[d] = element;
        }
        workgroupBarrier();
// if TRANSFORMS_K
        transform_query(lane);
// end
        let x = product(at);
        let relu = select(max(x, 0.0), x, x != x);
        score = fma(weights[group.y * WEIGHTS_LD + WEIGHTS_AT + h], relu, score);
    }
    if (j < i32(N_CTX)) { scores[group.y * N_CTX + u32(j)] = select(0u, in_order(score), is_seen); }
}
