//! How the weights of the pairs spread, and how many pairs would match at other thresholds.

use maud::{Markup, html};
use veridem_matchers::{MatchProbability, MatchWeight};

use super::chart::{Frame, Scale, Tick, count_ticks, marker, percent, round_step, weight_ticks};
use super::{ReportInput, nothing, number, scrolling, section_of};

/// Bars of the histogram, at most.
const MAX_BINS: f64 = 64.0;
/// What 32 comparisons cannot reach whatever their m and u; anything beyond is no weight.
const MAX_WEIGHT: f64 = 1e5;
/// Steps of the threshold curve.
const CURVE_STEPS: usize = 240;
/// Probabilities that the threshold axis and table name.
const PROBABILITIES: [f64; 14] = [
    0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999_999,
];
/// The same, where the axis has no room for all.
const AXIS_PROBABILITIES: [f64; 9] = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];

/// The two thresholds as weights.
#[derive(Clone, Copy)]
struct Thresholds {
    match_weight: f64,
    review_weight: f64,
}

/// The section on pair weights.
pub fn section(input: &ReportInput<'_>) -> Markup {
    let lead = html! {
        "A pair's match weight is the log2 of its odds of being one person: each further unit doubles them. Pairs below the review threshold are not shown."
    };
    let weights: Vec<f64> = input
        .weights
        .iter()
        .copied()
        .filter(|weight| weight.abs() < MAX_WEIGHT)
        .collect();
    if weights.is_empty() {
        return section_of(
            "pairs",
            &lead,
            &nothing("No pair reached the review threshold."),
        );
    }
    let thresholds = Thresholds {
        match_weight: weight_of(input.match_probability),
        review_weight: weight_of(input.review_probability),
    };
    let body = html! {
        div.columns {
            (histogram(&weights, thresholds, input))
            (curve(&weights, thresholds, input))
        }
        (threshold_table(&weights, input))
    };
    section_of("pairs", &lead, &body)
}

fn weight_of(probability: f64) -> f64 {
    MatchWeight::from(MatchProbability(probability)).0
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// Pairs of one bar, by what their weight alone decides.
#[derive(Clone, Copy, Default)]
struct Bin {
    below: u64,
    review: u64,
    matching: u64,
}

impl Bin {
    fn add(&mut self, weight: f64, thresholds: Thresholds) {
        if weight >= thresholds.match_weight {
            self.matching += 1;
        } else if weight >= thresholds.review_weight {
            self.review += 1;
        } else {
            self.below += 1;
        }
    }

    fn total(&self) -> u64 {
        self.below + self.review + self.matching
    }

    /// From the bottom up.
    fn parts(&self) -> [(u64, &'static str, &'static str); 3] {
        [
            (self.matching, "for", "match"),
            (self.review, "review", "review"),
            (self.below, "quiet", "below review, decided by a rule"),
        ]
    }
}

fn histogram(weights: &[f64], thresholds: Thresholds, input: &ReportInput<'_>) -> Markup {
    let shown = [thresholds.match_weight, thresholds.review_weight];
    let shown = || shown.iter().copied().filter(|weight| weight.is_finite());
    let smallest = least(weights.iter().copied().chain(shown()));
    let largest = greatest(weights.iter().copied().chain(shown()));
    let step = round_step(((largest - smallest) / MAX_BINS).max(0.25));
    let low = (smallest / step).floor() * step;
    let bin_count = (((largest - low) / step).floor() as usize + 1).min(MAX_BINS as usize * 2);
    let mut bins = vec![Bin::default(); bin_count];
    for weight in weights {
        let index = ((weight - low) / step) as usize;
        bins[index.min(bin_count - 1)].add(*weight, thresholds);
    }
    let scale = Scale::new(low, low + step * bin_count as f64);
    let highest = bins.iter().map(Bin::total).max().unwrap_or(0);
    let heights = Scale::new(0.0, highest as f64 * 1.04);
    let (fullest, _) = bins
        .iter()
        .enumerate()
        .max_by_key(|(index, bin)| (bin.total(), std::cmp::Reverse(*index)))
        .unwrap_or((0, &Bin::default()));
    let from = |index: usize| low + step * index as f64;
    let marks = html! {
        @for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.total() > 0) {
            (stack(bin, from(index), step, &scale, &heights))
        }
        // The review threshold is the lower one: its name, which has a halo, goes over the line of the other.
        (marker(scale.position(thresholds.match_weight), &format!("match from {}", number::threshold(input.match_probability)), 1, "for"))
        (marker(scale.position(thresholds.review_weight), &format!("review from {}", number::threshold(input.review_probability)), 0, "review"))
    };
    let description = format!(
        "{} with weights from {} to {}; most of them between {} and {}. Thresholds at {} for review and {} for match.",
        number::counted(weights.len() as u64, "pair", "pairs"),
        number::weight(least(weights.iter().copied())),
        number::weight(greatest(weights.iter().copied())),
        number::weight_tick(from(fullest)),
        number::weight_tick(from(fullest + 1)),
        number::weight(thresholds.review_weight),
        number::weight(thresholds.match_weight),
    );
    Frame {
        id: "weights",
        title: "Pairs by match weight",
        description: &description,
        vertical: "pairs",
        horizontal: "match weight",
        rows: &count_ticks(&heights, 4),
        columns: &weight_ticks(&scale, 7),
    }
    .render(&marks)
}

/// One bar: its parts on top of each other, none of them too low to be seen.
fn stack(bin: &Bin, from: f64, step: f64, scale: &Scale, heights: &Scale) -> Markup {
    let left = scale.position(from);
    let width = scale.position(from + step) - left;
    let range = format!(
        "{} to {}",
        number::weight_tick(from),
        number::weight_tick(from + step)
    );
    let mut top = 100.0;
    let parts: Vec<_> = bin
        .parts()
        .into_iter()
        .filter(|(pairs, ..)| *pairs > 0)
        .map(|(pairs, class, word)| {
            let height = heights.position(pairs as f64).max(1.2);
            top -= height;
            (
                top,
                height,
                class,
                format!(
                    "{range}: {} ({word})",
                    number::counted(pairs, "pair", "pairs")
                ),
            )
        })
        .collect();
    html! {
        @for (top, height, class, title) in parts {
            rect class={ "column " (class) } x=(percent(left)) width=(percent(width)) y=(percent(top)) height=(percent(height)) { title { (title) } }
        }
    }
}

/// Pairs at or above each of the steps from `low` to `high`, counted in one pass.
fn pairs_at_or_above(weights: &[f64], low: f64, high: f64) -> Vec<u64> {
    let step = (high - low) / CURVE_STEPS as f64;
    let mut pairs = vec![0_u64; CURVE_STEPS + 1];
    for weight in weights.iter().filter(|weight| **weight >= low) {
        let index = ((weight - low) / step).floor() as usize;
        pairs[index.min(CURVE_STEPS)] += 1;
    }
    let mut sum = 0;
    for count in pairs.iter_mut().rev() {
        sum += *count;
        *count = sum;
    }
    pairs
}

fn curve(weights: &[f64], thresholds: Thresholds, input: &ReportInput<'_>) -> Markup {
    let low = if thresholds.review_weight.is_finite() {
        thresholds.review_weight
    } else {
        least(weights.iter().copied())
    };
    let most = weight_of(PROBABILITIES[PROBABILITIES.len() - 1]);
    let high = most
        .max(if thresholds.match_weight.is_finite() {
            thresholds.match_weight + 1.0
        } else {
            most
        })
        .max(low + 1.0);
    let pairs = pairs_at_or_above(weights, low, high);
    let (first, last) = (pairs[0] as f64, pairs[CURVE_STEPS] as f64);
    let scale = Scale::new(low, high);
    // A curve that stays near its top says nothing on an axis from zero: what matters is how much each step costs.
    let is_cut = last > first * 0.5;
    let air = ((first - last) * 0.08).max(1.0);
    let heights = Scale::new(
        if is_cut { (last - air).max(0.0) } else { 0.0 },
        first + air,
    );
    let points: Vec<(f64, f64)> = pairs
        .iter()
        .enumerate()
        .map(|(index, count)| {
            (
                index as f64 / CURVE_STEPS as f64 * 100.0,
                100.0 - heights.position(*count as f64),
            )
        })
        .collect();
    let chosen = weights
        .iter()
        .filter(|weight| **weight >= thresholds.match_weight)
        .count();
    let chosen_at = (
        scale.position(thresholds.match_weight),
        100.0 - heights.position(chosen as f64),
    );
    let marks = html! {
        svg.stretched viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%" {
            path.area d=(area_of(&points)) {}
            path.curve d=(path_of(&points)) {}
        }
        (marker(chosen_at.0, &format!("{} at {}", number::counted(chosen as u64, "pair", "pairs"), number::threshold(input.match_probability)), 0, "for"))
        circle.dot cx=(percent(chosen_at.0)) cy=(percent(chosen_at.1)) r="4" {}
    };
    let description = format!(
        "The number of pairs that match falls from {} at probability {} to {} at {}; at the match threshold of {} it is {}.",
        number::count(pairs[0]),
        number::threshold(input.review_probability),
        number::count(pairs[CURVE_STEPS]),
        number::threshold(PROBABILITIES[PROBABILITIES.len() - 1]),
        number::threshold(input.match_probability),
        number::size(chosen),
    );
    let columns = AXIS_PROBABILITIES
        .into_iter()
        .map(|probability| (probability, weight_of(probability)));
    let columns: Vec<Tick> = columns
        .filter(|(_, weight)| (low - 1e-9..=high).contains(weight))
        .map(|(probability, weight)| Tick {
            position: scale.position(weight),
            label: number::threshold(probability),
        })
        .collect();
    Frame {
        id: "thresholds",
        title: "Pairs that match at each threshold, by weight alone",
        description: &description,
        vertical: if is_cut {
            "pairs (axis does not begin at 0)"
        } else {
            "pairs"
        },
        horizontal: "match probability asked for, spaced by weight",
        rows: &count_ticks(&heights, 4),
        columns: &columns,
    }
    .render(&marks)
}

fn path_of(points: &[(f64, f64)]) -> String {
    points
        .iter()
        .enumerate()
        .map(|(index, (x, y))| format!("{}{x:.2} {y:.2}", if index == 0 { "M" } else { "L" }))
        .collect()
}

fn area_of(points: &[(f64, f64)]) -> String {
    format!("{}L100 100L0 100Z", path_of(points))
}

fn threshold_table(weights: &[f64], input: &ReportInput<'_>) -> Markup {
    let mut asked: Vec<f64> = PROBABILITIES
        .into_iter()
        .filter(|probability| *probability > input.review_probability)
        .collect();
    asked.extend([input.match_probability, input.review_probability]);
    asked.retain(|probability| probability.is_finite());
    asked.sort_by(f64::total_cmp);
    asked.dedup();
    let least: Vec<f64> = asked
        .iter()
        .map(|probability| weight_of(*probability))
        .collect();
    let above = Above::each(weights, &least);
    let all = above[0].matches;
    let rows: Vec<(f64, Above)> = asked.into_iter().zip(above.into_iter().skip(1)).collect();
    let chosen = rows
        .iter()
        .find(|(probability, _)| *probability == input.match_probability)
        .map_or(0, |(_, above)| above.pairs);
    let best = rows
        .iter()
        .map(|(_, above)| above.f1(all))
        .fold(0.0, f64::max);
    let table = html! {
        table.figures {
            caption { "Pairs that would match at other thresholds, by weight alone" }
            thead { tr {
                th.figure scope="col" { "Match probability" }
                th.figure scope="col" { "Match weight" }
                th.figure scope="col" { "Pairs" }
                th.figure scope="col" { "Change" }
                th.figure scope="col" { "Expected precision" }
                th.figure scope="col" { "Expected recall" }
                th.figure scope="col" { "Expected F1" }
            } }
            tbody {
                @for (probability, above) in rows {
                    @let is_chosen = probability == input.match_probability;
                    tr.chosen[is_chosen] {
                        th.figure scope="row" { (number::threshold(probability)) @if is_chosen { " (set)" } @else if probability == input.review_probability { " (review)" } }
                        td.figure { (number::weight(weight_of(probability))) }
                        td.figure { (number::size(above.pairs)) }
                        td.figure { (change(above.pairs, chosen)) }
                        td.figure { (number::percent(above.matches, above.pairs as f64)) }
                        td.figure { (number::percent(above.matches, all)) }
                        td.figure { (number::percent(above.f1(all), 1.0)) @if above.f1(all) == best { " (best)" } }
                    }
                }
            }
        }
        p.note { "Expected by the model's own probabilities, among the pairs at or above the review threshold; it says nothing of pairs that blocking did not bring." }
    };
    html! { details { summary { "Other thresholds as a table" } (scrolling("Pairs at other thresholds", &table)) } }
}

/// Pairs at or above a threshold, and how many of them match by their probabilities.
#[derive(Clone, Copy, Default)]
struct Above {
    pairs: usize,
    matches: f64,
}

impl Above {
    /// For no threshold at all, then for each of some that ascend; in one pass.
    fn each(weights: &[f64], thresholds: &[f64]) -> Vec<Self> {
        let mut sums = vec![Self::default(); thresholds.len() + 1];
        for weight in weights {
            let sum = &mut sums[thresholds.partition_point(|least| least <= weight)];
            sum.pairs += 1;
            sum.matches += MatchProbability::from(MatchWeight(*weight)).0;
        }
        for index in (0..thresholds.len()).rev() {
            let above = sums[index + 1];
            sums[index].pairs += above.pairs;
            sums[index].matches += above.matches;
        }
        sums
    }

    /// The harmonic mean of precision and recall where there are so many matches in all.
    fn f1(&self, all: f64) -> f64 {
        2.0 * number::share(self.matches, self.pairs as f64 + all)
    }
}

fn change(pairs: usize, chosen: usize) -> String {
    match pairs.cmp(&chosen) {
        std::cmp::Ordering::Less => format!("−{}", number::size(chosen - pairs)),
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", number::size(pairs - chosen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_counts_pairs_at_or_above_each_step() {
        let weights = [-1.0, 0.0, 0.5, 1.0, 1.0, 7.0];
        let pairs = pairs_at_or_above(&weights, 0.0, 2.0);
        assert_eq!(
            (
                pairs[0],
                pairs[CURVE_STEPS / 4],
                pairs[CURVE_STEPS / 2],
                pairs[CURVE_STEPS]
            ),
            (5, 4, 3, 1)
        );
    }

    #[test]
    fn precision_and_recall_are_expected_from_probabilities() {
        // Probabilities of 1/2, 4/5 and 16/17.
        let above = Above::each(&[0.0, 2.0, 4.0], &[1.0, 3.0]);
        let all = 0.5 + 0.8 + 16.0 / 17.0;
        assert_eq!([above[0].pairs, above[1].pairs, above[2].pairs], [3, 2, 1]);
        assert!((above[0].matches - all).abs() < 1e-12);
        assert!((above[2].matches - 16.0 / 17.0).abs() < 1e-12);
        assert!((above[1].f1(all) - 2.0 * (0.8 + 16.0 / 17.0) / (2.0 + all)).abs() < 1e-12);
    }

    #[test]
    fn a_weight_is_counted_by_what_it_decides() {
        let thresholds = Thresholds {
            match_weight: 4.0,
            review_weight: 0.0,
        };
        let mut bin = Bin::default();
        for weight in [-0.1, 0.0, 3.9, 4.0, 9.0, 11.0] {
            bin.add(weight, thresholds);
        }
        assert_eq!((bin.below, bin.review, bin.matching), (1, 2, 3));
    }
}
