// Merges what attention.wgsl has computed of each SPLIT keys: one workgroup for a head of a row.
@group(1) @binding(0) var<storage, read> parts: array<f32>;
// if HAS_SINKS
@group(1) @binding(1) var<storage, read> sinks: array<f32>;
// end
@group(1) @binding(2) var<storage, read_write> y: array<f32>;

const LEAST = -3.4028235e38;
const PAIRS = (V_DIM + 1u) / 2u;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    var row = group.y;
    if (PICKED) { row = output_row(group.y); }
    let range = bounds(place(row), n_keys(sequence(row)), span_of(row));
    for (var d = lane; d < V_DIM; d += LANES) {
        var most = LEAST;
        var sum = 0.0;
        var merged = 0.0;
// if HAS_SINKS
        most = sinks[head];
        sum = 1.0;
// end
        for (var split = range.x / i32(SPLIT); split <= (range.y - 1) / i32(SPLIT); split += 1) {
            let at = ((group.y * N_HEAD + head) * N_SPLITS + u32(split)) * (2u * PAIRS + 2u);
            let greatest_of_both = max(most, parts[at]);
            let fade = exp(most - greatest_of_both);
            let fade_split = exp(parts[at] - greatest_of_both);
            most = greatest_of_both;
            sum = sum * fade + parts[at + 1u] * fade_split;
            merged = merged * fade + parts[at + 2u + d] * fade_split;
        }
// if TRANSFORMS_V
        result[d] = merged / sum;
        continue;
// end
        y[group.y * Y_LD + Y_AT + head * V_DIM + d] = merged / sum;
    }
// if TRANSFORMS_V
    write_result(lane, group.y * Y_LD + Y_AT + head * V_DIM);
// end
}
