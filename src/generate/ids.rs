//! Ids that say nothing of whom they belong to.

/// One word mixed from two (the finaliser of SplitMix64).
fn mix(key: u64, value: u64) -> u64 {
    let mut word = key
        .wrapping_add(value.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A keyed permutation of the numbers of `2 * half_bits` bits: a Feistel network of four rounds.
///
/// A permutation rather than a hash, so that uniqueness needs no table of the ids already given out and a household
/// can be generated without the ones before it.
fn permute(key: u64, half_bits: u32, value: u64) -> u64 {
    let mask = (1_u64 << half_bits) - 1;
    let mut left = (value >> half_bits) & mask;
    let mut right = value & mask;
    for round in 0..4 {
        let next = left ^ (mix(mix(key, round), right) & mask);
        left = right;
        right = next;
    }
    (left << half_bits) | right
}

/// The permutation restricted to numbers below `bound`, by walking its cycle until it returns there.
///
/// Precondition: `value < bound` and `bound <= 2^(2 * half_bits)`.
fn permute_below(key: u64, half_bits: u32, bound: u64, value: u64) -> u64 {
    debug_assert!(value < bound && bound <= 1 << (2 * half_bits));
    let mut walked = permute(key, half_bits, value);
    while walked >= bound {
        walked = permute(key, half_bits, walked);
    }
    walked
}

/// Records that a household can have at most.
const RECORDS_PER_HOUSEHOLD: u64 = 64;
/// Loyalty cards that a household can have at most.
const CARDS_PER_HOUSEHOLD: u64 = 16;
/// Loyalty numbers that there are.
const CARDS: u64 = 1_000_000_000;
/// Bits in half a record id: ten hexadecimal characters.
const RECORD_HALF_BITS: u32 = 20;

/// The id of a household's record by its position in the household.
pub(super) fn record_number(seed: u64, household: u64, position: u64) -> u64 {
    let value = household * RECORDS_PER_HOUSEHOLD + position;
    permute(
        mix(seed, 1),
        RECORD_HALF_BITS,
        value & ((1 << (2 * RECORD_HALF_BITS)) - 1),
    )
}

/// A record number as it is written.
pub(super) fn record_id(number: u64) -> String {
    format!("{number:010x}")
}

/// The loyalty number of a household's card by its position.
pub(super) fn loyalty_id(seed: u64, household: u64, position: u64) -> String {
    let value = (household * CARDS_PER_HOUSEHOLD + position) % CARDS;
    format!("L{:09}", permute_below(mix(seed, 2), 15, CARDS, value))
}

/// The number of the order that created a household's record.
pub(super) fn order_id(seed: u64, household: u64, position: u64) -> String {
    let value = household * RECORDS_PER_HOUSEHOLD + position;
    format!(
        "W{:013}",
        permute(
            mix(seed, 3),
            RECORD_HALF_BITS,
            value & ((1 << (2 * RECORD_HALF_BITS)) - 1)
        )
    )
}
