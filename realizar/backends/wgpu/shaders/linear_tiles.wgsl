// y = W x + b (+ residual) for many rows of the step, with activations of int8 (round.wgsl): a workgroup computes
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
var<workgroup> w_groups: array<Group, INVOCATIONS>;
var<workgroup> x_first: array<vec4<u32>, INVOCATIONS>;
var<workgroup> x_last: array<vec4<u32>, INVOCATIONS>;
var<workgroup> x_scales: array<vec4<f32>, INVOCATIONS>;

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
            w_groups[id] = group_of(own_out, g);
            let x = 3u * GROUPS * own_row + g;
            x_first[id] = act[x];
            x_last[id] = act[x + GROUPS];
            x_scales[id] = bitcast<vec4<f32>>(act[x + 2u * GROUPS]);
        } else {
            w_groups[id].pairs = vec4<f32>();
            x_scales[id] = vec4<f32>();
        }
        workgroupBarrier();
        for (var base = 0u; base < INVOCATIONS; base += TILE) {
            for (var i = 0u; i < 8u; i += 1u) {
                let own = w_groups[base + tall + TALL * i];
                for (var j = 0u; j < 4u; j += 1u) {
                    let x = base + wide + WIDE * j;
                    sums[i][j] += product_of(own, x_first[x], x_last[x], x_scales[x]);
                }
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
