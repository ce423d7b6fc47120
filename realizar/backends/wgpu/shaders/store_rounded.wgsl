// Stores keys, rotated if ROTATION is not 0, or values, rounded to int8 or q4 with one scale for a head of a row, after a
// Hadamard transform if WIDTH is more than 1 (round_int8.h, round_q4.h): one workgroup for a head. A head of a block has
// 16 rows of WORDS words, then their scales. A word of q4 has four elements in its low nibbles, the next four in the high.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> cache: array<u32>;

const LANES = 64u;
var<workgroup> head: array<f32, WORDS * OF_WORD>;

fn source(i: u32) -> f32 { return x[i]; }

fn element(row: u32, start: u32, d: u32) -> f32 {
    if (d >= DIM) { return 0.0; }
    if (ROTATION == 0u) { return x[start + d]; }
    return rotated(row, start, d);
}

fn four(first: u32) -> vec4<f32> {
    return vec4<f32>(head[first], head[first + 1u], head[first + 2u], head[first + 3u]);
}

fn nibbles(first: u32, inverse: f32) -> u32 {
    return pack4xU8(vec4<u32>(min(vec4<i32>(round(four(first) * inverse)) + 8, vec4<i32>(15))));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let start = row * X_LD + X_AT + group.x * DIM;
    for (var d = lane; d < WORDS * OF_WORD; d += LANES) { head[d] = element(row, start, d); }
    workgroupBarrier();
    for (var distance = 1u; distance < WIDTH; distance *= 2u) {
        for (var pair = lane; pair < DIM / 2u; pair += LANES) {
            let i = 2u * pair - pair % distance;
            let a = head[i];
            let b = head[i + distance];
            head[i] = a + b;
            head[i + distance] = a - b;
        }
        workgroupBarrier();
    }
    var part = 0.0;
    for (var d = lane; d < DIM; d += LANES) { part = max(part, size_of(head[d])); }
    let most = greatest(lane, part);
    var is_positive = 0.0;
    if (IS_Q4) {
        for (var d = lane; d < DIM; d += LANES) { is_positive = select(is_positive, 1.0, head[d] == most); }
        is_positive = greatest(lane, is_positive);
    }
    let has_codes = most >= TINY && most < BAD;
    let of_sign = select(-most, most, is_positive == 1.0);
    let inverse = select(127.0 / most, -8.0 / of_sign, IS_Q4);
    let scale = select(most / 127.0, of_sign / -8.0, IS_Q4);
    let at = u32(place(row));
    let slot = (block_of(TABLE, sequence(row), at / 16u) * N_HEAD_KV + group.x) * 16u + at % 16u;
    let to = slot * WORDS + slot / 16u * 16u;
    for (var i = lane; i < WORDS; i += LANES) {
        var word = select(0u, 0x88888888u, IS_Q4);
        if (has_codes && IS_Q4) { word = nibbles(8u * i, inverse) | (nibbles(8u * i + 4u, inverse) << 4u); }
        if (has_codes && !IS_Q4) {
            word = pack4xI8(clamp(vec4<i32>(round(four(4u * i) * inverse)), vec4<i32>(-127), vec4<i32>(127)));
        }
        cache[to + i] = word;
    }
    if (lane > 0u) { return; }
    let bits = select(select(0u, bitcast<u32>(scale), has_codes), 0x7fc00000u, most >= BAD);
    cache[slot / 16u * 16u * (WORDS + 1u) + 16u * WORDS + slot % 16u] = bits;
}
