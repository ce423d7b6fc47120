// An input of N elements of a step's only row, rounded to int8 in the memory of the workgroup.
var<workgroup> act: array<vec4<u32>, 3u * (N / 32u)>;

// Sets `act`; called by all invocations, which meet at a barrier before they read it.
fn prepare(lane: u32) {
    normalize(lane, X_AT, 0u);
    for (var m = 0u; m < OWN; m += 2u) {
        let i = element_of(lane, m);
        round_eight(lane, i, N, i / 32u, own[m], own[m + 1u]);
    }
}
