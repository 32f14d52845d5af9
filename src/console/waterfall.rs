//! How a match weight comes about, part by part, as bars that begin where the one before ends.

use maud::{Markup, html};
use veridem_proto::v1;

use super::texts;
use crate::report::chart::{Scale, bar, evidence_class};
use crate::report::number;

struct Step {
    name: String,
    level: String,
    weight: f64,
}

fn steps(explanation: &v1::MatchExplanation) -> Vec<Step> {
    let step = |name: &str, level: &str, weight| Step {
        name: name.to_owned(),
        level: level.to_owned(),
        weight,
    };
    let mut steps = vec![step("Two records at random", "", explanation.prior_weight)];
    for part in &explanation.parts {
        // What one side lacks says nothing.
        if part.level != "missing" {
            let level = part.level.replace('_', " ");
            let weight = part.weight + part.term_frequency_adjustment;
            steps.push(step(&texts::slot(&part.comparison), &level, weight));
        }
    }
    if explanation.household_adjustment != 0.0 {
        let weight = explanation.household_adjustment;
        steps.push(step("Perhaps one household", "", weight));
    }
    steps
}

/// The parts with bars, and their sum.
pub(super) fn of(explanation: &v1::MatchExplanation) -> Markup {
    let steps = steps(explanation);
    let mut reached = vec![0.0];
    for step in &steps {
        reached.push(reached.last().copied().unwrap_or_default() + step.weight);
    }
    let total = explanation.match_weight;
    let scale = Scale::around_zero(reached.iter().copied().chain([total]));
    html! {
        table.waterfall {
            caption.unseen { "Parts of the match weight" }
            thead.unseen { tr { th scope="col" { "Part" } th scope="col" { "Level" } th scope="col" { "Weight" } th scope="col" { "Bar" } } }
            tbody {
                @for (index, step) in steps.iter().enumerate() {
                    tr {
                        th scope="row" { (step.name) }
                        td.level { (step.level) }
                        td.number { (number::weight(step.weight)) }
                        td { (bar(&scale, reached[index], reached[index + 1], evidence_class(step.weight), "")) }
                    }
                }
                tr.total {
                    th scope="row" { "Match weight" }
                    td {}
                    td.number { (number::weight(total)) }
                    td { (bar(&scale, 0.0, total, "total", "")) }
                }
            }
        }
    }
}
