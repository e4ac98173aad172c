//! Philox4x32-10, from which CUDA's generator draws: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
//! and cuRAND's `curand_philox4x32_x.h`.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four numbers that belong to a counter and a key. Inlined, so that it gets the vectors of its caller.
#[inline(always)]
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let [x, y, z, w] = counter;
        let [a, b] = [(MULTIPLIERS[0], x), (MULTIPLIERS[1], z)].map(|(m, n)| u64::from(m) * u64::from(n));
        counter = [(b >> 32) as u32 ^ y ^ key[0], b as u32, (a >> 32) as u32 ^ w ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::philox4x32_10;

    #[test]
    fn the_numbers_are_those_of_random123s_known_answers() {
        // The lines `philox4x32 10` of its kat_vectors.
        for (counter, key, numbers) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox4x32_10(counter, key), numbers, "{counter:x?} {key:x?}");
        }
    }
}
