// The size of a number where the greatest of some is looked for: BAD for one that is not finite, as in round_int8.h.
const BAD = 3.4028235e38;
const TINY = 7.888609e-31;  // 2^-100

fn size_of(x: f32) -> f32 { return select(abs(x), BAD, (bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u); }
