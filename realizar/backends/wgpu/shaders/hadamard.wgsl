// The Hadamard transform of blocks of WIDTH elements, over its square root: one workgroup for each block. Signs are
// applied before it, or, if INVERSE, after it.
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> signs: array<f32>;
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

const LANES = 64u;
var<workgroup> block: array<f32, WIDTH>;

fn sign_of(i: u32, applies: bool) -> f32 {
    if (HAS_SIGNS && applies) { return signs[i]; }
    return 1.0;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * WIDTH;
    for (var i = lane; i < WIDTH; i += LANES) {
        block[i] = x[group.y * X_LD + X_AT + first + i] * sign_of(first + i, !INVERSE);
    }
    for (var distance = 1u; distance < WIDTH; distance *= 2u) {
        workgroupBarrier();
        for (var pair = lane; pair < WIDTH / 2u; pair += LANES) {
            let i = 2u * pair - pair % distance;
            let a = block[i];
            let b = block[i + distance];
            block[i] = a + b;
            block[i + distance] = a - b;
        }
    }
    workgroupBarrier();
    for (var i = lane; i < WIDTH; i += LANES) {
        y[group.y * Y_LD + Y_AT + first + i] = block[i] * SCALE * sign_of(first + i, INVERSE);
    }
}
