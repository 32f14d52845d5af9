//! What came of the job, in figures; where its time went; where its records came from.

use maud::{Markup, html};

use super::chart::{Scale, bar};
use super::{ReportInput, SECTIONS, nothing, number, scrolling, section_of, title_of, words};

/// More sources than this are summed up in one row.
const MAX_SOURCES: usize = 12;
/// The name of the entry of `seconds` that is no stage.
const TOTAL: &str = "total";

/// The head of the page: title, the result in a sentence, key figures, navigation.
pub fn header(input: &ReportInput<'_>) -> Markup {
    html! {
        header {
            p.brand { b { "Veridem" } " dedupe report" }
            h1 { (title_of(input)) }
            p.result { (result(input)) }
            (yield_bar(input))
            dl.tiles {
                @for (name, figure, note) in tiles(input) {
                    div { dt { (name) } dd.figure { (figure) } dd.note { (note) } }
                }
            }
            nav aria-label="Sections" {
                ul { @for (id, heading) in SECTIONS { li { a href={ "#" (id) } { (heading) } } } }
            }
        }
    }
}

fn result(input: &ReportInput<'_>) -> Markup {
    if input.records == 0 {
        return html! { "There were no records to resolve." };
    }
    let records = number::counted(input.records as u64, "record", "records");
    let identities = number::counted(input.identities as u64, "identity", "identities");
    let verb = if input.records == 1 { "is" } else { "are" };
    let repeated = input.records.saturating_sub(input.identities);
    html! {
        strong { (records) } " " (verb) " " strong { (identities) } ". "
        @if repeated == 0 {
            "No record repeats a person that another one has."
        } @else {
            (number::counted(repeated as u64, "record repeats", "records repeat")) " a person that another one has ("
            (number::percent(repeated as f64, input.records as f64)) ")."
        }
    }
}

/// Records as a whole, identities as the part of it that stays.
fn yield_bar(input: &ReportInput<'_>) -> Markup {
    let kept = number::share(input.identities as f64, input.records as f64) * 100.0;
    let description = format!(
        "{} identities among {} records",
        number::size(input.identities),
        number::size(input.records)
    );
    html! {
        @if input.records > 0 {
            svg.yield role="img" aria-labelledby="yield-title yield-description" {
                title id="yield-title" { "Identities among records" }
                desc id="yield-description" { (description) }
                rect.quiet x="0" y="0" width="100%" height="100%" {}
                rect.for x="0" y="0" width=(super::chart::percent(kept)) height="100%" {}
            }
            p.legend aria-hidden="true" {
                span { i.for {} "one record for each identity" }
                span { i.quiet {} "further records of the same persons" }
            }
        }
    }
}

fn tiles(input: &ReportInput<'_>) -> [(&'static str, String, String); 8] {
    let possible = input.records as f64 * (input.records as f64 - 1.0) / 2.0;
    let several = input.cluster_sizes.iter().filter(|size| **size > 1).count();
    let match_probability = number::threshold(input.match_probability);
    let review_probability = number::threshold(input.review_probability);
    [
        (
            "Records",
            number::size(input.records),
            format!(
                "from {}",
                number::counted(input.sources.len() as u64, "source", "sources")
            ),
        ),
        (
            "Identities",
            number::size(input.identities),
            format!("{} with several records", number::size(several)),
        ),
        (
            "Candidate pairs",
            number::count(input.candidate_pairs),
            format!(
                "{} of all pairs",
                number::percent(input.candidate_pairs as f64, possible)
            ),
        ),
        (
            "Matches",
            number::size(input.matches),
            format!("threshold {match_probability}"),
        ),
        (
            "Reviews",
            number::size(input.reviews),
            format!("threshold {review_probability}"),
        ),
        (
            "Lines set aside",
            number::size(input.rejects),
            "not usable".to_owned(),
        ),
        (
            "Time",
            number::seconds(total_seconds(input.seconds)),
            format!(
                "on {}",
                number::counted(input.threads as u64, "thread", "threads")
            ),
        ),
        (
            "Peak memory",
            number::bytes(input.peak_rss_bytes),
            "resident".to_owned(),
        ),
    ]
}

fn stages(seconds: &[(String, f64)]) -> &[(String, f64)] {
    match seconds {
        [stages @ .., (name, _)] if name == TOTAL => stages,
        _ => seconds,
    }
}

fn total_seconds(seconds: &[(String, f64)]) -> f64 {
    match seconds {
        [.., (name, total)] if name == TOTAL => *total,
        _ => seconds.iter().map(|(_, stage)| stage).sum(),
    }
}

/// Stage times and sources, side by side.
pub fn run(input: &ReportInput<'_>) -> Markup {
    let lead =
        html! { "Stages run one after the other; each bar begins where the one before it ended." };
    section_of(
        "run",
        &lead,
        &html! { div.columns { (stage_times(input.seconds)) (sources(input.sources)) } },
    )
}

fn stage_times(seconds: &[(String, f64)]) -> Markup {
    let stages = stages(seconds);
    let total = total_seconds(seconds);
    if stages.is_empty() {
        return nothing("No stage was timed.");
    }
    let sum: f64 = stages.iter().map(|(_, stage)| stage).sum();
    let scale = Scale::new(0.0, total.max(sum));
    let mut begin = 0.0;
    let rows: Vec<(&str, f64, f64)> = stages
        .iter()
        .map(|(name, stage)| {
            let row = (name.as_str(), begin, *stage);
            begin += stage;
            row
        })
        .collect();
    let table = html! {
        table.bars {
            caption { "Time by stage" }
            thead { tr { th scope="col" { "Stage" } th.wide scope="col" { "When" } th.figure scope="col" { "Time" } th.figure scope="col" { "Share" } } }
            tbody {
                @for (name, begin, stage) in rows {
                    tr {
                        th scope="row" { (words(name)) }
                        td.wide { (bar(&scale, begin, begin + stage, "for", &format!("{}: {}", words(name), number::seconds(stage)))) }
                        td.figure { (number::seconds(stage)) }
                        td.figure { (number::percent(stage, total.max(sum))) }
                    }
                }
            }
            tfoot { tr { th scope="row" { "Total" } td.wide {} td.figure { (number::seconds(total)) } td {} } }
        }
    };
    scrolling("Time by stage", &table)
}

fn sources(sources: &[(String, usize)]) -> Markup {
    if sources.is_empty() {
        return nothing("No source has a record.");
    }
    let total: usize = sources.iter().map(|(_, records)| records).sum();
    let mut largest: Vec<(&str, usize)> = sources
        .iter()
        .map(|(name, records)| (name.as_str(), *records))
        .collect();
    largest.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
    let others = largest.split_off(largest.len().min(MAX_SOURCES));
    let other_records: usize = others.iter().map(|(_, records)| records).sum();
    let scale = Scale::new(
        0.0,
        largest.first().map_or(1.0, |(_, records)| *records as f64),
    );
    let table = html! {
        table.bars {
            caption { "Records by source" }
            thead { tr { th scope="col" { "Source" } th.wide scope="col" { "" span.unseen { "Chart" } } th.figure scope="col" { "Records" } th.figure scope="col" { "Share" } } }
            tbody {
                @for (name, records) in largest {
                    tr {
                        th scope="row" { (name) }
                        td.wide { (bar(&scale, 0.0, records as f64, "for", &format!("{name}: {}", number::size(records)))) }
                        td.figure { (number::size(records)) }
                        td.figure { (number::percent(records as f64, total as f64)) }
                    }
                }
                @if !others.is_empty() {
                    tr {
                        th scope="row" { (number::counted(others.len() as u64, "other", "others")) }
                        td.wide {}
                        td.figure { (number::size(other_records)) }
                        td.figure { (number::percent(other_records as f64, total as f64)) }
                    }
                }
            }
        }
    };
    scrolling("Records by source", &table)
}
