// Rounds activations to int8, in blocks of ACT_BLOCK elements that share a scale: q = round(x * 127 / greatest |x|).
// A group of 32 elements has twelve words: its 32 codes, then as float32 its scale, and the scale times the sums of its
// first and last 16 codes. Each invocation has four elements of a row.
var<workgroup> greatest_of: array<f32, INVOCATIONS>;
var<workgroup> greatest_of_groups: array<f32, INVOCATIONS / 8u>;
var<workgroup> sum_of: array<i32, INVOCATIONS>;

// Rounds elements i to i + 3 of a row, if i < N; called by all invocations of a workgroup, with consecutive i.
fn quantize(lane: u32, row: u32, i: u32, v: vec4<f32>) {
    let size = max(max(abs(v.x), abs(v.y)), max(abs(v.z), abs(v.w)));
    greatest_of[lane] = select(0.0, size, i < N);
    workgroupBarrier();
    let first = lane / 8u * 8u;
    var greatest = 0.0;
    for (var j = 0u; j < 8u; j += 1u) { greatest = max(greatest, greatest_of[first + j]); }
    if (ACT_BLOCK == 256u) {
        greatest_of_groups[lane / 8u] = greatest;
        workgroupBarrier();
        let first_group = lane / 64u * 8u;
        for (var j = 0u; j < 8u; j += 1u) { greatest = max(greatest, greatest_of_groups[first_group + j]); }
    }
    let is_tiny = greatest < 7.888609e-31;
    let inverse = select(127.0 / greatest, 0.0, is_tiny);
    let codes = vec4<i32>(round(v * inverse));
    sum_of[lane] = codes.x + codes.y + codes.z + codes.w;
    workgroupBarrier();
    if (i < N) {
        let at = 12u * (row * (N / 32u) + i / 32u);
        act[at + (i % 32u) / 4u] = pack4xI8(codes);
        if (i % 32u == 0u) {
            let scale = select(greatest / 127.0, 0.0, is_tiny);
            let a = sum_of[lane] + sum_of[lane + 1u] + sum_of[lane + 2u] + sum_of[lane + 3u];
            let b = sum_of[lane + 4u] + sum_of[lane + 5u] + sum_of[lane + 6u] + sum_of[lane + 7u];
            act[at + 8u] = bitcast<u32>(scale);
            act[at + 9u] = bitcast<u32>(scale * f32(a));
            act[at + 10u] = bitcast<u32>(scale * f32(b));
        }
    }
    workgroupBarrier();
}
