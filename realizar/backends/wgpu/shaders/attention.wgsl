// Attention with online softmax: one workgroup computes one head of one row, LANES keys at a time. Each SPLIT keys of a
// sequence have a softmax of their own, and are then merged in order: by this kernel, or, if IS_PART, by
// attention_merge.wgsl, with the same bits. cached_kv.wgsl or step_kv.wgsl says how keys and values are read, mask.wgsl
// which are seen.
@group(1) @binding(0) var<storage, read> q: array<f32>;
// if HAS_BIASES
@group(1) @binding(3) var<storage, read> biases: array<f32>;
// end
// if HAS_SINKS
@group(1) @binding(4) var<storage, read> sinks: array<f32>;
// end
@group(1) @binding(5) var<storage, read_write> y: array<f32>;
// if HAS_CHOSEN
@group(1) @binding(6) var<storage, read> chosen: array<f32>;
// end

const LANES = 256u;
const OWN_IS_LAST = IS_CAUSAL && !HAS_CHOSEN;  // the key of the row itself, which is always seen
const LEAST = -3.4028235e38;
const PAIRS = (V_DIM + 1u) / 2u;
const OWN = (PAIRS + WIDE - 1u) / WIDE;  // pairs of elements of a value that a lane sums, for one of KEY_GROUPS keys
const KEY_GROUPS = LANES / WIDE;
var<workgroup> sums_of_groups: array<vec2<f32>, LANES>;
var<workgroup> query: array<f32, Q_SIZE>;
var<workgroup> weights: array<f32, LANES>;
var<workgroup> rows: array<u32, LANES>;

fn source(i: u32) -> f32 { return q[i]; }

// The key in place j of those of a row: row j of the sequence, or one that was chosen; -1 for none.
fn key_in(row: u32, j: i32) -> i32 {
// if HAS_CHOSEN
    let id = chosen[row * CHOSEN_LD + CHOSEN_AT + u32(j)];
    return select(-1, i32(id), id >= 0.0 && id < 1e9);
// end
    return j;
}

fn bias(head: u32, distance: i32) -> f32 {
// if HAS_ALIBI
    return -biases[head] * f32(abs(distance));
// end
// if N_BIAS
    return biases[head * N_BIAS + u32(distance + i32(N_BIAS / 2u))];
// end
    return 0.0;
}

fn score_of(head: u32, product: f32, distance: i32) -> f32 {
    var s = product * SCALE;
    if (SOFTCAP > 0.0) { s = SOFTCAP * tanh(clamp(s / SOFTCAP, -15.0, 15.0)); }
    return s + bias(head, distance);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    var row = group.y;
    if (PICKED) { row = output_row(group.y); }
    let s = sequence(row);
    let i = place(row);
    let span = span_of(row);
    let start = group.y * Q_LD + Q_AT + head * K_DIM;
    for (var d = lane; d < Q_SIZE; d += LANES) {
        var element = 0.0;
        if (d < K_DIM) { element = own_query(row, start, d); }
        query[d] = element;
    }
    workgroupBarrier();
// if TRANSFORMS_K
    transform_query(lane);
// end
    var most = LEAST;
    var sum = 0.0;
// if HAS_SINKS
    if (!IS_PART) {
        most = sinks[head];
        sum = 1.0;
    }
// end
    var merged: array<vec2<f32>, OWN>;
    var range = bounds(i, n_keys(s), span);
    let head_kv = head / (N_HEAD / N_HEAD_KV);
    let own_at = kv_row(s, select(range.x, i, IS_CAUSAL), head_kv);
// if STORES
    let is_first = head % (N_HEAD / N_HEAD_KV) == 0u && (!IS_PART || i32(group.z) == i / i32(SPLIT));
    take_new(lane, row, head_kv, own_at, is_first);
// end
// if HAS_CHOSEN
    range = vec2<i32>(0, min(range.y, i32(N_CHOSEN)));
// end
    var split = range.x / i32(SPLIT);
    var end_split = (range.y - 1) / i32(SPLIT) + 1;
    if (IS_PART) {
        split = i32(group.z);
        end_split = split + 1;
    }
    for (; split < end_split; split += 1) {
        let from_key = max(split * i32(SPLIT), range.x / i32(LANES) * i32(LANES));
        // Without its own key, if that is the last: it may not be there yet.
        let end = select(range.y, i, OWN_IS_LAST && range.y == i + 1);
        let to_key = min((split + 1) * i32(SPLIT), end);
        var most_of_split = LEAST;
        var sum_of_split = 0.0;
        var part: array<vec2<f32>, OWN>;
        for (var first = from_key; first < to_key; first += i32(LANES)) {
            let at_key = first + i32(lane);
            let j = key_in(${ROW_OF_CHOSEN}, min(at_key, range.y - 1));
            let is_new = OWN_IS_LAST && j == i;
            let is_seen = at_key >= range.x && at_key < to_key && j >= 0 && sees(i, j, span) && !is_new;
            var own = LEAST;
            var at = kv_row(s, max(first, range.x), head_kv);  // the memory of a key that is not seen may hold NaN
            if (HAS_CHOSEN) { at = own_at; }
            if (is_seen) {
                at = kv_row(s, j, head_kv);
                own = score_of(head, product(at), j - i);
            }
            let before = most_of_split;
            most_of_split = max(most_of_split, greatest(lane, own));
            let p = select(0.0, exp(own - most_of_split), is_seen);
            let faded = exp(before - most_of_split);
            weights[lane] = p * value_scale(at);
            rows[lane] = at;
            sum_of_split = sum_of_split * faded + total(lane, p);
            let n_used = u32(min(to_key - first, i32(LANES)));
            for (var m = 0u; m < OWN; m += 1u) {
                let pair = min(m * WIDE + lane % WIDE, PAIRS - 1u);
                var values = part[m] * faded;
                for (var t = lane / WIDE; t < n_used; t += READS * KEY_GROUPS) {
${READ}
${ADD}
                }
                part[m] = values;
            }
        }
        if (OWN_IS_LAST && split == i / i32(SPLIT)) {  // the row's own key, after all others of its split
            let own = score_of(head, ${OWN_KEY}, 0);
            let before = most_of_split;
            most_of_split = max(most_of_split, own);
            let p = exp(own - most_of_split);
            let faded = exp(before - most_of_split);
            sum_of_split = sum_of_split * faded + p;
            let weight = select(0.0, p * ${OWN_SCALE}, lane < WIDE);
            for (var m = 0u; m < OWN; m += 1u) {
                let pair = min(m * WIDE + lane % WIDE, PAIRS - 1u);
                part[m] = part[m] * faded + weight * ${OWN_VALUES};
            }
        }
        if (KEY_GROUPS > 1u) {
            workgroupBarrier();
            sums_of_groups[lane] = part[0];
            workgroupBarrier();
            part[0] = vec2<f32>();
            for (var g = 0u; g < KEY_GROUPS; g += 1u) { part[0] += sums_of_groups[g * WIDE + lane % WIDE]; }
        }
        let greatest_of_both = max(most, most_of_split);
        let fade = exp(most - greatest_of_both);
        let fade_split = exp(most_of_split - greatest_of_both);
        most = greatest_of_both;
        sum = sum * fade + sum_of_split * fade_split;
        for (var m = 0u; m < OWN; m += 1u) { merged[m] = merged[m] * fade + part[m] * fade_split; }
    }
    let at_part = ((group.y * N_HEAD + head) * N_SPLITS + group.z) * (2u * PAIRS + 2u);
    if (IS_PART && lane == 0u) {
        y[at_part] = most;
        y[at_part + 1u] = sum;
    }
    for (var m = 0u; m < OWN; m += 1u) {
        let pair = m * WIDE + lane;
        if (lane >= WIDE || pair >= PAIRS) { continue; }
        if (IS_PART) {
            y[at_part + 2u + 2u * pair] = merged[m].x;
            y[at_part + 3u + 2u * pair] = merged[m].y;
            continue;
        }
// if TRANSFORMS_V
        result[2u * pair] = merged[m].x / sum;
        result[2u * pair + 1u] = merged[m].y / sum;
        continue;
// end
        let to = group.y * Y_LD + Y_AT + head * V_DIM + 2u * pair;
        y[to] = merged[m].x / sum;
        if (2u * pair + 1u < V_DIM) { y[to + 1u] = merged[m].y / sum; }
    }
// if TRANSFORMS_V
    if (!IS_PART) { write_result(lane, group.y * Y_LD + Y_AT + head * V_DIM); }
// end
}
