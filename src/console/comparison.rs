//! Two records, attribute by attribute, with the differences marked.

use maud::{Markup, html};
use veridem_proto::v1;

use super::texts;
use super::values::{self, Shown};

/// The two side by side; `head` tells what else stands above a side.
pub(super) fn table(
    sides: [Option<&v1::SourceRecord>; 2],
    shown: Shown,
    head: impl Fn(usize) -> Markup,
) -> Markup {
    html! {
        table.comparison {
            caption.unseen { "The two records, attribute by attribute" }
            thead { tr {
                th scope="col" { "Attribute" }
                @for (side, record) in sides.iter().enumerate() {
                    th scope="col" {
                        (shown.record_key(record.and_then(|record| record.record.as_ref())))
                        (head(side))
                    }
                }
            } }
            tbody { @for row in rows(sides) { (row_of(&row, shown)) } }
        }
    }
}

/// What both sides state of one slot.
struct Row<'a> {
    slot: &'a str,
    sides: [Option<&'a v1::StatedValue>; 2],
}

/// A row for each slot, and for each further value of it; those that both sides have come first.
fn rows<'a>([left, right]: [Option<&'a v1::SourceRecord>; 2]) -> Vec<Row<'a>> {
    let (left, right) = (stated(left), stated(right));
    let mut slots: Vec<&str> = Vec::new();
    for value in left.iter().chain(&right) {
        if !slots.contains(&value.slot.as_str()) {
            slots.push(&value.slot);
        }
    }
    let mut rows = Vec::new();
    for slot in slots {
        let of_slot = |side: &[&'a v1::StatedValue]| -> Vec<&'a v1::StatedValue> {
            let values = side.iter().filter(|value| value.slot == slot);
            values.copied().collect()
        };
        let (left, right) = (of_slot(&left), of_slot(&right));
        for index in 0..left.len().max(right.len()) {
            let sides = [left.get(index).copied(), right.get(index).copied()];
            rows.push(Row { slot, sides });
        }
    }
    rows.sort_by_key(|row| row.sides.iter().any(|side| side.is_none()));
    rows
}

fn stated(record: Option<&v1::SourceRecord>) -> Vec<&v1::StatedValue> {
    record
        .into_iter()
        .flat_map(|record| &record.values)
        .collect()
}

fn attribute_of(side: Option<&v1::StatedValue>) -> Option<&v1::Attribute> {
    side.and_then(|value| value.attribute.as_ref())
}

fn row_of(row: &Row<'_>, shown: Shown) -> Markup {
    let [left, right] = row.sides;
    let (left_text, right_text) = shown.pair(attribute_of(left), attribute_of(right));
    let normalised = |side: Option<&v1::StatedValue>| {
        side.map_or("", |value| value.normalised.as_str())
            .to_owned()
    };
    let agrees = !normalised(left).is_empty() && normalised(left) == normalised(right);
    html! {
        tr.agrees[agrees] {
            th scope="row" { (texts::slot(row.slot)) }
            @for (side, text) in [(left, left_text), (right, right_text)] {
                td {
                    @if let Some(side) = side {
                        span.value { (text) }
                        span.stated {
                            @if !shown.normalised(&side.normalised).is_empty() { span.normalised title="As it is compared" { (side.normalised) } " " }
                            (values::day(side.stated_at_ms))
                            @if let Some(mark) = texts::mark(side.mark()) { " " span.state.bad { (mark) } }
                        }
                    } @else { span.absent { "–" } }
                }
            }
        }
    }
}
