// f(a, b) as elementwise.wgsl, rounded to int8 (round.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read> a: array<f32>;
// if HAS_SECOND
@group(1) @binding(1) var<storage, read> b: array<f32>;
// end
@group(1) @binding(2) var<storage, read_write> act: array<vec4<u32>>;
// if KEEPS
@group(1) @binding(3) var<storage, read_write> y: array<f32>;
// end

const LANES = 32u;

// The element of b for element i of a row; 0 if the formula has none.
fn second(row: u32, i: u32) -> f32 {
// if HAS_SECOND
    return b[row * B_LD + B_AT + (i / B_REPEAT) % B_N];
// end
    return 0.0;
}

fn f(p: f32, q: f32) -> f32 { return ${F}; }

// Elements i to i + 3 of a row of N.
fn four(row: u32, i: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if (i >= N) { return v; }
    for (var j = 0u; j < 4u; j += 1u) {
        v[j] = f(a[row * A_LD + A_AT + i + j], second(row, i + j));
// if KEEPS
        y[row * Y_LD + Y_AT + i + j] = v[j];
// end
    }
    return v;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = 256u * group.x + 4u * lane;
    round_eight(lane, i, N, group.y * 3u * (N / 32u), four(group.y, i), four(group.y, i + 128u));
}
