// The part of an invocation of a row of W times the input (prepare.wgsl or stored_act.wgsl).
// if HAS_BIAS
@group(1) @binding(7) var<storage, read> bias: array<f32>;
// end

fn product_with(w: Group, g: u32) -> f32 {
    return product_of(w, act[g], act[GROUPS + g], bitcast<vec4<f32>>(act[2u * GROUPS + g]));
}

fn row_product(row: u32, lane: u32) -> f32 {
    var sum = 0.0;
    var g = lane;
    for (; g + 3u * TEAM < GROUPS; g += 4u * TEAM) {  // all reads of a round before the first is needed
        let a = group_of(row, g);
        let b = group_of(row, g + TEAM);
        let c = group_of(row, g + 2u * TEAM);
        let d = group_of(row, g + 3u * TEAM);
        sum += product_with(a, g);
        sum += product_with(b, g + TEAM);
        sum += product_with(c, g + 2u * TEAM);
        sum += product_with(d, g + 3u * TEAM);
    }
    for (; g < GROUPS; g += TEAM) { sum += product_with(group_of(row, g), g); }
    return sum;
}

// What is added to a row's product.
fn bias_of(row: u32) -> f32 {
// if HAS_BIAS
    return bias[row];
// end
    return 0.0;
}
