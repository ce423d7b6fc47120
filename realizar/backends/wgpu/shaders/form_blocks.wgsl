// Quantized weights, repacked by forms.py. Groups of 32 elements have four words of low nibbles: word i has elements
// 4 i to 4 i + 3 in the low nibbles of its bytes and 16 + 4 i to 16 + 4 i + 3 in the high ones. With five bits they have
// a word of fifth bits more, with six two words of bit pairs, in a plane of its own; with eight they have eight words of
// bytes. An element is scale * code + minimum.
@group(1) @binding(0) var<storage, read> w: array<vec4<u32>>;
// if HAS_HIGH
@group(1) @binding(8) var<storage, read> high: array<u32>;
// end
@group(1) @binding(9) var<storage, read> scales: array<u32>;

const GROUPS = ROW_FOURS / 8u;

// Codes 4 c to 4 c + 3 of a row.
fn codes(row: u32, c: u32) -> vec4<i32> {
    let group = row * GROUPS + c / 8u;
    let i = c % 8u;
    if (BITS == 8u) { return unpack4xI8(w[2u * group + i / 4u][i % 4u]); }
    let low = (w[group][i % 4u] >> (4u * (i / 4u))) & 0x0f0f0f0fu;
// if HAS_HIGH
    if (BITS == 5u) { return unpack4xI8(low | (((high[group] >> i) & 0x01010101u) << 4u)); }
    return unpack4xI8(low | (((high[2u * group + i / 4u] >> (2u * (i % 4u))) & 0x03030303u) << 4u));
// end
    return unpack4xI8(low);
}

// Codes 0 to 15 of a group of 32, a byte each.
fn first_codes(group: u32) -> vec4<u32> {
    if (BITS == 8u) { return w[2u * group]; }
    let low = w[group] & vec4<u32>(0x0f0f0f0fu);
// if HAS_HIGH
    if (BITS == 5u) {
        return low | (((vec4<u32>(high[group]) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    }
    return low | (((vec4<u32>(high[2u * group]) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
// end
    return low;
}

// Codes 16 to 31.
fn last_codes(group: u32) -> vec4<u32> {
    if (BITS == 8u) { return w[2u * group + 1u]; }
    let low = (w[group] >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
// if HAS_HIGH
    if (BITS == 5u) {
        return low | (((vec4<u32>(high[group]) >> vec4<u32>(4u, 5u, 6u, 7u)) & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    }
    let pairs = vec4<u32>(high[2u * group + 1u]) >> vec4<u32>(0u, 2u, 4u, 6u);
    return low | ((pairs & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
// end
    return low;
}

fn signed_byte(word: u32, i: u32) -> f32 { return f32(unpack4xI8(word)[i]); }

fn byte(word: u32, i: u32) -> u32 { return (word >> (8u * i)) & 0xffu; }

// Scale and minimum of the elements 4 c to 4 c + 3 of a row.
fn scale_of(row: u32, c: u32) -> vec2<f32> {
${SCALE_OF}
}

fn four(row: u32, c: u32) -> vec4<f32> {
    let s = scale_of(row, c);
    return s.x * vec4<f32>(codes(row, c)) + s.y;
}
