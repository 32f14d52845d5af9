//! Records and the pairs that hold them together, drawn as a small graph.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use maud::{Markup, html};
use veridem_proto::v1;

use super::texts;
use super::values::Shown;
use crate::report::number;

/// More records than these are a thicket, not a picture.
const MAX_NODES: usize = 24;
/// A pair that alone holds two parts together is weak below this probability.
const WEAK_BELOW: f64 = 0.999;
const RADIUS: f64 = 92.0;
const HEIGHT: f64 = 250.0;

/// Some records that belong together.
pub(super) struct Group<'a> {
    pub(super) records: &'a [v1::RecordKey],
    pub(super) pairs: &'a [v1::ExplainedPair],
}

struct Edge {
    ends: (usize, usize),
    weight: f64,
    is_weak: bool,
    /// What is asked, not what holds.
    is_doubt: bool,
}

/// Groups side by side, and the pair that is in doubt between them.
pub(super) fn of(
    groups: &[Group<'_>],
    doubt: Option<(&v1::RecordKey, &v1::RecordKey, f64)>,
    shown: Shown,
) -> Markup {
    let records: Vec<&v1::RecordKey> = groups.iter().flat_map(|group| group.records).collect();
    if records.len() > MAX_NODES {
        return html! { p.hint { (texts::TOO_MANY_TO_DRAW) } };
    }
    let place: BTreeMap<_, usize> = records
        .iter()
        .enumerate()
        .map(|(at, key)| (key_of(key), at))
        .collect();
    let at = |key: &v1::RecordKey| place.get(&key_of(key)).copied();
    let pairs = groups.iter().flat_map(|group| group.pairs);
    let mut edges: Vec<Edge> = pairs
        .filter_map(|pair| {
            let ends = (at(pair.left.as_ref()?)?, at(pair.right.as_ref()?)?);
            let weight = pair.explanation.as_ref()?.match_weight;
            Some(Edge {
                ends,
                weight,
                is_weak: false,
                is_doubt: false,
            })
        })
        .collect();
    for bridge in bridges(records.len(), &edges) {
        let edge = &mut edges[bridge];
        edge.is_weak = 1.0 / (1.0 + (-edge.weight).exp2()) < WEAK_BELOW;
    }
    if let Some((left, right, weight)) = doubt
        && let Some(ends) = at(left).zip(at(right))
    {
        edges.push(Edge {
            ends,
            weight,
            is_weak: false,
            is_doubt: true,
        });
    }
    let places = places(groups);
    let weak = edges.iter().filter(|edge| edge.is_weak).count();
    let width = HEIGHT * groups.len() as f64;
    html! {
        figure.graph {
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } role="img" aria-label=(texts::graph(records.len(), edges.len(), weak)) {
                @for edge in &edges {
                    @let ((x1, y1), (x2, y2)) = (places[edge.ends.0], places[edge.ends.1]);
                    line.weak[edge.is_weak].doubt[edge.is_doubt] x1=(x1) y1=(y1) x2=(x2) y2=(y2) {
                        title { (texts::weight_of(&number::weight(edge.weight), edge.is_weak)) }
                    }
                }
                @for (record, (x, y)) in records.iter().zip(&places) {
                    g {
                        circle cx=(x) cy=(y) r="9" {}
                        text x=(x) y=(y - 14.0) text-anchor="middle" { (record.source) }
                        title { (record.source) " " (shown.text(&record.record_id)) }
                    }
                }
            }
            figcaption { (texts::graph(records.len(), edges.len(), weak)) }
        }
    }
}

fn key_of(key: &v1::RecordKey) -> (&str, &str) {
    (&key.source, &key.record_id)
}

/// Each group's records around a circle of their own.
fn places(groups: &[Group<'_>]) -> Vec<(f64, f64)> {
    let mut places = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let middle = (HEIGHT * (index as f64 + 0.5), HEIGHT / 2.0);
        let count = group.records.len();
        for at in 0..count {
            let angle = TAU * (at as f64 / count as f64 + 0.25);
            let radius = if count == 1 { 0.0 } else { RADIUS };
            let along = |middle: f64, part: f64| ((middle + radius * part) * 10.0).round() / 10.0;
            places.push((along(middle.0, angle.cos()), along(middle.1, angle.sin())));
        }
    }
    places
}

/// The edges without which what they connect falls apart.
fn bridges(nodes: usize, edges: &[Edge]) -> Vec<usize> {
    let parts_without = |left_out: Option<usize>| {
        let mut part: Vec<usize> = (0..nodes).collect();
        for (index, edge) in edges.iter().enumerate() {
            if Some(index) != left_out {
                let (one, other) = (part[edge.ends.0], part[edge.ends.1]);
                part.iter_mut()
                    .filter(|of| **of == other)
                    .for_each(|of| *of = one);
            }
        }
        part.sort_unstable();
        part.dedup();
        part.len()
    };
    let whole = parts_without(None);
    (0..edges.len())
        .filter(|index| parts_without(Some(*index)) > whole)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_what_alone_holds_two_parts_together() {
        let edge = |one, other| Edge {
            ends: (one, other),
            weight: 5.0,
            is_weak: false,
            is_doubt: false,
        };
        // A triangle, a tail, and a pair of its own.
        let edges = [edge(0, 1), edge(1, 2), edge(2, 0), edge(2, 3), edge(4, 5)];
        assert_eq!(bridges(6, &edges), [3, 4]);
    }
}
