// y += B h for the adapters of a row, in their order: an invocation for each element.
@group(1) @binding(1) var<storage, read> h: array<f32>;
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var row = id.y;
    if (PICKED) { row = output_row(id.y); }
    let entries = entries_of(row, SLOT);
    if (entries == 0u || id.x >= N_OUT) { return; }
    let to = id.y * Y_LD + Y_AT + id.x;
    var sum = y[to];
    var at = id.y * H_LD + H_AT;
    for (var i = 0u; i < u32(step[entries]); i += 1u) {
        let own = factors_of(entries, i);
        for (var r = 0u; r < own.rank; r += 1u) {
            sum = fma(h[at + r], factor(own.b, own.is_half, N_OUT, r, id.x), sum);
        }
        at += own.rank;
    }
    y[to] = sum;
}
