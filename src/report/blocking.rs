//! What each blocking rule brought.

use maud::{Markup, html};
use veridem_matchers::block::{BlockingRecall, RuleStatistics};

use super::chart::{Scale, bar};
use super::{nothing, number, scrolling, section_of};

/// The section on blocking.
pub fn section(
    blocking: &[RuleStatistics],
    candidate_pairs: u64,
    recall: &BlockingRecall,
) -> Markup {
    let lead = html! {
        "Which records were worth comparing. A pair that several rules bring counts for each of them but is compared once. "
        "A key held by more records than its rule allows is inactive and brings no pairs."
    };
    if blocking.is_empty() {
        return section_of("blocking", &lead, &nothing("There was no blocking rule."));
    }
    let body = html! { (estimate(recall)) (table(blocking, candidate_pairs, recall.matches)) };
    section_of("blocking", &lead, &body)
}

/// What blocking lost, as a sentence.
fn estimate(recall: &BlockingRecall) -> Markup {
    let Some(share) = recall.recall else {
        return nothing(
            "No candidate pair matched, so that nothing can be said of what blocking lost.",
        );
    };
    html! {
        p {
            "The rules brought " strong { (number::counted(recall.matches, "match", "matches")) } ", at most about "
            strong { (number::percent(share, 1.0)) } " of all. "
            (number::count(recall.by_one_rule)) " of them were brought by one rule only and " (number::count(recall.by_two_rules))
            " by two, from which about " (number::count(recall.missed.round().max(0.0) as u64))
            " or more are reckoned to have been brought by none (capture and recapture, Chao 1987: a lower bound)."
        }
    }
}

fn table(blocking: &[RuleStatistics], candidate_pairs: u64, matches: u64) -> Markup {
    let most = blocking.iter().map(|rule| rule.pairs).max().unwrap_or(0);
    let scale = Scale::new(0.0, most as f64);
    let pairs: u64 = blocking.iter().map(|rule| rule.pairs).sum();
    let alone: u64 = blocking.iter().map(|rule| rule.matches_alone).sum();
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
                th.figure scope="col" { "Matches" }
                th.figure scope="col" { "By it alone" }
                th.figure scope="col" { "Largest block" }
                th.figure scope="col" { "Inactive keys" }
            } }
            tbody {
                @for rule in blocking {
                    tr {
                        th scope="row" { (rule.rule) }
                        td.wide { (bar(&scale, 0.0, rule.pairs as f64, "for", &format!("{}: {}", rule.rule, number::counted(rule.pairs, "pair", "pairs")))) }
                        td.figure { (number::count(rule.pairs)) }
                        td.figure { (number::count(rule.matches)) }
                        td.figure { (number::count(rule.matches_alone)) }
                        td.figure { (number::size(rule.largest_block)) }
                        td.figure.attention[rule.inactive_keys > 0] { (number::size(rule.inactive_keys)) }
                    }
                }
            }
            tfoot { tr {
                th scope="row" { "All rules" }
                td.wide.note { (number::counted(candidate_pairs, "different pair", "different pairs")) }
                td.figure { (number::count(pairs)) }
                td.figure { (number::count(matches)) }
                td.figure { (number::count(alone)) }
                td.figure { (number::size(largest)) }
                td.figure { (number::size(inactive)) }
            } }
        }
    };
    scrolling("Pairs by blocking rule", &table)
}
