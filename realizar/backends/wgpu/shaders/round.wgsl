// Rounds activations to int8, in blocks of ACT_BLOCK elements that share a scale: q = round(x * 127 / greatest |x|).
// `act` has for each row three planes with a vector for each group of 32 elements: its first 16 codes, its last 16, and as
// float32 its scale, and the scale times the sums of its first and last 16 codes. Each 32 of the LANES invocations of a
// workgroup have 256 consecutive elements: invocation j has elements 4 j to 4 j + 3 of the first 128, and of the last.
// if HAS_SUBGROUPS
fn greatest_of_run(lane: u32, size: f32, n: u32) -> f32 {
    var most = size;
    for (var half = n / 2u; half > 0u; half /= 2u) { most = max(most, subgroupShuffleXor(most, half)); }
    return most;
}

// The sums of the codes of the first and of the second 16 elements of a group.
fn sums_of_group(lane: u32, sum: i32) -> vec2<i32> {
    var own = sum + subgroupShuffleXor(sum, 1u);
    own += subgroupShuffleXor(own, 2u);
    let other = subgroupShuffleXor(own, 4u);
    return select(vec2<i32>(own, other), vec2<i32>(other, own), lane % 8u >= 4u);
}
// end
// if USES_MEMORY
var<workgroup> sizes: array<f32, LANES>;
var<workgroup> sums_of_codes: array<i32, LANES>;

fn greatest_of_run(lane: u32, size: f32, n: u32) -> f32 {
    workgroupBarrier();
    sizes[lane] = size;
    workgroupBarrier();
    var most = 0.0;
    for (var i = lane / n * n; i < lane / n * n + n; i += 1u) { most = max(most, sizes[i]); }
    return most;
}

fn sums_of_group(lane: u32, sum: i32) -> vec2<i32> {
    workgroupBarrier();
    sums_of_codes[lane] = sum;
    workgroupBarrier();
    var sums = vec2<i32>();
    for (var i = 0u; i < 8u; i += 1u) { sums[i / 4u] += sums_of_codes[lane / 8u * 8u + i]; }
    return sums;
}
// end

fn size_of_four(v: vec4<f32>) -> f32 { return max(max(abs(v.x), abs(v.y)), max(abs(v.z), abs(v.w))); }

// Stores elements i to i + 3 of a row of n, if i < n; the row begins at `first` of act.
fn round_four(lane: u32, i: u32, n: u32, first: u32, v: vec4<f32>, most: f32) {
    let is_tiny = most < 7.888609e-31;
    let codes = vec4<i32>(round(v * select(127.0 / most, 0.0, is_tiny)));
    let sums = sums_of_group(lane, codes.x + codes.y + codes.z + codes.w);
    if (i >= n) { return; }
    let to = first + i / 32u;
    let j = lane % 8u;
    act[to + j / 4u * (n / 32u)][j % 4u] = pack4xI8(codes);
    if (j == 0u) {
        let scale = select(most / 127.0, 0.0, is_tiny);
        let numbers = vec4<f32>(scale, scale * f32(sums.x), scale * f32(sums.y), 0.0);
        act[to + 2u * (n / 32u)] = bitcast<vec4<u32>>(numbers);
    }
}

// Rounds the elements i to i + 3, and i + 128 to i + 131, of a row of n, those below n; called by all invocations.
fn round_eight(lane: u32, i: u32, n: u32, first: u32, a: vec4<f32>, b: vec4<f32>) {
    let size_a = select(0.0, size_of_four(a), i < n);
    let size_b = select(0.0, size_of_four(b), i + 128u < n);
    if (ACT_BLOCK == 256u) {
        let most = greatest_of_run(lane, max(size_a, size_b), 32u);
        round_four(lane, i, n, first, a, most);
        round_four(lane, i + 128u, n, first, b, most);
    } else {
        round_four(lane, i, n, first, a, greatest_of_run(lane, size_a, 8u));
        round_four(lane, i + 128u, n, first, b, greatest_of_run(lane, size_b, 8u));
    }
}
