// The weights of the chosen experts: one workgroup for each row, an invocation for each of N_USED experts.
@group(1) @binding(0) var<storage, read> logits: array<f32>;
@group(1) @binding(1) var<storage, read> ids: array<f32>;
@group(1) @binding(2) var<storage, read> expert_scale: array<f32>;
@group(1) @binding(3) var<storage, read_write> y: array<f32>;

const LANES = 64u;
const LEAST = -3.4028235e38;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.y * LOGITS_LD + LOGITS_AT;
    let normal = gating_of(lane, start);
    let is_used = lane < N_USED;
    var expert = 0u;
    if (is_used) { expert = u32(ids[group.y * IDS_LD + IDS_AT + lane]); }
    let logit = logits[start + expert];
    var weight = select(0.0, gated(logit, normal), is_used);
    if (OF_CHOSEN) {
        let most = greatest(lane, select(LEAST, logit, is_used));
        weight = select(0.0, exp(logit - most), is_used);
        weight /= total(lane, weight);
    }
    if (NORMALIZE) { weight /= max(total(lane, weight), SMALLEST_SUM); }
    weight *= SCALE;
    if (!is_used) { return; }
    if (HAS_SCALE) { weight *= expert_scale[expert]; }
    y[group.y * Y_LD + Y_AT + lane] = weight;
}
