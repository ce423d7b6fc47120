// Rounds activations to int8, in blocks of ACT_BLOCK elements that share a scale: q = round(x * 127 / greatest |x|).
// A group of 32 elements has three vectors: its first 16 codes, its last 16, and as float32 its scale, and the scale times
// the sums of its first and last 16 codes. Each of the LANES invocations of a workgroup has eight elements of a row.
const RUN = ACT_BLOCK / 8u;  // invocations whose elements share a scale
// if HAS_SUBGROUPS
fn greatest_of_run(lane: u32, size: f32) -> f32 {
    var most = size;
    for (var half = RUN / 2u; half > 0u; half /= 2u) { most = max(most, subgroupShuffleXor(most, half)); }
    return most;
}

// The sums of the codes of the first and of the second 16 elements of a group.
fn sums_of_group(lane: u32, sum: i32) -> vec2<i32> {
    let of_half = sum + subgroupShuffleXor(sum, 1u);
    let of_other = subgroupShuffleXor(of_half, 2u);
    return select(vec2<i32>(of_half, of_other), vec2<i32>(of_other, of_half), lane % 4u >= 2u);
}
// end
// if USES_MEMORY
var<workgroup> sizes: array<f32, LANES>;
var<workgroup> sums_of_codes: array<i32, LANES>;

fn greatest_of_run(lane: u32, size: f32) -> f32 {
    workgroupBarrier();
    sizes[lane] = size;
    workgroupBarrier();
    var most = 0.0;
    for (var i = lane / RUN * RUN; i < lane / RUN * RUN + RUN; i += 1u) { most = max(most, sizes[i]); }
    return most;
}

fn sums_of_group(lane: u32, sum: i32) -> vec2<i32> {
    sums_of_codes[lane] = sum;
    workgroupBarrier();
    let i = lane / 4u * 4u;
    return vec2<i32>(sums_of_codes[i] + sums_of_codes[i + 1u], sums_of_codes[i + 2u] + sums_of_codes[i + 3u]);
}
// end

fn sum_of(a: vec4<i32>) -> i32 { return a.x + a.y + a.z + a.w; }

// Rounds elements i to i + 7 of a row, if i < n; the group with them is `group` of act. Called by all invocations.
fn round_eight(lane: u32, i: u32, n: u32, group: u32, a: vec4<f32>, b: vec4<f32>) {
    let sizes_of_four = max(abs(a), abs(b));
    let size = max(max(sizes_of_four.x, sizes_of_four.y), max(sizes_of_four.z, sizes_of_four.w));
    let most = greatest_of_run(lane, select(0.0, size, i < n));
    let is_tiny = most < 7.888609e-31;
    let inverse = select(127.0 / most, 0.0, is_tiny);
    let codes_a = vec4<i32>(round(a * inverse));
    let codes_b = vec4<i32>(round(b * inverse));
    let sums = sums_of_group(lane, sum_of(codes_a) + sum_of(codes_b));
    if (i >= n) { return; }
    let j = i % 32u / 8u;
    act[3u * group + j / 2u][j % 2u * 2u] = pack4xI8(codes_a);
    act[3u * group + j / 2u][j % 2u * 2u + 1u] = pack4xI8(codes_b);
    if (j == 0u) {
        let scale = select(most / 127.0, 0.0, is_tiny);
        let numbers = vec3<f32>(scale, scale * f32(sums.x), scale * f32(sums.y));
        act[3u * group + 2u] = vec4<u32>(bitcast<vec3<u32>>(numbers), 0u);
    }
}
