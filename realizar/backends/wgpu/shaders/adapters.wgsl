// The factors of adapters, and the tables of a step that say which a sequence has (adapters.py).
@group(1) @binding(0) var<storage, read> factors: array<u32>;

// Words of A [rank, n_in] and of B transposed [rank, n_out].
struct Factors { a: u32, b: u32, rank: u32, scale: f32, is_half: bool }

// The place of the entries of a row's sequence for a weight, a number followed by the entries; 0: it has none.
fn entries_of(row: u32, slot: u32) -> u32 {
    let base = u32(step[12]);
    if (base == 0u) { return 0u; }
    let slots = u32(step[base + sequence(row)]);
    if (slots == 0u) { return 0u; }
    let entries = u32(step[base + slots + slot]);
    return select(base + entries, 0u, entries == 0u);
}

fn factors_of(entries: u32, i: u32) -> Factors {
    let at = entries + 1u + 5u * i;
    return Factors(
        u32(step[at]), u32(step[at + 1u]), u32(step[at + 2u]), bitcast<f32>(step[at + 3u]), step[at + 4u] != 0
    );
}

// Element i of row r of A or B transposed, whose rows of n elements begin at word `at`.
fn factor(at: u32, is_half: bool, n: u32, r: u32, i: u32) -> f32 {
    if (is_half) { return unpack2x16float(factors[at + r * ((n + 1u) / 2u) + i / 2u])[i % 2u]; }
    return bitcast<f32>(factors[at + r * n + i]);
}
