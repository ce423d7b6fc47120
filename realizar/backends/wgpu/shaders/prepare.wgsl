// An input of N elements of a step's only row, rounded to int8 in the memory of the workgroup.
var<workgroup> act: array<vec4<u32>, 3u * (N / 32u)>;

// Sets `act`; called by all invocations, which meet at a barrier before they read it.
fn prepare(lane: u32) {
    measure(lane, X_AT);
    for (var first = 0u; first < N; first += 8u * LANES) {
        let i = first + 256u * (lane / 32u) + 4u * (lane % 32u);
        round_eight(lane, i, N, 0u, normalized(X_AT, i, 0u), normalized(X_AT, i + 128u, 0u));
    }
}
