// The query in the form of keys that are stored after a Hadamard transform: H q / K_WIDTH, rounded to int8 if ROUNDS_Q.
// if ROUNDS_Q
var<workgroup> query_codes: array<u32, Q_SIZE / 4u>;
var<workgroup> sums_of_codes: array<i32, LANES>;
var<private> query_scale: f32;
var<private> query_offset: f32;  // 8 times the sum of the codes: an element of q4 is its nibble - 8
// end

fn transform_query(lane: u32) {
    for (var distance = 1u; distance < K_WIDTH; distance *= 2u) {
        for (var pair = lane; pair < K_DIM / 2u; pair += LANES) {
            let i = 2u * pair - pair % distance;
            let a = query[i];
            let b = query[i + distance];
            query[i] = a + b;
            query[i + distance] = a - b;
        }
        workgroupBarrier();
    }
    for (var d = lane; d < Q_SIZE; d += LANES) { query[d] *= 1.0 / f32(K_WIDTH); }
    workgroupBarrier();
// if ROUNDS_Q
    round_query(lane);
// end
}

// if ROUNDS_Q
fn round_query(lane: u32) {
    var part = 0.0;
    for (var d = lane; d < Q_SIZE; d += LANES) { part = max(part, size_of(query[d])); }
    let most = greatest(lane, part);
    let has_codes = most >= TINY && most < BAD;
    let inverse = select(0.0, 127.0 / most, has_codes);
    var sum = 0;
    for (var i = lane; i < Q_SIZE / 4u; i += LANES) {
        var codes = vec4<i32>();
        if (has_codes) {
            let x = vec4<f32>(query[4u * i], query[4u * i + 1u], query[4u * i + 2u], query[4u * i + 3u]);
            codes = clamp(vec4<i32>(round(x * inverse)), vec4<i32>(-127), vec4<i32>(127));
        }
        query_codes[i] = pack4xI8(codes);
        sum += codes.x + codes.y + codes.z + codes.w;
    }
    sums_of_codes[lane] = sum;
    workgroupBarrier();
    sum = 0;
    for (var i = 0u; i < LANES; i += 1u) { sum += sums_of_codes[i]; }
    query_offset = f32(8 * sum);
    query_scale = select(select(0.0, most / 127.0, has_codes), bitcast<f32>(0x7fc00000u | bitcast<u32>(part)), most >= BAD);
}
// end
