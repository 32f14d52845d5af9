//! String measures on folded ASCII text. `strsim` is the oracle that they are tested against.

/// Jaro-Winkler similarity, 0 to 1 (Winkler 1990: prefix of up to 4, scale 0.1, applied above a Jaro similarity of 0.7 as
/// `strsim` has it). Bytes are compared, which for folded text are letters; texts over 64 bytes go to `strsim`.
pub fn jaro_winkler(left: &str, right: &str) -> f64 {
    let (left_bytes, right_bytes) = (left.as_bytes(), right.as_bytes());
    if left_bytes.len() > 64 || right_bytes.len() > 64 || !left.is_ascii() || !right.is_ascii() {
        return strsim::jaro_winkler(left, right);
    }
    let similarity = jaro(left_bytes, right_bytes);
    if similarity <= 0.7 {
        return similarity;
    }
    let prefix = left_bytes
        .iter()
        .zip(right_bytes)
        .take(4)
        .take_while(|(left, right)| left == right)
        .count();
    similarity + 0.1 * prefix as f64 * (1.0 - similarity)
}

fn jaro(left: &[u8], right: &[u8]) -> f64 {
    if left.is_empty() && right.is_empty() {
        return 1.0;
    }
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let window = (left.len().max(right.len()) / 2).saturating_sub(1);
    // Where in the right text each letter stands, a bit a position (after Hyyrö 2003 for edit distances).
    let mut places = [0_u64; 128];
    for (index, byte) in right.iter().enumerate() {
        places[usize::from(byte & 127)] |= 1 << index;
    }
    let (mut left_matched, mut right_matched) = (0_u64, 0_u64);
    for (index, byte) in left.iter().enumerate() {
        let first = index.saturating_sub(window);
        let within = ones(index + window + 1) & !ones(first);
        let free = places[usize::from(byte & 127)] & within & !right_matched;
        // The lowest free place, if any.
        let place = free & free.wrapping_neg();
        right_matched |= place;
        left_matched |= u64::from(place != 0) << index;
    }
    let matches = left_matched.count_ones();
    if matches == 0 {
        return 0.0;
    }
    let (mut left_rest, mut right_rest, mut out_of_place) = (left_matched, right_matched, 0_u32);
    while left_rest != 0 {
        let (left_index, right_index) = (left_rest.trailing_zeros(), right_rest.trailing_zeros());
        out_of_place += u32::from(left[left_index as usize] != right[right_index as usize]);
        left_rest &= left_rest - 1;
        right_rest &= right_rest - 1;
    }
    let matches_f = f64::from(matches);
    let transpositions = f64::from(out_of_place / 2);
    (matches_f / left.len() as f64
        + matches_f / right.len() as f64
        + (matches_f - transpositions) / matches_f)
        / 3.0
}

/// So many ones, from the lowest bit.
fn ones(count: usize) -> u64 {
    if count < 64 {
        (1 << count) - 1
    } else {
        u64::MAX
    }
}

/// Whether one insertion, deletion, substitution or transposition of neighbours, or none, leads from one text to the other
/// (optimal string alignment distance of at most 1).
pub fn within_one_edit(left: &[u8], right: &[u8]) -> bool {
    let (short, long) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let Some(at) = short
        .iter()
        .zip(long)
        .position(|(left, right)| left != right)
    else {
        return true;
    };
    if short.len() < long.len() {
        return short[at..] == long[at + 1..];
    }
    short[at + 1..] == long[at + 1..]
        || (at + 1 < short.len()
            && short[at] == long[at + 1]
            && short[at + 1] == long[at]
            && short[at + 2..] == long[at + 2..])
}
