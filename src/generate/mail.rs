//! E-mail addresses as people choose them.

use super::dice::Dice;
use super::household::Person;
use super::names::is_common_family;

const MAIL_DOMAINS: [&str; 16] = [
    "gmail.com",
    "yahoo.com",
    "hotmail.com",
    "outlook.com",
    "aol.com",
    "icloud.com",
    "comcast.net",
    "msn.com",
    "live.com",
    "verizon.net",
    "att.net",
    "sbcglobal.net",
    "me.com",
    "cox.net",
    "protonmail.com",
    "bellsouth.net",
];
const MAIL_DOMAIN_WEIGHTS: [u32; 16] = [46, 16, 8, 7, 6, 5, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1];
const MAIL_WORDS: [&str; 40] = [
    "angel",
    "baker",
    "blue",
    "butterfly",
    "cat",
    "chef",
    "coffee",
    "cool",
    "cowboy",
    "crazy",
    "daisy",
    "dancer",
    "dog",
    "dragon",
    "eagle",
    "fisher",
    "fox",
    "garden",
    "gamer",
    "golf",
    "happy",
    "hiker",
    "horse",
    "lucky",
    "magic",
    "moon",
    "music",
    "nana",
    "ocean",
    "panda",
    "pirate",
    "purple",
    "rider",
    "rocket",
    "runner",
    "silver",
    "star",
    "sunny",
    "tiger",
    "wild",
];

fn domain(dice: &mut Dice) -> &'static str {
    MAIL_DOMAINS[dice.weighted(&MAIL_DOMAIN_WEIGHTS)]
}

/// Small ASCII letters and digits of a name, as an e-mail address has them.
pub(super) fn compact(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// An address of one person.
pub(super) fn own_email(dice: &mut Dice, person: &Person) -> String {
    let given = compact(&person.given.latin);
    let former = person.former_family().filter(|_| dice.chance(0.5));
    let family_name = former.unwrap_or(person.family_at(i64::MAX));
    let family = compact(&family_name.latin);
    let initial = given.get(..1).unwrap_or("");
    let family_initial = family.get(..1).unwrap_or("");
    let pattern = dice.weighted(&[26, 17, 8, 13, 10, 6, 6, 14]);
    let local = match pattern {
        0 => format!("{given}.{family}"),
        1 => format!("{given}{family}"),
        2 => format!("{given}_{family}"),
        3 => format!("{initial}{family}"),
        4 => format!("{family}{initial}"),
        5 => format!("{given}{family_initial}"),
        6 => format!("{family}.{given}"),
        _ => format!("{}{}", dice.pick(&MAIL_WORDS), dice.pick(&MAIL_WORDS)),
    };
    // A mailbox has one owner. The number keeps unrelated bearers of a frequent name, or lovers of the same words, apart
    // for the most part; the few that still meet are like the address typed wrong that turns out to be someone else's.
    let crowded = matches!(pattern, 3..=5 | 7) || is_common_family(&family_name.latin);
    let plain = match pattern {
        7 => 0.0,
        _ if crowded => 0.1,
        _ => 0.6,
    };
    let number = if dice.chance(plain) {
        String::new()
    } else {
        match dice.below(if crowded { 3 } else { 2 }) {
            0 => format!("{:02}", person.birth.year % 100),
            1 => dice.between(10, 999).to_string(),
            _ => dice.between(1000, 9999).to_string(),
        }
    };
    format!("{local}{number}@{}", domain(dice))
}

/// An address that a family shares.
pub(super) fn family_email(dice: &mut Dice, head: &Person) -> String {
    let family = compact(&head.family_at(i64::MAX).latin);
    let number = dice.between(2, 999);
    let local = match dice.below(4) {
        0 => format!("the{family}s{number}"),
        1 => format!("{family}family{number}"),
        2 => format!("{family}.home{number}"),
        _ => format!("{family}house{number}"),
    };
    format!("{local}@{}", domain(dice))
}
