//! What each blocking rule brought.

use maud::{Markup, html};
use veridem_matchers::block::RuleStatistics;

use super::chart::{Scale, bar};
use super::{nothing, number, scrolling, section_of};

/// The section on blocking.
pub fn section(blocking: &[RuleStatistics], candidate_pairs: u64) -> Markup {
    let lead = html! {
        "Which records were worth comparing. A pair that several rules bring counts for each of them but is compared once. "
        "A key held by more records than its rule allows is inactive and brings no pairs."
    };
    if blocking.is_empty() {
        return section_of("blocking", &lead, &nothing("There was no blocking rule."));
    }
    section_of("blocking", &lead, &table(blocking, candidate_pairs))
}

fn table(blocking: &[RuleStatistics], candidate_pairs: u64) -> Markup {
    let most = blocking.iter().map(|rule| rule.pairs).max().unwrap_or(0);
    let scale = Scale::new(0.0, most as f64);
    let pairs: u64 = blocking.iter().map(|rule| rule.pairs).sum();
    let inactive: usize = blocking.iter().map(|rule| rule.inactive_keys).sum();
    let largest = blocking
        .iter()
        .map(|rule| rule.largest_block)
        .max()
        .unwrap_or(0);
    let table = html! {
        table.bars.rules {
            caption { "Pairs by blocking rule" }
            thead { tr {
                th scope="col" { "Rule" }
                th.wide scope="col" { span.unseen { "Pairs as a bar" } }
                th.figure scope="col" { "Pairs" }
                th.figure scope="col" { "Largest block" }
                th.figure scope="col" { "Inactive keys" }
            } }
            tbody {
                @for rule in blocking {
                    tr {
                        th scope="row" { (rule.rule) }
                        td.wide { (bar(&scale, 0.0, rule.pairs as f64, "for", &format!("{}: {}", rule.rule, number::counted(rule.pairs, "pair", "pairs")))) }
                        td.figure { (number::count(rule.pairs)) }
                        td.figure { (number::size(rule.largest_block)) }
                        td.figure.attention[rule.inactive_keys > 0] { (number::size(rule.inactive_keys)) }
                    }
                }
            }
            tfoot { tr {
                th scope="row" { "All rules" }
                td.wide.note { (number::counted(candidate_pairs, "different pair", "different pairs")) }
                td.figure { (number::count(pairs)) }
                td.figure { (number::size(largest)) }
                td.figure { (number::size(inactive)) }
            } }
        }
    };
    scrolling("Pairs by blocking rule", &table)
}
