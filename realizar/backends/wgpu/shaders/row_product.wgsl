// The part of an invocation of a row of W times the input in the memory of the workgroup (prepare.wgsl).
// if HAS_BIAS
@group(1) @binding(7) var<storage, read> bias: array<f32>;
// end

fn row_product(row: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var g = lane; g < GROUPS; g += TEAM) {
        let m = bitcast<vec4<f32>>(act[2u * GROUPS + g]);
        sum += product_of(group_of(row, g), act[g], act[GROUPS + g], m);
    }
    return sum;
}

// What is added to a row's product.
fn bias_of(row: u32) -> f32 {
// if HAS_BIAS
    return bias[row];
// end
    return 0.0;
}
