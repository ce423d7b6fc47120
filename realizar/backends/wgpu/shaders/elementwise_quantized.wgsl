// f(a, b) as elementwise.wgsl, rounded to int8 (quantize.wgsl); in float32 too, if KEEPS.
@group(1) @binding(0) var<storage, read> a: array<f32>;
@group(1) @binding(1) var<storage, read> b: array<f32>;
@group(1) @binding(2) var<storage, read_write> act: array<u32>;
@group(1) @binding(3) var<storage, read_write> y: array<f32>;

const INVOCATIONS = 64u;

fn f(p: f32, q: f32) -> f32 { return ${F}; }

fn element(row: u32, i: u32) -> f32 {
    return f(a[row * A_LD + A_AT + i], b[row * B_LD + B_AT + (i / B_REPEAT) % B_N]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = 4u * (64u * group.x + lane);
    let row = group.y;
    var v = vec4<f32>();
    if (i < N) {
        v = vec4<f32>(element(row, i), element(row, i + 1u), element(row, i + 2u), element(row, i + 3u));
        if (KEEPS) {
            for (var j = 0u; j < 4u; j += 1u) { y[row * Y_LD + Y_AT + i + j] = v[j]; }
        }
    }
    quantize(lane, row, i, v);
}
