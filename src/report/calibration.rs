//! Whether pairs match as often as their probabilities say, where people said which pairs do.

use maud::{Markup, html};
use veridem_matchers::estimate::share_interval;
use veridem_matchers::{MatchProbability, MatchWeight};

use super::chart::{Frame, Scale, Tick, percent};
use super::{nothing, number, scrolling, section_of};

/// Points of the curve: each stands for the labelled pairs of a tenth of the probabilities.
const BINS: usize = 10;

/// Labelled pairs of one bin.
#[derive(Clone, Copy, Default)]
struct Bin {
    pairs: u64,
    matches: u64,
    probabilities: f64,
}

impl Bin {
    fn predicted(&self) -> f64 {
        self.probabilities / self.pairs as f64
    }

    fn observed(&self) -> f64 {
        self.matches as f64 / self.pairs as f64
    }

    fn interval(&self) -> (f64, f64) {
        share_interval(self.matches, self.pairs)
    }
}

/// The section on calibration. `labelled` holds match weights with what people said of the pairs.
pub fn section(labelled: &[(f64, bool)]) -> Markup {
    let lead = html! {
        "Of the pairs that people labelled: how many match, by the probability that the model gives them. On the diagonal, probabilities can be taken at their word; below it the model is too sure, above it not sure enough."
    };
    let mut bins = [Bin::default(); BINS];
    for (weight, is_match) in labelled.iter().filter(|(weight, _)| weight.is_finite()) {
        let probability = MatchProbability::from(MatchWeight(*weight)).0;
        let bin = &mut bins[((probability * BINS as f64) as usize).min(BINS - 1)];
        bin.pairs += 1;
        bin.matches += u64::from(*is_match);
        bin.probabilities += probability;
    }
    let bins: Vec<(usize, Bin)> = bins
        .into_iter()
        .enumerate()
        .filter(|(_, bin)| bin.pairs > 0)
        .collect();
    if bins.is_empty() {
        let text =
            "No pair was labelled. Give a file of labels with --labels and the curve stands here.";
        return section_of("calibration", &lead, &nothing(text));
    }
    section_of(
        "calibration",
        &lead,
        &html! { div.columns { (chart(&bins)) (table(&bins)) } },
    )
}

fn chart(bins: &[(usize, Bin)]) -> Markup {
    let scale = Scale::new(0.0, 1.0);
    let ticks: Vec<Tick> = scale
        .ticks(5)
        .into_iter()
        .map(|value| Tick {
            position: scale.position(value),
            label: number::percent(value, 1.0),
        })
        .collect();
    let at = |share: f64| percent(scale.position(share));
    let height = |share: f64| percent(100.0 - scale.position(share));
    let marks = html! {
        line.zero x1="0" y1="100%" x2="100%" y2="0" {}
        @for (_, bin) in bins {
            @let (low, high) = bin.interval();
            line.whisker x1=(at(bin.predicted())) x2=(at(bin.predicted())) y1=(height(low)) y2=(height(high)) {}
            circle.dot cx=(at(bin.predicted())) cy=(height(bin.observed())) r="4" { title { (sentence(bin)) } }
        }
    };
    let pairs: u64 = bins.iter().map(|(_, bin)| bin.pairs).sum();
    let description = format!(
        "{} in {} of probability. {}",
        number::counted(pairs, "labelled pair", "labelled pairs"),
        number::counted(bins.len() as u64, "range", "ranges"),
        bins.iter()
            .map(|(_, bin)| sentence(bin))
            .collect::<Vec<_>>()
            .join(" ")
    );
    Frame {
        id: "reliability",
        title: "Share of matches by match probability",
        description: &description,
        vertical: "share that matches, with its 95 % interval",
        horizontal: "mean match probability",
        rows: &ticks,
        columns: &ticks,
    }
    .render(&marks)
}

fn sentence(bin: &Bin) -> String {
    format!(
        "Of {} at {} on average, {} match.",
        number::counted(bin.pairs, "pair", "pairs"),
        number::percent(bin.predicted(), 1.0),
        number::percent(bin.observed(), 1.0)
    )
}

fn table(bins: &[(usize, Bin)]) -> Markup {
    let table = html! {
        table.figures {
            caption { "Labelled pairs by match probability" }
            thead { tr {
                th.figure scope="col" { "Probability" }
                th.figure scope="col" { "Pairs" }
                th.figure scope="col" { "Mean" }
                th.figure scope="col" { "Match" }
            } }
            tbody {
                @for (index, bin) in bins {
                    tr {
                        th.figure scope="row" { (number::threshold(*index as f64 / BINS as f64)) "–" (number::threshold((index + 1) as f64 / BINS as f64)) }
                        td.figure { (number::count(bin.pairs)) }
                        td.figure { (number::percent(bin.predicted(), 1.0)) }
                        td.figure { (number::percent(bin.observed(), 1.0)) }
                    }
                }
            }
        }
    };
    scrolling("Labelled pairs by match probability", &table)
}
