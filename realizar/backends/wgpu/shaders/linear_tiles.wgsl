// y = W x + b (+ residual) for many rows of the step, with activations of int8 (quantize.wgsl): a workgroup computes
// TILE rows of W for TILE rows of the step, two groups of 32 elements at a time, which it keeps in workgroup memory.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
// if HAS_BIAS
@group(1) @binding(2) var<storage, read> bias: array<f32>;
// end
// if HAS_RESIDUAL
@group(1) @binding(3) var<storage, read> residual: array<f32>;
// end
${STORE}

const TILE = 64u;
const INVOCATIONS = 128u;
const WIDE = 16u;   // invocation id has rows id % WIDE + WIDE j of the step, j < 4
const TALL = 8u;    // and rows id / WIDE + TALL i of W, i < 8
var<workgroup> w_first: array<vec4<u32>, INVOCATIONS>;
var<workgroup> w_last: array<vec4<u32>, INVOCATIONS>;
var<workgroup> w_scales: array<vec4<f32>, INVOCATIONS>;
var<workgroup> x_first: array<vec4<u32>, INVOCATIONS>;
var<workgroup> x_last: array<vec4<u32>, INVOCATIONS>;
var<workgroup> x_scales: array<vec4<f32>, INVOCATIONS>;

fn dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// The product of a group of W with one of x; s: scale and minimum of both halves of W, m: scale and sums of x.
fn product(a: vec4<u32>, b: vec4<u32>, s: vec4<f32>, at: u32) -> f32 {
    let m = x_scales[at];
    if (HALVES) {
        let products = s.x * f32(dots(a, x_first[at])) + s.z * f32(dots(b, x_last[at]));
        return m.x * products + (s.y * m.y + s.w * m.z);
    }
    return m.x * (s.x * f32(dots(a, x_first[at]) + dots(b, x_last[at]))) + s.y * (m.y + m.z);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let first_out = group.x * TILE;
    let first_row = group.y * TILE;
    let end = ${N};
    let own_out = min(first_out + id % TILE, N_OUT - 1u);
    let own_row = min(first_row + id % TILE, end - 1u);
    let wide = id % WIDE;
    let tall = id / WIDE;
    var sums: array<vec4<f32>, 8>;
    for (var first = 0u; first < GROUPS; first += 2u) {
        let g = first + id / TILE;
        workgroupBarrier();
        if (g < GROUPS) {
            let at = own_out * GROUPS + g;
            w_first[id] = first_codes(at);
            w_last[id] = last_codes(at);
            let s = scale_of(own_out, 8u * g);
            var s_last = s;
            if (HALVES) { s_last = scale_of(own_out, 8u * g + 4u); }
            w_scales[id] = vec4<f32>(s, s_last);
            let x = 3u * (own_row * GROUPS + g);
            x_first[id] = act[x];
            x_last[id] = act[x + 1u];
            x_scales[id] = bitcast<vec4<f32>>(act[x + 2u]);
        } else {
            w_scales[id] = vec4<f32>();
            x_scales[id] = vec4<f32>();
        }
        workgroupBarrier();
        for (var base = 0u; base < INVOCATIONS; base += TILE) {
            for (var i = 0u; i < 8u; i += 1u) {
                let at = base + tall + TALL * i;
                let a = w_first[at];
                let b = w_last[at];
                let s = w_scales[at];
                let x = base + wide;
                sums[i] += vec4<f32>(
                    product(a, b, s, x), product(a, b, s, x + WIDE), product(a, b, s, x + 2u * WIDE),
                    product(a, b, s, x + 3u * WIDE));
            }
        }
    }
    for (var i = 0u; i < 8u; i += 1u) {
        let out = first_out + tall + TALL * i;
        for (var j = 0u; j < 4u; j += 1u) {
            let row = first_row + wide + WIDE * j;
            if (out < N_OUT && row < end) {
                var sum = sums[i][j];
// if HAS_BIAS
                sum += bias[FIRST_OUT + out];
// end
// if HAS_RESIDUAL
                sum += residual[row * RESIDUAL_LD + RESIDUAL_AT + FIRST_OUT + out];
// end
                store(row, FIRST_OUT + out, sum);
            }
        }
    }
}
