//! Mistakes that people and scanners make when they enter a value.

use super::dice::Dice;

/// Keys beside a key of an American keyboard.
fn neighbours(key: char) -> &'static str {
    match key {
        'a' => "qwsz",
        'b' => "vghn",
        'c' => "xdfv",
        'd' => "serfcx",
        'e' => "wsdr",
        'f' => "drtgvc",
        'g' => "ftyhbv",
        'h' => "gyujnb",
        'i' => "ujko",
        'j' => "huikmn",
        'k' => "jiolm",
        'l' => "kop",
        'm' => "njk",
        'n' => "bhjm",
        'o' => "iklp",
        'p' => "ol",
        'q' => "wa",
        'r' => "edft",
        's' => "awedxz",
        't' => "rfgy",
        'u' => "yhji",
        'v' => "cfgb",
        'w' => "qase",
        'x' => "zsdc",
        'y' => "tghu",
        'z' => "asx",
        '0' => "9",
        '1' => "2",
        '2' => "13",
        '3' => "24",
        '4' => "35",
        '5' => "46",
        '6' => "57",
        '7' => "68",
        '8' => "79",
        '9' => "80",
        _ => "",
    }
}

/// The character that a scanner, or an eye, takes another one for.
fn look_alike(letter: char) -> Option<char> {
    Some(match letter {
        'l' => '1',
        '1' => 'l',
        'o' => '0',
        'O' => '0',
        '0' => 'o',
        'i' => 'l',
        'I' => 'l',
        'g' => 'q',
        'S' => '5',
        'B' => '8',
        'e' => 'c',
        'u' => 'v',
        _ => return None,
    })
}

/// One wrong, dropped, doubled or transposed character. A text of less than three is left as it is.
pub(super) fn mistype(dice: &mut Dice, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() < 3 {
        return text.to_owned();
    }
    // The first letter is hit less often: people look at it.
    let first = usize::from(dice.chance(0.8));
    let at = first + dice.below(letters.len() - first);
    match dice.weighted(&[30, 22, 22, 14, 12]) {
        0 => {
            let keys: Vec<char> = neighbours(letters[at].to_ascii_lowercase())
                .chars()
                .collect();
            if keys.is_empty() {
                letters.remove(at);
            } else {
                let key = keys[dice.below(keys.len())];
                letters[at] = if letters[at].is_uppercase() {
                    key.to_ascii_uppercase()
                } else {
                    key
                };
            }
        }
        1 => {
            let left = at.min(letters.len() - 2);
            letters.swap(left, left + 1);
        }
        2 => {
            letters.remove(at);
        }
        3 => letters.insert(at, letters[at]),
        _ => {
            let alike = letters
                .iter()
                .enumerate()
                .skip(at)
                .find_map(|(index, letter)| {
                    let other = look_alike(*letter)?;
                    Some((index, other))
                });
            match alike {
                Some((index, other)) => letters[index] = other,
                None => letters.insert(at, letters[at]),
            }
        }
    }
    letters.into_iter().collect()
}

/// Spellings that sound alike, in lower case.
const SOUNDS: [(&str, &str); 22] = [
    ("ph", "f"),
    ("ck", "k"),
    ("ie", "y"),
    ("ey", "y"),
    ("ei", "ie"),
    ("ee", "ea"),
    ("ll", "l"),
    ("tt", "t"),
    ("nn", "n"),
    ("ss", "s"),
    ("sch", "sh"),
    ("son", "sen"),
    ("th", "t"),
    ("wh", "w"),
    ("kn", "n"),
    ("x", "ks"),
    ("z", "s"),
    ("c", "k"),
    ("y", "i"),
    ("er", "or"),
    ("an", "en"),
    ("s", "z"),
];

/// The name as it sounds, or `None` where no other spelling is at hand.
pub(super) fn misspell(dice: &mut Dice, name: &str) -> Option<String> {
    if !name.is_ascii() {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let start = dice.below(SOUNDS.len());
    for offset in 0..SOUNDS.len() {
        let (from, into) = SOUNDS[(start + offset) % SOUNDS.len()];
        // Past the first letter only, so that case needs no thought and initials stay right.
        let Some(at) = lower.get(1..).and_then(|rest| rest.find(from)) else {
            continue;
        };
        let at = at + 1;
        return Some(format!("{}{into}{}", &name[..at], &name[at + from.len()..]));
    }
    None
}

/// One digit replaced by another one; `None` where there is no digit.
pub(super) fn wrong_digit(dice: &mut Dice, text: &str) -> Option<String> {
    let places: Vec<usize> = text
        .char_indices()
        .filter(|(_, letter)| letter.is_ascii_digit())
        .map(|(index, _)| index)
        .collect();
    if places.is_empty() {
        return None;
    }
    let at = places[dice.below(places.len())];
    let old = &text[at..=at];
    let new = loop {
        let digit = dice.digit();
        if !old.starts_with(digit) {
            break digit;
        }
    };
    Some(format!("{}{new}{}", &text[..at], &text[at + 1..]))
}

/// White space before or after the text, or a second blank within it.
pub(super) fn loosen(dice: &mut Dice, text: &str) -> String {
    match dice.below(4) {
        0 => format!(" {text}"),
        1 if text.contains(' ') => text.replacen(' ', "  ", 1),
        _ => format!("{text} "),
    }
}
