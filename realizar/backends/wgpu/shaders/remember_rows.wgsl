// Stores the last N_PAST rows of each sequence, those of its draft tokens in a slot of their own.
@group(1) @binding(1) var<storage, read> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let run = run_of(sequence(id.y));
    if (id.x >= N || id.y != run.first) { return; }
    var with_drafts: array<f32, N_PAST>;  // read before the slot is overwritten
    for (var j = 0u; j < N_PAST; j += 1u) {
        with_drafts[j] = row_before(run, i32(run.end) - i32(N_PAST - j), id.x);
    }
    for (var j = 0u; j < N_PAST; j += 1u) {  // a row of the slot is read only after, or when, it is overwritten
        let kept = row_before(run, i32(run.first_draft) - i32(N_PAST - j), id.x);
        states[(run.slot * N_PAST + j) * N + id.x] = kept;
    }
    if (run.last_slot == run.slot) { return; }
    for (var j = 0u; j < N_PAST; j += 1u) { states[(run.last_slot * N_PAST + j) * N + id.x] = with_drafts[j]; }
}
