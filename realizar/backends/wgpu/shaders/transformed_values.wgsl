// The result of attention to values that are stored after a Hadamard transform: y = H result / V_WIDTH.
var<workgroup> result: array<f32, V_DIM + 1u>;

// Writes the result of a head, which all LANES invocations have put into `result`, from element `to` of y on.
fn write_result(lane: u32, to: u32) {
    workgroupBarrier();
    for (var distance = 1u; distance < V_WIDTH; distance *= 2u) {
        for (var pair = lane; pair < V_DIM / 2u; pair += LANES) {
            let i = 2u * pair - pair % distance;
            let a = result[i];
            let b = result[i + distance];
            result[i] = a + b;
            result[i + distance] = a - b;
        }
        workgroupBarrier();
    }
    for (var d = lane; d < V_DIM; d += LANES) { y[to + d] = result[d] * (1.0 / f32(V_WIDTH)); }
}
