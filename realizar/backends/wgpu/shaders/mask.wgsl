// Which rows of a sequence a row sees; rows span.x to span.y of a sequence are a bidirectional span.
const WINDOW = i32(N_WINDOW);
const SKIP = i32(N_SKIP);

// Keys of a sequence: its own rows, or those of its encoder input.
fn n_keys(s: u32) -> i32 { return ${N_KEYS}(s); }

// Whether row i sees row j.
fn sees(i: i32, j: i32, span: vec2<i32>) -> bool {
    if (!IS_CAUSAL) { return WINDOW == 0 || abs(i - j) <= WINDOW / 2; }
    if (j >= span.x && j <= span.y && span.x < span.y) { return true; }
    if (j > i || j < min(SKIP, i)) { return false; }
    if (WINDOW == 0) { return true; }
    if (IS_CHUNKED) { return j / WINDOW == i / WINDOW; }
    return j > i - WINDOW;
}

// The first row that row i sees, and the end of those.
fn bounds(i: i32, n: i32, span: vec2<i32>) -> vec2<i32> {
    if (!IS_CAUSAL) {
        if (WINDOW == 0) { return vec2<i32>(0, n); }
        return vec2<i32>(max(i - WINDOW / 2, 0), min(i + WINDOW / 2 + 1, n));
    }
    var first = 0;
    if (WINDOW > 0) { first = select(max(i - WINDOW + 1, 0), i / WINDOW * WINDOW, IS_CHUNKED); }
    first = max(first, min(SKIP, i));
    return vec2<i32>(min(first, span.x), max(i, span.y) + 1);
}

fn span_of(row: u32) -> vec2<i32> {
    if (!HAS_SPANS) { return vec2<i32>(place(row), place(row)); }
    let near = reach(row);
    return vec2<i32>(place(row) - near.x, place(row) + near.y);
}
