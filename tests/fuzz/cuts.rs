//! Where the bytes are cut: nowhere, everywhere, or as a seed has it.

/// The ends of the pieces that `length` bytes are fed in.
pub fn of(length: usize, seed: u8) -> Vec<usize> {
    let mut state = u64::from(seed);
    let mut cuts: Vec<_> = (1..length)
        .filter(|_| {
            // A linear congruential generator is random enough to cut with.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match seed {
                0 => false,
                1 => true,
                _ => (state >> 33) % u64::from(seed) == 0,
            }
        })
        .collect();
    cuts.push(length);
    cuts
}
