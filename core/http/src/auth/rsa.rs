//! The size of RSA keys. No signature counts of a key that is too small or too large, so that it is
//! refused when it is read, and not each of its tokens.

use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use super::error::JwtError;

/// Bits of a key, at least (RFC 7518, section 3.3).
pub(super) const MIN_BITS: usize = 2048;

/// Bits of a key, at most: the library for signatures takes no longer ones.
pub(super) const MAX_BITS: usize = 8192;

/// Refuses an RSA key no signature of which would count.
///
/// # Errors
///
/// If it has too few bits, or too many.
pub(super) fn check(key: &DecodingKey) -> Result<(), JwtError> {
    let bits = match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => bits(modulus(der).ok_or(JwtError::Unsupported)?),
        DecodingKeyKind::RsaModulusExponent { n, .. } => bits(n),
    };
    let (least, most) = (MIN_BITS, MAX_BITS);
    match (least..=most).contains(&bits) {
        true => Ok(()),
        false => Err(JwtError::RsaSize { bits, least, most }),
    }
}

/// The bits of a modulus, which is a big-endian number.
fn bits(modulus: &[u8]) -> usize {
    let zeroes = modulus.iter().take_while(|byte| **byte == 0).count();
    match &modulus[zeroes..] {
        [] => 0,
        [first, rest @ ..] => (u8::BITS - first.leading_zeros()) as usize + 8 * rest.len(),
    }
}

/// The modulus of a public key in DER (RFC 8017, appendix A.1.1): a sequence that begins with it.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    content(INTEGER, content(SEQUENCE, der)?)
}

/// The content of the value that these bytes begin with, if it has this tag.
fn content(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match usize::from(head[1]) {
        short @ ..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            let number = |number: usize, digit: &u8| {
                number.checked_mul(256)?.checked_add(usize::from(*digit))
            };
            (digits.iter().try_fold(0, number)?, rest)
        }
    };
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modulus_is_counted_in_bits() {
        for (number, expected) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[0, 1], 1),
            (&[0x80], 8),
            (&[0, 1, 0xff], 9),
        ] {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }

    #[test]
    fn what_is_no_key_in_der_has_no_modulus() {
        assert_eq!(modulus(&[0x30, 4, 2, 2, 0x80, 1]), Some(&[0x80, 1][..]));
        assert_eq!(modulus(&[0x30, 0x81, 3, 2, 1, 5]), Some(&[5][..]));
        for der in [
            &[][..],
            &[0x30],
            &[0x02, 1, 5],
            &[0x30, 3, 2, 2, 5],
            &[0x30, 0x82, 1],
            &[0x30, 0xff, 2, 1, 5],
        ] {
            assert_eq!(modulus(der), None, "{der:?}");
        }
    }
}
