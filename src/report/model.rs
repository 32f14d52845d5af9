//! What each level of each comparison weighs, and the m and u probabilities from which the weight comes.

use maud::{Markup, html};
use veridem_matchers::Model;
use veridem_matchers::model::ComparisonModel;

use super::chart::{Scale, Tick, cell, column_axis, evidence_class, mark, weight_ticks};
use super::{breakable, nothing, number, scrolling, section_of, words};

/// One level as it is drawn.
struct Row<'a> {
    level: &'a str,
    weight: f64,
    m: f64,
    u: f64,
}

/// The section on the model.
pub fn section(model: &Model) -> Markup {
    let lead = html! {
        "How far each comparison level moves a pair: right, towards one person; left, towards two. The weight is log2 of m over u, "
        "where m is how often matching pairs fall in the level and u how often others do. A missing value weighs 0."
    };
    if model.comparisons.is_empty() {
        return section_of(
            "model",
            &lead,
            &html! { (nothing("The model has no comparison: no attribute was stated by enough records.")) (prior(model)) },
        );
    }
    section_of(
        "model",
        &lead,
        &html! { (prior(model)) (weights_table(model)) },
    )
}

fn prior(model: &Model) -> Markup {
    let odds = if model.prior > 0.0 {
        1.0 / model.prior
    } else {
        f64::INFINITY
    };
    html! {
        p {
            "Before anything is compared, two records of this data are one person with probability " b { (number::parameter(model.prior)) }
            @if odds.is_finite() { " (about 1 pair in " (number::count(odds.round() as u64)) ")" }
            ", a weight of " b { (number::weight(model.prior_weight().0)) } "; evidence has to outweigh that. "
            @if model.trained_on_records > 0 {
                "Trained on " (number::counted(model.trained_on_records, "record", "records")) "."
            } @else {
                "Taken over from another tool."
            }
        }
    }
}

fn rows_of(comparison: &ComparisonModel) -> Vec<Row<'_>> {
    let levels = comparison.levels.iter();
    levels
        .map(|level| Row {
            level: &level.level,
            weight: (level.m / level.u).log2(),
            m: level.m,
            u: level.u,
        })
        .collect()
}

fn weights_table(model: &Model) -> Markup {
    let prior_weight = model.prior_weight().0;
    let comparisons: Vec<(&ComparisonModel, Vec<Row<'_>>)> = model
        .comparisons
        .iter()
        .map(|comparison| (comparison, rows_of(comparison)))
        .collect();
    let all_weights = comparisons
        .iter()
        .flat_map(|(_, rows)| rows.iter().map(|row| row.weight));
    let weights = Scale::around_zero(all_weights.chain([prior_weight]));
    let grid = weight_ticks(&weights, 8);
    let shares = Scale::new(0.0, 1.0);
    let table = html! {
        table.bars.model {
            caption { "Weights, m and u by level" }
            thead { tr {
                th scope="col" { "Comparison" }
                th scope="col" { "Level" }
                th.wide scope="col" { span.unseen { "Weight as a bar" } (column_axis(&weights, &grid)) }
                th.figure scope="col" { "Weight" }
                th.narrow scope="col" { span.unseen { "m as a bar" } }
                th.figure scope="col" { abbr title="P(level given match)" { "m" } }
                th.narrow scope="col" { span.unseen { "u as a bar" } }
                th.figure scope="col" { abbr title="P(level given non-match)" { "u" } }
            } }
            tbody {
                tr {
                    th scope="rowgroup" { "prior" }
                    td.level {}
                    td.wide { (cell(&weights, &grid, &mark(&weights, 0.0, prior_weight, "quiet", &format!("prior: {}", number::weight(prior_weight))))) }
                    td.figure { (number::weight(prior_weight)) }
                    td.narrow {} td {} td.narrow {} td {}
                }
            }
            @for (comparison, rows) in &comparisons {
                (group(comparison, rows, &weights, &grid, &shares))
            }
        }
    };
    scrolling("Match weights", &table)
}

fn group(
    comparison: &ComparisonModel,
    rows: &[Row<'_>],
    weights: &Scale,
    grid: &[Tick],
    shares: &Scale,
) -> Markup {
    let name = words(&comparison.comparison.to_string());
    let name = name.as_str();
    html! {
        tbody {
            @for (index, row) in rows.iter().enumerate() {
                @let level = words(row.level);
                @let weight = number::weight(row.weight);
                tr {
                    @if index == 0 {
                        th scope="rowgroup" rowspan=(rows.len()) {
                            (breakable(name))
                            @if comparison.term_frequencies.is_some() { span.note { "adjusted by how rare the value is" } }
                        }
                    }
                    td.level { (level) }
                    td.wide { (cell(weights, grid, &mark(weights, 0.0, row.weight, evidence_class(row.weight), &format!("{name}, {level}: {weight}")))) }
                    td.figure { (weight) }
                    td.narrow { (share_bar(shares, row.m, "for", &format!("{name}, {level}: m {}", number::parameter(row.m)))) }
                    td.figure { (number::parameter(row.m)) }
                    td.narrow { (share_bar(shares, row.u, "against", &format!("{name}, {level}: u {}", number::parameter(row.u)))) }
                    td.figure { (number::parameter(row.u)) }
                }
            }
        }
    }
}

fn share_bar(shares: &Scale, value: f64, class: &str, title: &str) -> Markup {
    cell(shares, &[], &mark(shares, 0.0, value, class, title))
}
