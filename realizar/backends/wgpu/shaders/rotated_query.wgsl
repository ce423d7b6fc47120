// A query that is rotated for the position of its row (rotate.wgsl).
fn own_query(row: u32, start: u32, d: u32) -> f32 { return rotated(row, start, d); }
