// Keys and values of the KV cache, in the layout of store.wgsl.
@group(1) @binding(1) var<storage, read> k: array<${K_TYPE}>;
@group(1) @binding(2) var<storage, read> v: array<u32>;

// The row of the cache with key j of sequence s.
fn kv_row(s: u32, j: i32, head: u32) -> u32 {
    return (block_of(TABLE, s, u32(j) / 16u) * N_HEAD_KV + head) * 16u + u32(j) % 16u;
}

fn product_of_word(word: u32, i: u32) -> f32 {
    if (K_IS_F16) {
        let pair = unpack2x16float(word);
        return query[2u * i] * pair.x + query[2u * i + 1u] * pair.y;
    }
    return query[i] * bitcast<f32>(word);
}

fn product(at: u32) -> f32 {
    var sum = 0.0;
    ${PRODUCT}
    return sum;
}

// Elements 2 pair and 2 pair + 1 of a value.
fn values_of(at: u32, pair: u32) -> vec2<f32> {
    if (V_IS_F16) { return unpack2x16float(v[at * V_WORDS + pair]); }
    let second = min(2u * pair + 1u, V_DIM - 1u);
    return bitcast<vec2<f32>>(vec2<u32>(v[at * V_WORDS + 2u * pair], v[at * V_WORDS + second]));
}
