//! How many records an identity has.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::chart::{Frame, Scale, Tick, percent};
use super::{nothing, number, scrolling, section_of};

/// Up to this size every size has a column of its own.
const MAX_SINGLE_SIZE: usize = 24;
/// More columns than this have no room for a figure each.
const MAX_NAMED_COLUMNS: usize = 12;
/// Rows of the table of largest identities.
const LARGEST: usize = 10;
/// One identity must be visible on a logarithmic axis, so it begins below 1.
const AXIS_BEGIN: f64 = 0.6;

/// A column: identities with `first` to `last` records.
struct Column {
    first: usize,
    last: usize,
    identities: u64,
}

impl Column {
    fn label(&self) -> String {
        if self.first == self.last {
            number::size(self.first)
        } else {
            format!("{}–{}", number::size(self.first), number::size(self.last))
        }
    }
}

/// The section on the sizes of identities.
pub fn section(cluster_sizes: &[usize]) -> Markup {
    let lead = html! { "How many records an identity has. An identity far larger than the rest is where a shared value or a wrong merge shows first." };
    let mut identities: BTreeMap<usize, u64> = BTreeMap::new();
    for size in cluster_sizes.iter().filter(|size| **size > 0) {
        *identities.entry(*size).or_default() += 1;
    }
    if identities.is_empty() {
        return section_of("identities", &lead, &nothing("No identity was found."));
    }
    section_of(
        "identities",
        &lead,
        &html! { div.columns { (chart(&identities)) (largest(&identities)) } },
    )
}

fn columns_of(identities: &BTreeMap<usize, u64>) -> Vec<Column> {
    let greatest = identities.last_key_value().map_or(1, |(size, _)| *size);
    let mut columns = Vec::new();
    let mut first = 1_usize;
    while first <= greatest {
        // Half an octave to a column where single sizes would not fit: 1, 2, 3, 4–5, 6–7, 8–11, 12–15, 16–23 …
        let width = if greatest <= MAX_SINGLE_SIZE || first < 4 {
            1
        } else {
            (1 << first.ilog2()) / 2
        };
        let last = first + width - 1;
        columns.push(Column {
            first,
            last,
            identities: identities.range(first..=last).map(|(_, count)| count).sum(),
        });
        first = last + 1;
    }
    columns
}

fn chart(identities: &BTreeMap<usize, u64>) -> Markup {
    let columns = columns_of(identities);
    let most = columns
        .iter()
        .map(|column| column.identities)
        .max()
        .unwrap_or(1) as f64;
    let heights = Scale::new(AXIS_BEGIN.log10(), (most * 1.6).log10());
    let height_of = |count: f64| heights.position(count.log10());
    let slot = 100.0 / columns.len() as f64;
    let width = (slot * 0.72).min(12.0);
    let middle = |index: usize| slot * (index as f64 + 0.5);
    let marks = html! {
        @for (index, column) in columns.iter().enumerate().filter(|(_, column)| column.identities > 0) {
            @let height = height_of(column.identities as f64);
            @let title = format!("{} of {} records", number::counted(column.identities, "identity", "identities"), column.label());
            rect.column.for x=(percent(middle(index) - width / 2.0)) width=(percent(width)) y=(percent(100.0 - height)) height=(percent(height)) { title { (title) } }
            @if columns.len() <= MAX_NAMED_COLUMNS {
                @let class = if columns.len() > MAX_NAMED_COLUMNS / 2 { "value crowded" } else { "value" };
                text class=(class) x=(percent(middle(index))) y=(percent(100.0 - height)) dy="-5" text-anchor="middle" { (number::count(column.identities)) }
            }
        }
    };
    let rows: Vec<Tick> = (0..10)
        .map(|power| 10_u64.pow(power))
        .take_while(|count| *count as f64 <= most * 1.6)
        .map(|count| Tick {
            position: height_of(count as f64),
            label: number::short_count(count as f64),
        })
        .collect();
    let every = columns.len().div_ceil(MAX_NAMED_COLUMNS);
    let names: Vec<Tick> = columns
        .iter()
        .enumerate()
        .filter(|(index, _)| index % every == 0)
        .map(|(index, column)| Tick {
            position: middle(index),
            label: number::size(column.first),
        })
        .collect();
    let total: u64 = identities.values().sum();
    let single = identities.get(&1).copied().unwrap_or(0);
    let description = format!(
        "{}, of which {} with one record; the largest has {}.",
        number::counted(total, "identity", "identities"),
        number::count(single),
        number::counted(
            identities
                .last_key_value()
                .map_or(0, |(size, _)| *size as u64),
            "record",
            "records"
        ),
    );
    Frame {
        id: "sizes",
        title: "Identities by number of records",
        description: &description,
        vertical: "identities (logarithmic)",
        horizontal: if columns.iter().all(|column| column.first == column.last) {
            "records of the identity"
        } else {
            "records of the identity, from"
        },
        rows: &rows,
        columns: &names,
    }
    .render(&marks)
}

fn largest(identities: &BTreeMap<usize, u64>) -> Markup {
    let records: u64 = identities
        .iter()
        .map(|(size, count)| *size as u64 * count)
        .sum();
    let rest = identities.len().saturating_sub(LARGEST);
    let table = html! {
        table.figures {
            caption { "The largest identities" }
            thead { tr {
                th.figure scope="col" { "Records each" }
                th.figure scope="col" { "Identities" }
                th.figure scope="col" { "Records" }
                th.figure scope="col" { "Share of records" }
            } }
            tbody {
                @for (size, count) in identities.iter().rev().take(LARGEST) {
                    @let held = *size as u64 * count;
                    tr {
                        th.figure scope="row" { (number::size(*size)) }
                        td.figure { (number::count(*count)) }
                        td.figure { (number::count(held)) }
                        td.figure { (number::percent(held as f64, records as f64)) }
                    }
                }
            }
            @if rest > 0 {
                @let smaller: u64 = identities.iter().rev().skip(LARGEST).map(|(_, count)| count).sum();
                @let held: u64 = identities.iter().rev().skip(LARGEST).map(|(size, count)| *size as u64 * count).sum();
                tfoot { tr {
                    th.figure scope="row" { "smaller" }
                    td.figure { (number::count(smaller)) }
                    td.figure { (number::count(held)) }
                    td.figure { (number::percent(held as f64, records as f64)) }
                } }
            }
        }
    };
    scrolling("The largest identities", &table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_cover_every_size_once() {
        for greatest in [1, 3, MAX_SINGLE_SIZE, MAX_SINGLE_SIZE + 1, 1000, 1_000_000] {
            let identities: BTreeMap<usize, u64> =
                [(1, 5), (greatest / 2 + 1, 2), (greatest, 3)].into();
            let columns = columns_of(&identities);
            assert!(columns.len() <= 45, "{} columns", columns.len());
            assert!(
                columns
                    .windows(2)
                    .all(|pair| pair[0].last + 1 == pair[1].first)
            );
            assert_eq!(
                columns.iter().map(|column| column.identities).sum::<u64>(),
                identities.values().sum::<u64>()
            );
        }
    }
}
