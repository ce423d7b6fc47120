// Products of groups of 32 elements: weights in the form of the part before, activations of int8 (round.wgsl).
struct Group { first: vec4<u32>, last: vec4<u32>, pairs: vec4<f32> }  // codes; scale and minimum of both halves

// Group g of a row of W.
fn group_of(row: u32, g: u32) -> Group {
    let s = scale_of(row, 8u * g);
    var s_last = s;
    if (HALVES) { s_last = scale_of(row, 8u * g + 4u); }
    return Group(first_codes(row * GROUPS + g), last_codes(row * GROUPS + g), vec4<f32>(s, s_last));
}

fn dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

fn product_of(w: Group, first: vec4<u32>, last: vec4<u32>, m: vec4<f32>) -> f32 {
    let s = w.pairs;
    if (HALVES) {
        let products = s.x * f32(dots(w.first, first)) + s.z * f32(dots(w.last, last));
        return m.x * products + (s.y * m.y + s.w * m.z);
    }
    return m.x * (s.x * f32(dots(w.first, first) + dots(w.last, last))) + s.y * (m.y + m.z);
}
