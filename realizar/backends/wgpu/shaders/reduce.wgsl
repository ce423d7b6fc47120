// Sums and maxima over the LANES invocations of a workgroup, in a fixed order; every invocation gets the result.
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
