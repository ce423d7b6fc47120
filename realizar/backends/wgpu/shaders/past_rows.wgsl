// Rows before those of the step, of ops that remember the last N_PAST rows of N channels of a sequence.
@group(1) @binding(0) var<storage, read_write> states: array<f32>;

fn row_before(run: Run, row: i32, channel: u32) -> f32 {
    if (row >= i32(run.first)) { return x[u32(row) * X_LD + X_AT + channel]; }
    if (run.n_past == 0u) { return 0.0; }
    return states[(run.slot * N_PAST + N_PAST - u32(i32(run.first) - row)) * N + channel];
}
