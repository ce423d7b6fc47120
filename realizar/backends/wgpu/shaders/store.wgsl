// Stores keys, rotated if ROTATION is not 0, and values of each row of the step in the KV cache: a word at a time, one
// float32 or two float16. A head of a block has 16 rows of K_WORDS words, and of V_WORDS in the cache of values.
@group(1) @binding(0) var<storage, read> k: array<f32>;
@group(1) @binding(1) var<storage, read> v: array<f32>;
@group(1) @binding(2) var<storage, read_write> k_cache: array<u32>;
@group(1) @binding(3) var<storage, read_write> v_cache: array<u32>;

fn source(i: u32) -> f32 { return k[i]; }

fn key(row: u32, start: u32, d: u32) -> f32 {
    if (d >= K_DIM) { return 0.0; }
    if (ROTATION == 0u) { return k[start + d]; }
    return rotated(row, start, d);
}

fn value(start: u32, d: u32) -> f32 {
    if (d >= V_DIM) { return 0.0; }
    return v[start + d];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.x / WORDS;
    let word = id.x % WORDS;
    let row = id.y;
    if (head >= N_HEAD_KV) { return; }
    let at = u32(place(row));
    let block = block_of(TABLE, sequence(row), at / 16u);
    let slot = (block * N_HEAD_KV + head) * 16u + at % 16u;
    if (word < K_WORDS) {
        let start = row * K_LD + K_AT + head * K_DIM;
        if (K_IS_F16) {
            let pair = vec2<f32>(key(row, start, 2u * word), key(row, start, 2u * word + 1u));
            k_cache[slot * K_WORDS + word] = pack2x16float(pair);
        } else {
            k_cache[slot * K_WORDS + word] = bitcast<u32>(key(row, start, word));
        }
    }
    if (word < V_WORDS) {
        let start = row * V_LD + V_AT + head * V_DIM;
        if (V_IS_F16) {
            v_cache[slot * V_WORDS + word] = pack2x16float(vec2<f32>(value(start, 2u * word), value(start, 2u * word + 1u)));
        } else {
            v_cache[slot * V_WORDS + word] = bitcast<u32>(value(start, word));
        }
    }
}
