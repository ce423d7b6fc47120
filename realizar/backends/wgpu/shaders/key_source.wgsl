// The source of rotate.wgsl for new keys (new_kv.wgsl).
fn source(i: u32) -> f32 { return new_k[i]; }
