// s[t] = 1 + FACTOR * ln(1 + floor((position[t] + OFFSET) / PERIOD)), one number for each row.
@group(1) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3<u32>) {
    let periods = (u32(position(id.y)) + OFFSET) / PERIOD;
    y[id.y * Y_LD + Y_AT] = 1.0 + FACTOR * log(1.0 + f32(periods));
}
