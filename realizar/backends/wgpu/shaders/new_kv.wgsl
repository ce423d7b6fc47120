// The key and value of a row that is the only one of its sequence in a step: attention stores them, rotated if ROTATION
// is not 0, and reads them here, since another workgroup may not have stored them yet (layout: store.wgsl).
@group(1) @binding(6) var<storage, read> new_k: array<f32>;
@group(1) @binding(7) var<storage, read> new_v: array<f32>;

var<workgroup> own_k: array<u32, K_WORDS>;
var<workgroup> own_v: array<u32, V_WORDS>;

fn key(row: u32, start: u32, d: u32) -> f32 {
    if (d >= K_DIM) { return 0.0; }
    return k_rotated(row, start, d);
}

fn value(start: u32, d: u32) -> f32 {
    if (d >= V_DIM) { return 0.0; }
    return new_v[start + d];
}

// Sets own_k and own_v; called by all invocations. `at` is kv_row's number; `stores` whether this workgroup stores them.
fn take_new(lane: u32, row: u32, head: u32, at: u32, stores: bool) {
    let k_start = row * NEW_K_LD + NEW_K_AT + head * K_DIM;
    for (var word = lane; word < K_WORDS; word += LANES) {
        var bits = bitcast<u32>(key(row, k_start, word));
        if (K_IS_F16) { bits = pack2x16float(vec2<f32>(key(row, k_start, 2u * word), key(row, k_start, 2u * word + 1u))); }
        own_k[word] = bits;
        let i = at * K_WORDS + word;
        if (stores) { ${K_WORD} = bits; }
    }
    let v_start = row * NEW_V_LD + NEW_V_AT + head * V_DIM;
    for (var word = lane; word < V_WORDS; word += LANES) {
        var bits = bitcast<u32>(value(v_start, word));
        if (V_IS_F16) { bits = pack2x16float(vec2<f32>(value(v_start, 2u * word), value(v_start, 2u * word + 1u))); }
        own_v[word] = bits;
        if (stores) { v[at * V_WORDS + word] = bits; }
    }
    workgroupBarrier();
}

fn product_of_own() -> f32 {
    var sum = 0.0;
    ${OWN_PRODUCT}
    return sum;
}

fn values_of_own(pair: u32) -> vec2<f32> {
    if (V_IS_F16) { return unpack2x16float(own_v[pair]); }
    return bitcast<vec2<f32>>(vec2<u32>(own_v[2u * pair], own_v[min(2u * pair + 1u, V_DIM - 1u)]));
}
