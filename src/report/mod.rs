//! The report of a bulk job: one self-contained HTML page, `report.html` in the folder of `veridem dedupe --out`.
//!
//! - `summary`: what came of it, in figures; stage times and sources
//! - `pairs`: how the weights of the pairs spread, and what other thresholds would do
//! - `calibration`: whether pairs match as often as their probabilities say
//! - `model`: what each comparison level weighs, and why
//! - `blocking`: what each blocking rule brought
//! - `identities`: how many records an identity has
//! - `examples`: single pairs, weighed step by step
//! - `chart`, `number`: scales, axes and how figures are written
//!
//! The page needs neither a script nor the network: charts are SVG drawn here, colours follow the reader's light or dark
//! preference, and every value is escaped by the template engine. A chart library in the page was refused: it would be a
//! megabyte a report and would show nothing where scripts are blocked, as they are in most mail programs.

mod blocking;
pub(crate) mod calibration;
pub(crate) mod chart;
mod examples;
mod identities;
pub(crate) mod model;
pub(crate) mod number;
mod pairs;
mod summary;
#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use veridem_matchers::block::{BlockingRecall, RuleStatistics};
use veridem_matchers::{Decision, Model, PairExplanation};

/// The style of charts and of the tables that go with them, within an element of the class `charts`.
pub(crate) const CHARTS_STYLE: &str = include_str!("charts.css");

/// Everything that a report shows.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// What was deduplicated, in the words of the person: usually the names of the files.
    pub title: &'a str,
    /// Source records read.
    pub records: usize,
    /// Identities found.
    pub identities: usize,
    /// Candidate pairs, each counted once.
    pub candidate_pairs: u64,
    /// Pairs decided as `Match`.
    pub matches: usize,
    /// Pairs decided as `Review`.
    pub reviews: usize,
    /// Lines of the input that were set aside.
    pub rejects: usize,
    /// Seconds by stage, in the order in which they ran, then those of the whole as `total`.
    pub seconds: &'a [(String, f64)],
    /// Largest resident set of the process.
    pub peak_rss_bytes: u64,
    /// Threads that worked.
    pub threads: usize,
    /// Probability at or above which a pair matches.
    pub match_probability: f64,
    /// Probability at or above which a steward decides.
    pub review_probability: f64,
    /// The model that weighed the pairs.
    pub model: &'a Model,
    /// What each blocking rule brought.
    pub blocking: &'a [RuleStatistics],
    /// How many matches blocking lost, estimated.
    pub recall: &'a BlockingRecall,
    /// Match weights of the pairs that people labelled, with whether they match; in any order.
    pub labelled: &'a [(f64, bool)],
    /// Match weights (log2) of the pairs at or above the review threshold, in any order.
    pub weights: &'a [f64],
    /// Records of each identity, in any order.
    pub cluster_sizes: &'a [usize],
    /// Records by source.
    pub sources: &'a [(String, usize)],
    /// Pairs to show step by step.
    pub examples: &'a [ExamplePair],
}

/// A pair to show step by step.
#[derive(Clone, Debug)]
pub struct ExamplePair {
    /// The first record, as the reader knows it: usually `source/record_id`.
    pub left: String,
    /// The second record.
    pub right: String,
    /// Why the pair has its weight.
    pub explanation: PairExplanation,
    /// Attribute, left value, right value; empty where a side does not state it. An attribute that is named like a
    /// comparison (`given_name`, `identifier.loyalty`) stands in that comparison's row, the others below.
    pub values: Vec<(String, String, String)>,
}

/// Renders the page. Pure: the same input gives the same bytes.
pub fn render(input: &ReportInput<'_>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                // Belt to the braces of escaping: even a value that broke out could neither run nor load anything.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title_of(input)) " · Veridem dedupe report" }
                style { (PreEscaped(include_str!("style.css"))) (PreEscaped(CHARTS_STYLE)) }
            }
            body.charts {
                a.skip href="#content" { "Skip to the charts" }
                (summary::header(input))
                main #content {
                    (summary::run(input))
                    (pairs::section(input))
                    (calibration::section(input.labelled))
                    (model::section(input.model))
                    (blocking::section(input.blocking, input.candidate_pairs, input.recall))
                    (identities::section(input.cluster_sizes))
                    (examples::section(input))
                }
                footer {
                    p { "Written by " code { "veridem dedupe" } ". The decisions are in " code { "pairs" } " and " code { "clusters" } ", the model in " code { "model.json" } ", these figures in " code { "summary.json" } "." }
                    @if !input.examples.is_empty() {
                        p { "The example pairs show values of real records: treat this page like the data it came from." }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A heading must not be empty.
fn title_of<'a>(input: &ReportInput<'a>) -> &'a str {
    if input.title.trim().is_empty() {
        "Untitled"
    } else {
        input.title
    }
}

/// Sections with their headings, in the order of the page; the navigation lists them.
const SECTIONS: [(&str, &str); 7] = [
    ("run", "Run"),
    ("pairs", "Pair weights"),
    ("calibration", "Calibration"),
    ("model", "Model"),
    ("blocking", "Blocking"),
    ("identities", "Identities"),
    ("examples", "Example pairs"),
];

/// A section of the page; `lead` says in one or two sentences how to read it.
fn section_of(id: &str, lead: &Markup, body: &Markup) -> Markup {
    let heading = SECTIONS
        .iter()
        .find(|(known, _)| *known == id)
        .map_or(id, |(_, heading)| heading);
    html! {
        section id=(id) aria-labelledby={ (id) "-heading" } {
            h2 id={ (id) "-heading" } { (heading) }
            p.lead { (lead) }
            (body)
        }
    }
}

/// What stands where there is nothing to draw.
fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// A table that scrolls within itself where the window is too narrow for it, also by keyboard.
fn scrolling(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-label=(label) { (table) } }
}

/// A decision as a reader sees it: its word and the class that colours it.
fn decision_words(decision: Decision) -> (&'static str, &'static str) {
    match decision {
        Decision::Match => ("Match", "match"),
        Decision::Review => ("Review", "review"),
        Decision::NonMatch => ("No match", "non-match"),
    }
}

/// Names of comparisons, levels and stages as words. What somebody named (`identifier.soc_sec`) stays as it was named.
fn words(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        name.replace('_', " ")
    }
}

/// The same, with places where a long name may break: after full stops and underscores.
fn breakable(name: &str) -> Markup {
    html! { @for part in words(name).split_inclusive(['.', '_']) { (part) wbr; } }
}
