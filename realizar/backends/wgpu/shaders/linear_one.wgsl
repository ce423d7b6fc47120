// Products for a step of one row: a team of TEAM invocations computes a row of W at a time, in the order of
// linear_int8.wgsl. Each workgroup prepares the input by itself (prepare.wgsl), or reads it (stored_act.wgsl). With
// HAS_SECOND a result is made of two products.
// if HAS_RESIDUAL
@group(1) @binding(59) var<storage, read> residual: array<f32>;
// end
${OUTPUTS}

const TEAMS = LANES / TEAM;

// if HAS_TEAMS_IN_SUBGROUPS
fn total_of_team(lane: u32, part: f32) -> f32 {
    var sum = part;
    for (var half = TEAM / 2u; half > 0u; half /= 2u) { sum += subgroupShuffleXor(sum, half); }
    return sum;
}
// end
// if HAS_TEAMS_IN_MEMORY
var<workgroup> parts_of_teams: array<f32, LANES>;

fn total_of_team(lane: u32, part: f32) -> f32 {
    workgroupBarrier();
    parts_of_teams[lane] = part;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = lane / TEAM * TEAM; i < lane / TEAM * TEAM + TEAM; i += 1u) { sum += parts_of_teams[i]; }
    return sum;
}
// end

fn first_part(row: u32, lane: u32) -> f32 { ${FIRST} }

fn second_part(row: u32, lane: u32) -> f32 { ${SECOND} }

fn added(row: u32) -> f32 {
// if HAS_RESIDUAL
    return residual[RESIDUAL_AT + row];
// end
    return 0.0;
}

fn store(row: u32, first: f32, second: f32) {
    ${STORE}
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
// if PREPARES
    prepare(lane);
    workgroupBarrier();
// end
    for (var turn = 0u; turn < TURNS; turn += 1u) {
        let row = (group.x * TURNS + turn) * TEAMS + lane / TEAM;
        let own = min(row, N_OUT - 1u);
        let first = total_of_team(lane, first_part(own, lane % TEAM));
        var second = 0.0;
        if (HAS_SECOND) { second = total_of_team(lane, second_part(own, lane % TEAM)); }
        if (lane % TEAM == 0u && row < N_OUT) { store(row, first, second); }
    }
}
