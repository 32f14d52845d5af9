//! Where two texts differ.

use std::time::Duration;

use similar::{Algorithm, ChangeTag, TextDiff};

/// Comparing two texts of the greatest length stays far below this.
const LONGEST: Duration = Duration::from_millis(20);
/// Below this similarity marks would be confetti: the whole is marked.
const LEAST_RATIO: f32 = 0.4;

/// A piece of a text; whether the other text lacks it.
pub(super) type Piece = (bool, String);

/// The pieces of two texts.
pub(super) fn pieces(left: &str, right: &str) -> (Vec<Piece>, Vec<Piece>) {
    let whole = |text: &str| vec![(true, text.to_owned())];
    let (left_folded, right_folded) = (left.to_lowercase(), right.to_lowercase());
    if left_folded == right_folded {
        return (
            vec![(false, left.to_owned())],
            vec![(false, right.to_owned())],
        );
    }
    let difference = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(LONGEST)
        .diff_graphemes(left, right);
    if difference.ratio() < LEAST_RATIO {
        return (whole(left), whole(right));
    }
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    for change in difference.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => {
                push(&mut lefts, false, change.value());
                push(&mut rights, false, change.value());
            }
            ChangeTag::Delete => push(&mut lefts, true, change.value()),
            ChangeTag::Insert => push(&mut rights, true, change.value()),
        }
    }
    (lefts, rights)
}

fn push(pieces: &mut Vec<Piece>, is_marked: bool, text: &str) {
    match pieces.last_mut() {
        Some((marked, piece)) if *marked == is_marked => piece.push_str(text),
        _ => pieces.push((is_marked, text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(is_marked: bool, text: &str) -> Piece {
        (is_marked, text.to_owned())
    }

    #[test]
    fn what_differs_is_marked() {
        assert_eq!(
            pieces("Müller", "Mueller"),
            (
                vec![piece(false, "M"), piece(true, "ü"), piece(false, "ller")],
                vec![piece(false, "M"), piece(true, "ue"), piece(false, "ller")]
            )
        );
        assert_eq!(
            pieces("ANN", "Ann"),
            (vec![piece(false, "ANN")], vec![piece(false, "Ann")])
        );
        assert_eq!(
            pieces("Ann", "Zoë"),
            (vec![piece(true, "Ann")], vec![piece(true, "Zoë")])
        );
    }

    proptest! {
        #[test]
        fn pieces_are_the_texts(left in "\\PC{0,40}", right in "\\PC{0,40}") {
            let text = |pieces: Vec<Piece>| pieces.into_iter().map(|(_, text)| text).collect::<String>();
            let (lefts, rights) = pieces(&left, &right);
            prop_assert_eq!(text(lefts), left);
            prop_assert_eq!(text(rights), right);
        }
    }
}
