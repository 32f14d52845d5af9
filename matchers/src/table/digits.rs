//! A phone number in one word.

use crate::compare::contact;

/// Digits of an E.164 number, four bits each, the last one lowest, with their number in the highest four bits; 0 for what does
/// not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digits(u64);

const MAX_DIGITS: usize = 15;
const LOWEST_BITS: u64 = 0x1111_1111_1111_1111;

impl Digits {
    pub fn of(phone: &str) -> Self {
        let Some(digits) = phone.strip_prefix('+') else {
            return Self(0);
        };
        let fits = digits.len() <= MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !fits {
            return Self(0);
        }
        let packed = digits
            .bytes()
            .fold(0, |packed, byte| packed << 4 | u64::from(byte - b'0'));
        Self(packed | (digits.len() as u64) << 60)
    }

    fn len(self) -> u64 {
        self.0 >> 60
    }

    /// The level of two different numbers, as [`contact::phones`] has it, where the digits alone tell.
    pub fn level(self, other: Self) -> Option<u8> {
        let (one_length, other_length) = (self.len(), other.len());
        // Eight letters and fewer have no area code.
        if one_length.min(other_length) < 8 {
            return None;
        }
        if one_length != other_length {
            return (one_length.abs_diff(other_length) > 1).then_some(contact::PHONE_DIFFERENT);
        }
        let differing = self.0 ^ other.0;
        let folded = differing | differing >> 2;
        let places = (folded | folded >> 1) & LOWEST_BITS;
        let first = places.trailing_zeros();
        let similar = match places.count_ones() {
            1 => true,
            2 => {
                let pair = |packed: u64| (packed >> first & 0xf, packed >> (first + 4) & 0xf);
                let ((one, next), (other, other_next)) = (pair(self.0), pair(other.0));
                one == other_next && next == other
            }
            _ => false,
        };
        Some(if similar {
            contact::PHONE_SIMILAR
        } else {
            contact::PHONE_DIFFERENT
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_tell_what_texts_tell(
            digits in "[0-9]{5,17}",
            edits in prop::collection::vec((0..20_usize, 0..10_u8, 0..4_u8), 0..3),
            plus in any::<bool>(),
        ) {
            let mut edited = digits.clone().into_bytes();
            for (at, digit, kind) in edits {
                let at = at % edited.len();
                match kind {
                    0 => edited[at] = b'0' + digit,
                    1 => edited.insert(at, b'0' + digit),
                    2 if edited.len() > 1 => drop(edited.remove(at)),
                    _ if at + 1 < edited.len() => edited.swap(at, at + 1),
                    _ => {}
                }
            }
            let edited = String::from_utf8(edited).expect("digits");
            let sign = if plus { "+" } else { "" };
            let (one, other) = (format!("{sign}{digits}"), format!("{sign}{edited}"));
            prop_assume!(one != other);
            if let Some(level) = Digits::of(&one).level(Digits::of(&other)) {
                prop_assert_eq!(level, contact::phones(&one, &other));
            }
        }
    }
}
