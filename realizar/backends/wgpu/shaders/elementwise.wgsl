// y = f(a, b) for N elements of each row; one of a group of elements of b may belong to several of a.
@group(1) @binding(0) var<storage, read> a: array<f32>;
// if HAS_SECOND
@group(1) @binding(1) var<storage, read> b: array<f32>;
// end
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

// The element of b for element i of a row; 0 if the formula has none.
fn second(row: u32, i: u32) -> f32 {
// if HAS_SECOND
    return b[row * B_LD + B_AT + (i / B_REPEAT) % B_N];
// end
    return 0.0;
}

fn f(p: f32, q: f32) -> f32 { return ${F}; }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let row = id.y;
    if (i >= N) { return; }
    y[row * Y_LD + Y_AT + i] = f(a[row * A_LD + A_AT + i], second(row, i));
}
