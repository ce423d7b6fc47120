// Keys and values of the KV cache, in the layout of store.wgsl.
@group(1) @binding(1) var<storage, read> k: array<u32>;
@group(1) @binding(2) var<storage, read> v: array<u32>;

// The row of the cache with key j of sequence s.
fn kv_row(s: u32, j: i32, head: u32) -> u32 {
    return (block_of(TABLE, s, u32(j) / 16u) * N_HEAD_KV + head) * 16u + u32(j) % 16u;
}

fn product(at: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < K_WORDS; i += 1u) {
        let word = k[at * K_WORDS + i];
        if (K_IS_F16) {
            let pair = unpack2x16float(word);
            sum += query[2u * i] * pair.x + query[2u * i + 1u] * pair.y;
        } else {
            sum += query[i] * bitcast<f32>(word);
        }
    }
    return sum;
}

fn value(at: u32, d: u32) -> f32 {
    if (V_IS_F16) {
        let pair = unpack2x16float(v[at * V_WORDS + d / 2u]);
        return select(pair.x, pair.y, d % 2u == 1u);
    }
    return bitcast<f32>(v[at * V_WORDS + d]);
}
