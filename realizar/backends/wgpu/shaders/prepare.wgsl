// An input of N elements of a step's only row, rounded to int8 in the memory of the workgroup.
var<workgroup> act: array<vec4<u32>, 3u * (N / 32u)>;

// Sets `act`; called by all invocations, which meet at a barrier before they read it.
fn prepare(lane: u32) {
    var own = eight_of(lane, 0u);
    measure(lane, X_AT);
    for (var first = 0u; first < N; first += 8u * LANES) {
        if (first > 0u) { own = eight_of(lane, first); }
        round_eight(lane, own.i, N, 0u, first_four(X_AT, own), last_four(X_AT, own));
    }
}
