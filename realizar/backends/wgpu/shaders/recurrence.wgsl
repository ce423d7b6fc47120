// A recurrence over the rows of a sequence: LANES invocations keep one of N_OUTER rows of N_INNER numbers of its state in
// registers, update it for each row of the step and store it. A workgroup that is not at the first row of a sequence has
// nothing to do. The file of an op has `update`, which returns the output of a row.
@group(1) @binding(0) var<storage, read_write> states: array<f32>;
@group(1) @binding(1) var<storage, read_write> y: array<f32>;

const LANES = 16u;
const OUTER_OF_GROUP = 4u;
const OWN = (N_INNER + LANES - 1u) / LANES;
var<private> state: array<f32, OWN>;
var<workgroup> parts: array<f32, 64>;

// The sum over the lanes of a row of the state. All invocations of the workgroup must call it together.
fn sum_of_lanes(id: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts[id] = part;
    workgroupBarrier();
    let first = id - id % LANES;
    var sum = 0.0;
    for (var i = 0u; i < LANES; i += 1u) { sum += parts[first + i]; }
    return sum;
}

fn store(slot: u32, outer: u32, lane: u32) {
    if (outer >= N_OUTER) { return; }
    for (var m = 0u; m < OWN; m += 1u) {
        let inner = m * LANES + lane;
        if (inner < N_INNER) { states[(slot * N_OUTER + outer) * N_INNER + inner] = state[m]; }
    }
}

fn restore(slot: u32, outer: u32, lane: u32) {
    for (var m = 0u; m < OWN; m += 1u) {
        let inner = m * LANES + lane;
        state[m] = 0.0;
        if (inner < N_INNER) { state[m] = states[(slot * N_OUTER + outer) * N_INNER + inner]; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let run = run_of(sequence(group.y));
    if (group.y != run.first) { return; }
    let lane = id % LANES;
    let outer = group.x * OUTER_OF_GROUP + id / LANES;
    let clamped = min(outer, N_OUTER - 1u);
    if (run.n_past > 0u) { restore(run.slot, clamped, lane); }
    for (var row = run.first; row < run.end; row += 1u) {
        if (row == run.first_draft) { store(run.slot, outer, lane); }
        let out = update(row, clamped, lane, id);
        if (lane == 0u && outer < N_OUTER) { y[row * Y_LD + Y_AT + outer] = out; }
    }
    store(run.last_slot, outer, lane);
}
