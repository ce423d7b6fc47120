// Norms of N elements from element `start` of x on, by LANES invocations: each has eight of each 8 LANES elements.
// if IS_ALIGNED
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
// end
// if IS_UNALIGNED
@group(1) @binding(1) var<storage, read> x: array<f32>;
// end
// if N_WEIGHT
@group(1) @binding(2) var<storage, read> norm_weight: array<f32>;
// end
// if N_BIAS
@group(1) @binding(3) var<storage, read> norm_bias: array<f32>;
// end

const PLAIN = 0u;
const RMS_NORM = 1u;
const LAYER_NORM = 2u;
const OWN = 2u * ((N + 8u * LANES - 1u) / (8u * LANES));
var<private> own: array<vec4<f32>, OWN>;  // of this invocation

// The first element of own[m].
fn element_of(lane: u32, m: u32) -> u32 { return 8u * (m / 2u * LANES + lane) + m % 2u * 4u; }

fn is_there(i: u32) -> vec4<bool> { return vec4<u32>(i, i + 1u, i + 2u, i + 3u) < vec4<u32>(N); }

fn four_of(at: u32, i: u32) -> vec4<f32> {
    var found = vec4<f32>();
    if (i >= N) { return found; }
// if IS_ALIGNED
    return x[at / 4u];
// end
// if IS_UNALIGNED
    for (var j = 0u; j < min(4u, N - i); j += 1u) { found[j] = x[at + j]; }
// end
    return found;
}

// Elements i to i + 3 of the N; `first` is the number of elements of the row before those.
fn scaled(v: vec4<f32>, i: u32, first: u32) -> vec4<f32> {
    var out = v;
// if N_WEIGHT
    for (var j = 0u; j < 4u; j += 1u) { out[j] *= norm_weight[(first + i + j) % N_WEIGHT]; }
// end
// if N_BIAS
    for (var j = 0u; j < 4u; j += 1u) { out[j] += norm_bias[(first + i + j) % N_BIAS]; }
// end
    return out;
}

// Sets `own`; called by all invocations.
fn normalize(lane: u32, start: u32, first: u32) {
    for (var m = 0u; m < OWN; m += 1u) {
        let i = element_of(lane, m);
        own[m] = four_of(start + i, i);
    }
    if (KIND == PLAIN) { return; }
    var part = 0.0;
    if (KIND == LAYER_NORM) {
        for (var m = 0u; m < OWN; m += 1u) { part += dot(own[m], vec4<f32>(1.0)); }
        let mean = total(lane, part) / f32(N);
        part = 0.0;
        for (var m = 0u; m < OWN; m += 1u) {
            own[m] = select(vec4<f32>(), own[m] - mean, is_there(element_of(lane, m)));
        }
    }
    for (var m = 0u; m < OWN; m += 1u) { part += dot(own[m], own[m]); }
    let scale = 1.0 / sqrt(total(lane, part) / f32(N) + EPS);
    for (var m = 0u; m < OWN; m += 1u) {
        let i = element_of(lane, m);
        if (i < N) { own[m] = scaled(own[m] * scale, i, first); }
    }
}
