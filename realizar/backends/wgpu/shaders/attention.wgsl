// Attention with online softmax: one workgroup computes one head of one row, LANES keys at a time.
// cached_kv.wgsl or step_kv.wgsl says how keys and values are read.
@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(3) var<storage, read> biases: array<f32>;
@group(1) @binding(4) var<storage, read> sinks: array<f32>;
@group(1) @binding(5) var<storage, read_write> y: array<f32>;

const LANES = 64u;
const LEAST = -3.4028235e38;
const WINDOW = i32(N_WINDOW);
const SKIP = i32(N_SKIP);
const OWN = (V_DIM + LANES - 1u) / LANES;
var<workgroup> query: array<f32, Q_SIZE>;
var<workgroup> parts: array<f32, LANES>;
var<workgroup> weights: array<f32, LANES>;
var<workgroup> rows: array<u32, LANES>;

fn source(i: u32) -> f32 { return q[i]; }

fn total(lane: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts[lane] = part;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { parts[lane] += parts[lane + half]; }
    }
    workgroupBarrier();
    return parts[0];
}

fn greatest(lane: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts[lane] = part;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { parts[lane] = max(parts[lane], parts[lane + half]); }
    }
    workgroupBarrier();
    return parts[0];
}

// Whether row i of a sequence sees row j; rows `span.x` to `span.y` are its bidirectional span.
fn sees(i: i32, j: i32, span: vec2<i32>) -> bool {
    if (!IS_CAUSAL) { return WINDOW == 0 || abs(i - j) <= WINDOW / 2; }
    if (j >= span.x && j <= span.y && span.x < span.y) { return true; }
    if (j > i || j < min(SKIP, i)) { return false; }
    if (WINDOW == 0) { return true; }
    if (IS_CHUNKED) { return j / WINDOW == i / WINDOW; }
    return j > i - WINDOW;
}

// The first row that row i sees, and the end of those.
fn bounds(i: i32, n: i32, span: vec2<i32>) -> vec2<i32> {
    if (!IS_CAUSAL) {
        if (WINDOW == 0) { return vec2<i32>(0, n); }
        return vec2<i32>(max(i - WINDOW / 2, 0), min(i + WINDOW / 2 + 1, n));
    }
    var first = 0;
    if (WINDOW > 0) { first = select(max(i - WINDOW + 1, 0), i / WINDOW * WINDOW, IS_CHUNKED); }
    first = max(first, min(SKIP, i));
    return vec2<i32>(min(first, span.x), max(i, span.y) + 1);
}

fn bias(head: u32, distance: i32) -> f32 {
    if (HAS_ALIBI) { return -biases[head] * f32(abs(distance)); }
    if (N_BIAS > 0u) { return biases[head * N_BIAS + u32(distance + i32(N_BIAS / 2u))]; }
    return 0.0;
}

fn score(head: u32, at: u32, distance: i32) -> f32 {
    var s = product(at) * SCALE;
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
    let near = reach(row);
    let span = vec2<i32>(i - near.x, i + near.y);
    let start = group.y * Q_LD + Q_AT + head * K_DIM;
    for (var d = lane; d < Q_SIZE; d += LANES) {
        var element = 0.0;
        if (d < K_DIM) { element = own_query(row, start, d); }
        query[d] = element;
    }
    workgroupBarrier();
    var most = LEAST;
    var sum = 0.0;
    if (HAS_SINKS) {
        most = sinks[head];
        sum = 1.0;
    }
    var out: array<f32, OWN>;
    let range = bounds(i, n_of_sequence(s), span);
    for (var first = range.x / i32(LANES) * i32(LANES); first < range.y; first += i32(LANES)) {
        let j = first + i32(lane);
        let is_seen = j >= range.x && j < range.y && sees(i, j, span);
        var own = LEAST;
        var at = 0u;
        if (is_seen) {
            at = kv_row(s, j, head / (N_HEAD / N_HEAD_KV));
            own = score(head, at, j - i);
        }
        let before = most;
        most = max(most, greatest(lane, own));
        let p = select(0.0, exp(own - most), is_seen);
        let faded = exp(before - most);
        weights[lane] = p;
        rows[lane] = at;
        sum = sum * faded + total(lane, p);
        for (var m = 0u; m < OWN; m += 1u) {
            let d = m * LANES + lane;
            if (d < V_DIM) {
                var part = out[m] * faded;
                for (var t = 0u; t < LANES; t += 1u) {
                    let weight = weights[t];  // the memory of a key that is not seen may hold NaN
                    if (weight != 0.0) { part += weight * value(rows[t], d); }
                }
                out[m] = part;
            }
        }
    }
    for (var m = 0u; m < OWN; m += 1u) {
        let d = m * LANES + lane;
        if (d < V_DIM) { y[group.y * Y_LD + Y_AT + head * V_DIM + d] = out[m] / sum; }
    }
}
