// Quantized weights, repacked by forms.py; an element is scale * code + minimum. With four bits and more, codes are in
// planes of vectors: groups of 32 elements have four words of low nibbles: word i has elements 4 i to 4 i + 3 in the low
// nibbles of its bytes and 16 + 4 i to 16 + 4 i + 3 in the high ones. With five bits they have a word of fifth bits more,
// with six two words of bit pairs, in a plane of its own; with eight they have eight words of bytes. Other codes are read
// four at a time, as the format says.
// if HAS_PLANES
@group(1) @binding(0) var<storage, read> w: array<vec4<u32>>;
// end
// if HAS_WORDS
@group(1) @binding(0) var<storage, read> w: array<u32>;
// end
// if HAS_HIGH
@group(1) @binding(8) var<storage, read> high: array<u32>;
// end
@group(1) @binding(9) var<storage, read> scales: array<u32>;
// if HAS_BOOK
@group(1) @binding(10) var<storage, read> book: array<u32>;
// end

const GROUPS = ROW_FOURS / 8u;

fn signed_byte(word: u32, i: u32) -> f32 { return f32(unpack4xI8(word)[i]); }

fn byte(word: u32, i: u32) -> u32 { return (word >> (8u * i)) & 0xffu; }

// if HAS_HIGH
fn high_word(i: u32) -> u32 { return high[i]; }
// end
// if HAS_NO_HIGH
fn high_word(i: u32) -> u32 { return 0u; }
// end
// if HAS_PLANES

// Codes 4 c to 4 c + 3 of a row.
fn codes(row: u32, c: u32) -> vec4<i32> {
    let group = row * GROUPS + c / 8u;
    let i = c % 8u;
    if (BITS == 8u) { return unpack4xI8(w[2u * group + i / 4u][i % 4u]); }
    let low = (w[group][i % 4u] >> (4u * (i / 4u))) & 0x0f0f0f0fu;
    if (BITS == 5u) { return unpack4xI8(low | (((high_word(group) >> i) & 0x01010101u) << 4u)); }
    if (BITS == 6u) {
        return unpack4xI8(low | (((high_word(2u * group + i / 4u) >> (2u * (i % 4u))) & 0x03030303u) << 4u));
    }
    return unpack4xI8(values_of_codes(vec4<u32>(low)).x);
}

// Codes 0 to 15 of a group of 32, a byte each.
fn first_codes(group: u32) -> vec4<u32> {
    if (BITS == 8u) { return w[2u * group]; }
    let low = w[group] & vec4<u32>(0x0f0f0f0fu);
    if (BITS == 5u) {
        let bits = vec4<u32>(high_word(group)) >> vec4<u32>(0u, 1u, 2u, 3u);
        return low | ((bits & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    }
    if (BITS == 6u) {
        let pairs = vec4<u32>(high_word(2u * group)) >> vec4<u32>(0u, 2u, 4u, 6u);
        return low | ((pairs & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    }
    return values_of_codes(low);
}

// Codes 16 to 31.
fn last_codes(group: u32) -> vec4<u32> {
    if (BITS == 8u) { return w[2u * group + 1u]; }
    let low = (w[group] >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    if (BITS == 5u) {
        let bits = vec4<u32>(high_word(group)) >> vec4<u32>(4u, 5u, 6u, 7u);
        return low | ((bits & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    }
    if (BITS == 6u) {
        let pairs = vec4<u32>(high_word(2u * group + 1u)) >> vec4<u32>(0u, 2u, 4u, 6u);
        return low | ((pairs & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    }
    return values_of_codes(low);
}
// end
// if HAS_LEVELS

// The values of codes of four bits, a byte each: a look-up among sixteen in registers.
fn values_of_codes(codes: vec4<u32>) -> vec4<u32> {
    let levels = vec4<u32>(${LEVELS});
    var out = vec4<u32>();
    for (var b = 0u; b < 32u; b += 8u) {
        let code = codes >> vec4<u32>(b);
        let has_four = (code & vec4<u32>(4u)) != vec4<u32>();
        let low = select(vec4<u32>(levels.x), vec4<u32>(levels.y), has_four);
        let upper = select(vec4<u32>(levels.z), vec4<u32>(levels.w), has_four);
        let four = select(low, upper, (code & vec4<u32>(8u)) != vec4<u32>());
        out |= ((four >> (vec4<u32>(8u) * (code & vec4<u32>(3u)))) & vec4<u32>(0xffu)) << vec4<u32>(b);
    }
    return out;
}
// end
// if HAS_CODES

fn values_of_codes(codes: vec4<u32>) -> vec4<u32> { return codes; }
// end
// if HAS_WORDS

// A byte and a half word of each group of 32 in `high`, where rows are padded to whole words.
fn byte_of_group(group: u32) -> u32 {
    let g = group % GROUPS;
    return byte(high_word(group / GROUPS * ((GROUPS + 3u) / 4u) + g / 4u), g % 4u);
}

fn half_of_group(group: u32) -> u32 {
    let g = group % GROUPS;
    return (high_word(group / GROUPS * ((GROUPS + 1u) / 2u) + g / 2u) >> (16u * (g % 2u))) & 0xffffu;
}

// The signs of eight elements from the lower seven: the eighth makes their number even.
fn even_signs(bits: u32) -> u32 {
    let signs = bits & 127u;
    return signs | ((countOneBits(signs) & 1u) << 7u);
}

// Four bytes, of which those with a set bit in `signs` are negated; none is 0.
fn with_signs(four: u32, signs: u32) -> u32 {
    let negative = ((signs & 15u) * 0x00204081u) & 0x01010101u;
    return (four ^ (negative * 255u)) + negative;
}

// Codes 4 i to 4 i + 3 of a group of 32 elements, a byte each.
fn word_of(group: u32, i: u32) -> u32 {
${WORD_OF}
}

fn codes(row: u32, c: u32) -> vec4<i32> { return unpack4xI8(word_of(row * GROUPS + c / 8u, c % 8u)); }

fn first_codes(group: u32) -> vec4<u32> {
    return vec4<u32>(word_of(group, 0u), word_of(group, 1u), word_of(group, 2u), word_of(group, 3u));
}

fn last_codes(group: u32) -> vec4<u32> {
    return vec4<u32>(word_of(group, 4u), word_of(group, 5u), word_of(group, 6u), word_of(group, 7u));
}
// end

// Scale and minimum of the elements 4 c to 4 c + 3 of a row.
fn scale_of(row: u32, c: u32) -> vec2<f32> {
${SCALE_OF}
}

fn four(row: u32, c: u32) -> vec4<f32> {
    let s = scale_of(row, c);
    return s.x * vec4<f32>(codes(row, c)) + s.y;
}
