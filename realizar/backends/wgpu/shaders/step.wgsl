// The inputs of one step: a header of numbers, then the arrays whose places it has (step.py writes both).
@group(0) @binding(0) var<storage, read> step: array<i32>;

fn n_rows() -> u32 { return u32(step[0]); }
fn n_outputs() -> u32 { return u32(step[1]); }

// The id of a row's token.
fn token(row: u32) -> u32 { return u32(step[u32(step[2]) + row]); }

// The index of a row's sequence among those of the step.
fn sequence(row: u32) -> u32 { return u32(step[u32(step[3]) + row]); }

// How many rows of its sequence are before a row.
fn place(row: u32) -> i32 { return step[u32(step[4]) + row]; }

// The row of output m.
fn output_row(m: u32) -> u32 { return u32(step[u32(step[5]) + m]); }

// The first position of a row.
fn position(row: u32) -> i32 { return step[u32(step[6]) + row]; }

// Rows of a sequence, those before the step included; and the row of the step that its first row would be.
fn n_of_sequence(s: u32) -> i32 { return step[u32(step[7]) + s]; }
fn first_of_sequence(s: u32) -> i32 { return step[u32(step[8]) + s]; }

// Rows of the encoder input of a sequence.
fn n_of_encoder(s: u32) -> i32 { return step[u32(step[11]) + s]; }

// Rows of its bidirectional span before and after a row; 0 without spans.
fn reach(row: u32) -> vec2<i32> {
    let at = u32(step[9]);
    if (at == 0u) { return vec2<i32>(0, 0); }
    return vec2<i32>(step[at + 2u * row], step[at + 2u * row + 1u]);
}

// The block of rows 16 j to 16 j + 15 of sequence s; `table` is a place in the header, followed by the table's width.
fn block_of(table: u32, s: u32, j: u32) -> u32 {
    return u32(step[u32(step[table]) + s * u32(step[table + 1u]) + j]);
}

// Cosine and sine of pair i of a row; `rotation` is a place in the header.
fn cos_sin(rotation: u32, row: u32, half: u32, i: u32) -> vec2<f32> {
    let at = u32(step[rotation]) + 2u * (row * half + i);
    return vec2<f32>(bitcast<f32>(step[at]), bitcast<f32>(step[at + 1u]));
}

// The rows of a sequence in the step: first to end, of which draft tokens begin at first_draft (end if there are none).
// The rows before them update the state in `slot`; the state after all rows is that of last_slot.
struct Run { first: u32, first_draft: u32, end: u32, slot: u32, last_slot: u32, n_past: u32 }

fn run_of(s: u32) -> Run {
    let at = u32(step[10]) + 6u * s;
    return Run(
        u32(step[at]), u32(step[at + 1u]), u32(step[at + 2u]), u32(step[at + 3u]), u32(step[at + 4u]), u32(step[at + 5u])
    );
}
