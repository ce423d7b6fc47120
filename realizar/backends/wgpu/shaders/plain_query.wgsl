// A query that is not rotated.
fn own_query(row: u32, start: u32, d: u32) -> f32 { return q[start + d]; }
