//! Names, as frequent as they are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::dice::Dice;

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::load);

/// How a name is written at home and at a till that has Latin letters only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    /// In Latin letters without accents.
    pub(super) latin: Cow<'static, str>,
    /// Another usual spelling in Latin letters.
    pub(super) other_latin: Option<&'static str>,
    /// As its bearer writes it, where that differs.
    pub(super) native: Option<Cow<'static, str>>,
}

impl Spelling {
    /// A name that has one spelling.
    pub(super) fn plain(latin: impl Into<Cow<'static, str>>) -> Self {
        Self {
            latin: latin.into(),
            other_latin: None,
            native: None,
        }
    }

    /// Two family names joined by a hyphen.
    pub(super) fn joined(&self, second: &Self) -> Self {
        Self::plain(format!("{}-{}", self.latin, second.latin))
    }
}

/// A family name in the form that a man and that a woman bears.
#[derive(Clone, Debug)]
pub(super) struct FamilyName {
    man: Spelling,
    woman: Spelling,
}

impl FamilyName {
    /// The form that a member of the family bears.
    pub(super) fn of(&self, is_woman: bool) -> &Spelling {
        if is_woman { &self.woman } else { &self.man }
    }
}

/// Where a household's names come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Heritage {
    /// The census of the United States.
    Census,
    /// One of the groups whose names are not written in ASCII.
    International(usize),
}

impl Heritage {
    /// A heritage as frequent as it is; about one household in fifty is not of the census.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        if dice.chance(0.02) {
            Self::International(dice.below(TABLES.groups.len()))
        } else {
            Self::Census
        }
    }

    /// A given name.
    pub(super) fn given(self, dice: &mut Dice, is_woman: bool) -> Spelling {
        match self {
            Self::Census => Spelling::plain(TABLES.given(is_woman).draw(dice)),
            Self::International(group) => {
                let group = &TABLES.groups[group];
                let names = if is_woman { &group.women } else { &group.men };
                names[dice.below(names.len())].clone()
            }
        }
    }

    /// A family name.
    pub(super) fn family(self, dice: &mut Dice) -> FamilyName {
        match self {
            Self::Census => {
                let name = Spelling::plain(TABLES.families.draw(dice));
                FamilyName {
                    man: name.clone(),
                    woman: name,
                }
            }
            Self::International(group) => {
                let families = &TABLES.groups[group].families;
                families[dice.below(families.len())].clone()
            }
        }
    }
}

/// A given and a family name that many people have.
pub(super) fn common_name(dice: &mut Dice, is_woman: bool) -> (Spelling, FamilyName) {
    let given = Spelling::plain(TABLES.given(is_woman).names[dice.below(60)]);
    let family = Spelling::plain(TABLES.families.names[dice.below(60)]);
    let family = FamilyName {
        man: family.clone(),
        woman: family,
    };
    (given, family)
}

/// A given name of the census with the initial asked for.
pub(super) fn given_with_initial(dice: &mut Dice, is_woman: bool, initial: char) -> Spelling {
    let table = TABLES.given(is_woman);
    let start = dice.low_below(table.names.len());
    let name = (0..table.names.len())
        .map(|offset| table.names[(start + offset) % table.names.len()])
        .find(|name| name.starts_with(initial))
        .unwrap_or(table.names[start]);
    Spelling::plain(name)
}

/// The nicknames of a given name.
pub(super) fn nicknames(given: &str) -> &'static [&'static str] {
    TABLES.nicknames.get(given).map_or(&[], Vec::as_slice)
}

/// Whether one of the thousand most frequent family names.
pub(super) fn is_common_family(family: &str) -> bool {
    TABLES.common_families.contains(family)
}

/// Names with their frequencies summed up.
struct WeightedNames {
    names: Vec<&'static str>,
    sums: Vec<u32>,
}

impl WeightedNames {
    /// Reads lines of `NAME weight`; the file is part of the program, so a line that is none would be our own mistake
    /// and counts once.
    fn parse(text: &str) -> Self {
        let mut names = Vec::new();
        let mut sums = Vec::new();
        let mut sum = 0_u32;
        for line in text.lines() {
            let (name, weight) = line.split_once(' ').unwrap_or((line, "1"));
            sum += weight.trim().parse::<u32>().unwrap_or(1);
            names.push(leaked(title_case(name)));
            sums.push(sum);
        }
        Self { names, sums }
    }

    fn draw(&self, dice: &mut Dice) -> &'static str {
        let total = self.sums.last().copied().unwrap_or(1);
        let rank = dice.below(total as usize) as u32;
        self.names[self.sums.partition_point(|sum| *sum <= rank)]
    }
}

#[derive(Default)]
struct Group {
    name: &'static str,
    women: Vec<Spelling>,
    men: Vec<Spelling>,
    families: Vec<FamilyName>,
}

struct Tables {
    women: WeightedNames,
    men: WeightedNames,
    families: WeightedNames,
    common_families: HashSet<&'static str>,
    groups: Vec<Group>,
    nicknames: HashMap<String, Vec<&'static str>>,
}

impl Tables {
    fn load() -> Self {
        let nicknames = include_str!("data/nicknames.txt")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, rest)| {
                let short = rest.split(' ').map(|word| leaked(title_case(word)));
                (title_case(name), short.collect())
            })
            .collect();
        let families = WeightedNames::parse(include_str!("data/family_names.txt"));
        Self {
            women: WeightedNames::parse(include_str!("data/female_names.txt")),
            men: WeightedNames::parse(include_str!("data/male_names.txt")),
            common_families: families.names.iter().take(1_000).copied().collect(),
            families,
            groups: groups(include_str!("data/international_names.txt")),
            nicknames,
        }
    }

    fn given(&self, is_woman: bool) -> &WeightedNames {
        if is_woman { &self.women } else { &self.men }
    }
}

fn groups(text: &'static str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines() {
        let mut parts = line.split('|');
        let (Some(name), Some(part), Some(native), Some(latin)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let spelling = Spelling {
            latin: Cow::Borrowed(latin),
            other_latin: parts.next(),
            native: (native != latin).then_some(Cow::Borrowed(native)),
        };
        if groups.last().is_none_or(|group| group.name != name) {
            groups.push(Group {
                name,
                ..Group::default()
            });
        }
        let Some(group) = groups.last_mut() else {
            continue;
        };
        match part {
            "m" => group.men.push(spelling),
            "f" => group.women.push(spelling),
            "s" => group.families.push(FamilyName {
                man: spelling.clone(),
                woman: spelling,
            }),
            _ => {
                if let Some(family) = group.families.last_mut() {
                    family.woman = spelling;
                }
            }
        }
    }
    groups
}

/// The tables live as long as the program, so their names may as well be borrowed for ever.
fn leaked(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

/// `MCDONALD` as McDonald, `O'BRIEN` as O'Brien, `SMITH` as Smith.
fn title_case(upper: &str) -> String {
    let capitals_at = if upper.starts_with("MC") && upper.len() > 4 {
        2
    } else {
        0
    };
    let mut previous_is_letter = false;
    let mut text = String::with_capacity(upper.len());
    for (index, letter) in upper.chars().enumerate() {
        if previous_is_letter && index != capitals_at {
            text.extend(letter.to_lowercase());
        } else {
            text.extend(letter.to_uppercase());
        }
        previous_is_letter = letter.is_alphabetic();
    }
    text
}
