// Element d of the head that begins at `start`, rotated for the position of a row; source(i) is element i of the input.
fn rotated(row: u32, start: u32, d: u32) -> f32 {
    if (d >= DIMS) { return source(start + d); }
    let half = DIMS / 2u;
    var pair = d / 2u;
    var is_second = d % 2u == 1u;
    var a = 2u * pair;
    var b = a + 1u;
    if (NEOX) {
        is_second = d >= half;
        pair = d % half;
        a = pair;
        b = pair + half;
    }
    let r = cos_sin(ROTATION, row, half, pair);
    if (is_second) { return source(start + a) * r.y + source(start + b) * r.x; }
    return source(start + a) * r.x - source(start + b) * r.y;
}
