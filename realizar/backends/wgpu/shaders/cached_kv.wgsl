// Keys and values of the KV cache, in the layout of store.wgsl and store_rounded.wgsl.
@group(1) @binding(1) var<storage, ${ACCESS}> k: array<${K_TYPE}>;
@group(1) @binding(2) var<storage, ${ACCESS}> v: array<u32>;

// The row of the cache with key j of sequence s.
fn kv_row(s: u32, j: i32, head: u32) -> u32 {
    return (block_of(TABLE, s, u32(j) / 16u) * N_HEAD_KV + head) * 16u + u32(j) % 16u;
}

// The first word of a row: blocks of 16 rows have their scales after them.
fn k_at(at: u32) -> u32 { return at * K_WORDS + select(0u, at / 16u * 16u, K_IS_INT8 || K_IS_Q4); }
fn v_at(at: u32) -> u32 { return at * V_WORDS + select(0u, at / 16u * 16u, V_IS_INT8 || V_IS_Q4); }

fn k_word(i: u32) -> u32 { return ${K_WORD}; }

fn product_of_word(word: u32, i: u32) -> f32 {
// if ROUNDS_Q
    return f32(dot4I8Packed(word & 0x0f0f0f0fu, query_codes[2u * i])
        + dot4I8Packed((word >> 4u) & 0x0f0f0f0fu, query_codes[2u * i + 1u]));
// end
    if (K_IS_Q4) {
        let i8 = 8u * i;
        let a = vec4<f32>(query[i8], query[i8 + 1u], query[i8 + 2u], query[i8 + 3u]);
        let b = vec4<f32>(query[i8 + 4u], query[i8 + 5u], query[i8 + 6u], query[i8 + 7u]);
        let low = vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 8.0;
        return dot(a, low) + dot(b, vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 8.0);
    }
    if (K_IS_INT8) {
        let q = vec4<f32>(query[4u * i], query[4u * i + 1u], query[4u * i + 2u], query[4u * i + 3u]);
        return dot(q, vec4<f32>(unpack4xI8(word)));
    }
    if (K_IS_F16) {
        let pair = unpack2x16float(word);
        return query[2u * i] * pair.x + query[2u * i + 1u] * pair.y;
    }
    return query[i] * bitcast<f32>(word);
}

fn product(at: u32) -> f32 {
    var sum = 0.0;
    ${PRODUCT}
    if (!K_IS_INT8 && !K_IS_Q4) { return sum; }
    let scale = bitcast<f32>(k_word(at / 16u * 16u * (K_WORDS + 1u) + 16u * K_WORDS + at % 16u));
// if ROUNDS_Q
    return (sum - query_offset) * (query_scale * scale);
// end
    return sum * scale;
}

// The number by which the elements of a value are to be multiplied.
fn value_scale(at: u32) -> f32 {
    if (!V_IS_INT8 && !V_IS_Q4) { return 1.0; }
    return bitcast<f32>(v[at / 16u * 16u * (V_WORDS + 1u) + 16u * V_WORDS + at % 16u]);
}

// Elements 2 pair and 2 pair + 1 of a value, without its scale.
fn values_of(at: u32, pair: u32) -> vec2<f32> {
    if (V_IS_F16) { return unpack2x16float(v[at * V_WORDS + pair]); }
    if (V_IS_INT8) {
        let word = v[v_at(at) + pair / 2u] >> (16u * (pair % 2u));
        return vec2<f32>(unpack4xI8(word).xy);
    }
    if (V_IS_Q4) {
        let word = v[v_at(at) + pair / 4u] >> (16u * (pair % 2u) + 4u * (pair % 4u / 2u));
        return vec2<f32>(f32(word & 15u), f32((word >> 8u) & 15u)) - 8.0;
    }
    let second = min(2u * pair + 1u, V_DIM - 1u);
    return bitcast<vec2<f32>>(vec2<u32>(v[at * V_WORDS + 2u * pair], v[at * V_WORDS + second]));
}
