// Sums and maxima over the LANES invocations of a workgroup, in a fixed order; every invocation gets the result.
// if HAS_SUBGROUPS
var<workgroup> parts: array<f32, (LANES + 31u) / 32u>;

fn total(lane: u32, part: f32) -> f32 {
    var sum = part;
    for (var half = 16u; half > 0u; half /= 2u) { sum += subgroupShuffleXor(sum, half); }
    workgroupBarrier();
    if (lane % 32u == 0u) { parts[lane / 32u] = sum; }
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < LANES / 32u; i += 1u) { sum += parts[i]; }
    return sum;
}

fn greatest(lane: u32, part: f32) -> f32 {
    var most = part;
    for (var half = 16u; half > 0u; half /= 2u) { most = max(most, subgroupShuffleXor(most, half)); }
    workgroupBarrier();
    if (lane % 32u == 0u) { parts[lane / 32u] = most; }
    workgroupBarrier();
    most = parts[0];
    for (var i = 1u; i < LANES / 32u; i += 1u) { most = max(most, parts[i]); }
    return most;
}
// end
// if USES_MEMORY
var<workgroup> parts: array<f32, LANES>;

fn total(lane: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts[lane] = part;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { parts[lane] += parts[lane + half]; }
    }
    workgroupBarrier();
    return parts[0];
}

fn greatest(lane: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts[lane] = part;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { parts[lane] = max(parts[lane], parts[lane + half]); }
    }
    workgroupBarrier();
    return parts[0];
}
// end
