//! Spans of every order of magnitude, in integers: a schedule is the same on every platform.

/// Bits of the fraction of a logarithm.
const FRACTION: u32 = 24;
/// One, in fixed point.
const ONE: u128 = 1 << 62;

/// The binary logarithm of a number, which is not zero, rounded down to a multiple of
/// 2<sup>-24</sup>, in these units.
pub(super) const fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    // From one to below two, with 63 bits of fraction. Each squaring brings the next bit to light.
    let mut rest = (number as u128) << (63 - whole);
    let mut log = whole as u64;
    let mut bit = 0;
    while bit < FRACTION {
        rest = (rest * rest) >> 63;
        log <<= 1;
        if rest >= 1 << 64 {
            rest >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

/// Two to the power of a number in units of 2<sup>-24</sup>, rounded down.
pub(super) const fn exp2(log: u64) -> u64 {
    let whole = (log >> FRACTION) as u32;
    let mut power = ONE;
    // The square root of two, and then each time the root of the one before.
    let mut root = 2 * ONE;
    let mut bit = FRACTION;
    while bit > 0 {
        bit -= 1;
        root = (root << 62).isqrt();
        if log >> bit & 1 == 1 {
            power = (power * root) >> 62;
        }
    }
    (power << whole >> 62) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_logarithms_are_inverse() {
        for number in [1, 2, 3, 10, 999, 1_000_000, 3_600_000_000, 1 << 40] {
            let again = exp2(log2(number));
            let most = number / 100_000 + 1;
            assert!(number.abs_diff(again) <= most, "{number} gives {again}");
        }
        let powers: Vec<u64> = (0..40 << 4).map(|log| exp2(log << 20)).collect();
        assert!(powers.is_sorted());
    }

    /// Kept schedules and seeds hang on these.
    #[test]
    fn they_are_the_same_everywhere() {
        assert_eq!(log2(10), 55_732_705);
        assert_eq!(exp2(55_732_706), 10);
        assert_eq!(exp2(500_000_000), 936_252_475);
    }
}
