//! Hashes that give the same number on every target and in every version. Not for tables, which
//! their owners seed.

use xxhash_rust::xxh3::xxh3_64;

/// Hashes bytes for a choice that edge and pod must make alike.
pub(crate) fn stable(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Maps a hash to a number strictly between 0 and 1.
pub(crate) fn unit(hash: u64) -> f64 {
    // 52 bits and a half, so that neither end is reached.
    #[expect(clippy::cast_precision_loss, reason = "52 bits are exact in f64")]
    let bits = (hash >> 12) as f64;
    (bits + 0.5) / 4_503_599_627_370_496.0
}

/// Draws from a seed: the n-th value of its sequence. Source: Steele et al., "Fast splittable
/// pseudorandom number generators" (`SplitMix64`).
pub fn draw(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_fixed() {
        // A change here moves every client to another origin.
        assert_eq!(stable(b"tidegate"), 10_026_282_870_582_067_404);
        assert_eq!(draw(0, 0), 0xe220_a839_7b1d_cdaf);
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
    }
}
