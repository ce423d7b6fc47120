// Weights as float16; a row is padded to a multiple of four elements.
@group(1) @binding(0) var<storage, read> w: array<vec2<u32>>;

// Elements 4 c to 4 c + 3 of a row.
fn four(row: u32, c: u32) -> vec4<f32> {
    let pair = w[row * ROW_FOURS + c];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
