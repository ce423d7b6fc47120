// h = scale * A x for all adapters of a row one after another: one workgroup for each rank.
@group(1) @binding(1) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read_write> h: array<f32>;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var row = group.y;
    if (PICKED) { row = output_row(group.y); }
    let entries = entries_of(row, SLOT);
    if (entries == 0u) { return; }
    var rank = group.x;
    var own = factors_of(entries, 0u);
    var i = 0u;
    while (rank >= own.rank) {
        rank -= own.rank;
        i += 1u;
        if (i == u32(step[entries])) { return; }
        own = factors_of(entries, i);
    }
    var sum = 0.0;
    for (var k = lane; k < N_IN; k += LANES) {
        sum += factor(own.a, own.is_half, N_IN, rank, k) * x[group.y * X_LD + X_AT + k];
    }
    sum = total(lane, sum);
    if (lane == 0u) { h[group.y * H_LD + H_AT + group.x] = own.scale * sum; }
}
