// y += scale * v for the control vectors of a row, in their order.
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var row = id.y;
    if (PICKED) { row = output_row(id.y); }
    let entries = entries_of(row, SLOT);
    if (entries == 0u || id.x >= N_OUT) { return; }
    let to = id.y * Y_LD + Y_AT + id.x;
    var sum = y[to];
    for (var i = 0u; i < u32(step[entries]); i += 1u) {
        let own = factors_of(entries, i);
        sum = fma(own.scale, factor(own.b, own.is_half, N_OUT, 0u, id.x), sum);
    }
    y[to] = sum;
}
