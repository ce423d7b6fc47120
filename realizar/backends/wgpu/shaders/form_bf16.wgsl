// Weights as bfloat16, the upper halves of float32; a row is padded to a multiple of four elements.
@group(1) @binding(0) var<storage, read> w: array<vec2<u32>>;

// Elements 4 c to 4 c + 3 of a row.
fn four(row: u32, c: u32) -> vec4<f32> {
    let pair = w[row * ROW_FOURS + c];
    return bitcast<vec4<f32>>(vec4<u32>(pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
}
