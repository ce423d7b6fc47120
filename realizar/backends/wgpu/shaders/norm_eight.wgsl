// Eight elements of a row of N, as round.wgsl has them, after the norm of norm_row.wgsl.
struct Eight { i: u32, weights: array<vec4<f32>, 2>, biases: array<vec4<f32>, 2> }

// What an invocation needs of the elements `first` to `first` + 8 LANES - 1, besides the row: read before the norm is
// measured, which takes as long.
fn eight_of(lane: u32, first: u32) -> Eight {
    let i = first + 256u * (lane / 32u) + 4u * (lane % 32u);
    return Eight(
        i, array<vec4<f32>, 2>(weights_of(i, 0u), weights_of(i + 128u, 0u)),
        array<vec4<f32>, 2>(biases_of(i, 0u), biases_of(i + 128u, 0u)));
}

fn first_four(start: u32, own: Eight) -> vec4<f32> { return normalized(start, own.i, own.weights[0], own.biases[0]); }

fn last_four(start: u32, own: Eight) -> vec4<f32> {
    return normalized(start, own.i + 128u, own.weights[1], own.biases[1]);
}
