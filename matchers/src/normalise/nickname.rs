//! Which given names are forms of which: the table of carltonnorthern/nicknames (Apache-2.0, see `data/NOTICE`).

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

static TABLE: LazyLock<FxHashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut table: FxHashMap<&str, Vec<&str>> = FxHashMap::default();
    for line in include_str!("../../data/nicknames.csv").lines() {
        if let Some((name, nickname)) = line.split_once(',') {
            table.entry(nickname).or_default().push(name);
        }
    }
    table
});

/// The formal names that a nickname may stand for; empty where it is none. Not transitive: `al` stands for `albert` and for
/// `alexander`, which stay different.
pub fn formal_names(given: &str) -> &'static [&'static str] {
    TABLE.get(given).map_or(&[], Vec::as_slice)
}

/// Whether one is a nickname of the other or both are nicknames of one formal name.
pub fn are_nicknames(left: &str, right: &str) -> bool {
    let (left_formal, right_formal) = (formal_names(left), formal_names(right));
    left_formal.contains(&right)
        || right_formal.contains(&left)
        || left_formal
            .iter()
            .any(|formal| right_formal.contains(formal))
}
