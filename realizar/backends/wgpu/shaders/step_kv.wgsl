// Keys and values of the step itself, for attention without a KV cache.
@group(1) @binding(1) var<storage, read> k: array<f32>;
@group(1) @binding(2) var<storage, read> v: array<f32>;

// The number of a head of the row of the step with key j of sequence s.
fn kv_row(s: u32, j: i32, head: u32) -> u32 { return u32(first_of_sequence(s) + j) * N_HEAD_KV + head; }

fn product(at: u32) -> f32 {
    let start = (at / N_HEAD_KV) * K_LD + K_AT + (at % N_HEAD_KV) * K_DIM;
    var sum = 0.0;
    for (var i = 0u; i < K_DIM; i += 1u) { sum += query[i] * k[start + i]; }
    return sum;
}

// Elements 2 pair and 2 pair + 1 of a value.
fn values_of(at: u32, pair: u32) -> vec2<f32> {
    let start = (at / N_HEAD_KV) * V_LD + V_AT + (at % N_HEAD_KV) * V_DIM;
    return vec2<f32>(v[start + 2u * pair], v[start + min(2u * pair + 1u, V_DIM - 1u)]);
}

fn value_scale(at: u32) -> f32 { return 1.0; }
