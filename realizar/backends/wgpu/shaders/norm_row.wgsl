// Norms of N elements from element `start` of x on, by LANES invocations: each has four elements of each 4 LANES.
// if IS_ALIGNED
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
// end
// if IS_UNALIGNED
@group(1) @binding(1) var<storage, read> x: array<f32>;
// end
// if HAS_FOUR_WEIGHTS
@group(1) @binding(2) var<storage, read> norm_weight: array<vec4<f32>>;
// end
// if HAS_WEIGHTS
@group(1) @binding(2) var<storage, read> norm_weight: array<f32>;
// end
// if HAS_FOUR_BIASES
@group(1) @binding(3) var<storage, read> norm_bias: array<vec4<f32>>;
// end
// if HAS_BIASES
@group(1) @binding(3) var<storage, read> norm_bias: array<f32>;
// end

const PLAIN = 0u;
const RMS_NORM = 1u;
const LAYER_NORM = 2u;
var<private> mean: f32;
var<private> scale: f32;

// Elements i to i + 3 of the N, those below N.
fn four_of(start: u32, i: u32) -> vec4<f32> {
    var found = vec4<f32>();
    if (i >= N) { return found; }
// if IS_ALIGNED
    return x[(start + i) / 4u];
// end
// if IS_UNALIGNED
    for (var j = 0u; j < min(4u, N - i); j += 1u) { found[j] = x[start + i + j]; }
// end
    return found;
}

// Sets mean and scale; called by all invocations.
fn measure(lane: u32, start: u32) {
    mean = 0.0;
    scale = 1.0;
    if (KIND == PLAIN) { return; }
    var part = 0.0;
    if (KIND == LAYER_NORM) {
        for (var i = 4u * lane; i < N; i += 4u * LANES) { part += dot(four_of(start, i), vec4<f32>(1.0)); }
        mean = total(lane, part) / f32(N);
        part = 0.0;
    }
    for (var i = 4u * lane; i < N; i += 4u * LANES) {
        let is_there = vec4<u32>(i, i + 1u, i + 2u, i + 3u) < vec4<u32>(N);
        let v = select(vec4<f32>(), four_of(start, i) - mean, is_there);
        part += dot(v, v);
    }
    scale = 1.0 / sqrt(total(lane, part) / f32(N) + EPS);
}

// Weights and biases of elements i to i + 3; `first` is the number of elements of the row before the N.
fn weights_of(i: u32, first: u32) -> vec4<f32> {
    var found = vec4<f32>(1.0);
// if HAS_FOUR_WEIGHTS
    found = norm_weight[(first + i) % N_WEIGHT / 4u];
// end
// if HAS_WEIGHTS
    for (var j = 0u; j < 4u; j += 1u) { found[j] = norm_weight[(first + i + j) % N_WEIGHT]; }
// end
    return found;
}

fn biases_of(i: u32, first: u32) -> vec4<f32> {
    var found = vec4<f32>();
// if HAS_FOUR_BIASES
    found = norm_bias[(first + i) % N_BIAS / 4u];
// end
// if HAS_BIASES
    for (var j = 0u; j < 4u; j += 1u) { found[j] = norm_bias[(first + i + j) % N_BIAS]; }
// end
    return found;
}

// The results for elements i to i + 3.
fn normalized(start: u32, i: u32, weights: vec4<f32>, biases: vec4<f32>) -> vec4<f32> {
    let v = four_of(start, i);
    if (KIND == PLAIN || i >= N) { return v; }
    return (v - mean) * scale * weights + biases;
}
