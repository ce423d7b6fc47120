// The gating function of experts: the score of an expert from its logit.
const NONE = 0u;
const SIGMOID = 1u;
const SOFTMAX = 2u;

// The maximum and the sum of exponentials of a row of logits, which the softmax needs.
fn gating_of(lane: u32, start: u32) -> vec2<f32> {
    if (GATING != SOFTMAX) { return vec2<f32>(0.0, 1.0); }
    var most = logits[start];
    for (var e = lane; e < N_EXPERT; e += LANES) { most = max(most, logits[start + e]); }
    most = greatest(lane, most);
    var sum = 0.0;
    for (var e = lane; e < N_EXPERT; e += LANES) { sum += exp(logits[start + e] - most); }
    return vec2<f32>(most, total(lane, sum));
}

fn gated(logit: f32, normal: vec2<f32>) -> f32 {
    if (GATING == SIGMOID) { return 1.0 / (1.0 + exp(-logit)); }
    if (GATING == SOFTMAX) { return exp(logit - normal.x) / normal.y; }
    return logit;
}
