//! Single pairs weighed step by step: from the prior, comparison by comparison, to the weight that decided.

use maud::{Markup, html};
use veridem_matchers::rules::RuleEffect;
use veridem_matchers::{MatchProbability, MatchWeight};

use super::chart::{Scale, Tick, cell, column_axis, evidence_class, mark, percent, weight_ticks};
use super::{
    ExamplePair, ReportInput, breakable, decision_words, nothing, number, scrolling, section_of,
    words,
};

/// The name of the level where a side has no value.
const MISSING: &str = "missing";

/// One bar of a waterfall.
struct Step<'a> {
    name: String,
    values: Option<(&'a str, &'a str)>,
    level: String,
    is_missing: bool,
    from: f64,
    weight: f64,
    class: &'static str,
}

/// The section with the example pairs.
pub fn section(input: &ReportInput<'_>) -> Markup {
    let lead = html! { "How single pairs got their weight. Each bar begins where the one above it ended; dashed lines are the review and the match threshold." };
    if input.examples.is_empty() {
        return section_of("examples", &lead, &nothing("There is no pair to show."));
    }
    let body = html! {
        @for (index, pair) in input.examples.iter().enumerate() {
            (example(index, pair, input))
        }
    };
    section_of("examples", &lead, &body)
}

fn example(index: usize, pair: &ExamplePair, input: &ReportInput<'_>) -> Markup {
    let score = &pair.explanation.score;
    let (word, class) = decision_words(score.decision);
    html! {
        article aria-labelledby={ "example-" (index) } {
            h3 id={ "example-" (index) } {
                span class={ "decision " (class) } { (word) }
                span.pair { span { (pair.left) } " " span.and { "and" } " " span { (pair.right) } }
            }
            p {
                "Weight " b { (number::weight(score.weight.0)) } ", match probability " b { (number::probability(score.probability().0)) }
                @if let (Some(rule), Some(effect)) = (&pair.explanation.rule, score.effect) {
                    "; the match rule “" (rule) "” holds: " (effect_words(effect))
                }
                "."
            }
            (waterfall(index, pair, input))
        }
    }
}

fn effect_words(effect: RuleEffect) -> &'static str {
    match effect {
        RuleEffect::CapAtReview => "at most a review",
        RuleEffect::MustMatch => "must match",
        RuleEffect::MustNotMatch => "must not match",
    }
}

fn steps(pair: &ExamplePair) -> Vec<Step<'_>> {
    let explanation = &pair.explanation;
    let whole = |name: &str, from: f64, weight: f64, class| Step {
        name: name.to_owned(),
        values: None,
        level: String::new(),
        is_missing: false,
        from,
        weight,
        class,
    };
    let mut reached = explanation.prior_weight.0;
    let mut steps = vec![whole("prior", 0.0, reached, "quiet")];
    for part in &explanation.parts {
        let name = part.comparison.to_string();
        let values = pair
            .values
            .iter()
            .find(|(attribute, ..)| *attribute == name)
            .map(|(_, left, right)| (left.as_str(), right.as_str()));
        let weight = part.weight.0;
        let is_missing = part.level == MISSING;
        steps.push(Step {
            name: words(&name),
            values,
            level: words(part.level),
            is_missing,
            from: reached,
            weight,
            class: evidence_class(weight),
        });
        reached += weight;
        let adjustment = part.term_adjustment.0;
        if adjustment != 0.0 {
            let level = if adjustment > 0.0 {
                "rare value"
            } else {
                "frequent value"
            };
            steps.push(Step {
                name: String::new(),
                values: None,
                level: level.to_owned(),
                is_missing: false,
                from: reached,
                weight: adjustment,
                class: evidence_class(adjustment),
            });
            reached += adjustment;
        }
    }
    let household = explanation.household_adjustment.0;
    if household != 0.0 {
        let class = evidence_class(household);
        steps.push(whole("perhaps one household", reached, household, class));
    }
    steps
}

fn waterfall(index: usize, pair: &ExamplePair, input: &ReportInput<'_>) -> Markup {
    let steps = steps(pair);
    let total = pair.explanation.score.weight.0;
    let thresholds = [input.review_probability, input.match_probability]
        .map(|probability| MatchWeight::from(MatchProbability(probability)).0);
    let reached = steps.iter().map(|step| step.from + step.weight);
    let scale = Scale::around_zero(reached.chain(thresholds).chain([total]));
    let ticks = weight_ticks(&scale, 6);
    let names: Vec<String> = pair
        .explanation
        .parts
        .iter()
        .map(|part| part.comparison.to_string())
        .collect();
    let others: Vec<_> = pair
        .values
        .iter()
        .filter(|(attribute, ..)| !names.contains(attribute))
        .collect();
    let label = format!("Weights of example pair {}", index + 1);
    let table = html! {
        table.bars.waterfall {
            caption.unseen { (label) }
            thead { tr {
                th scope="col" { "Comparison" }
                th.value scope="col" { (pair.left) }
                th.value scope="col" { (pair.right) }
                th scope="col" { "Level" }
                th.wide scope="col" { span.unseen { "Weight so far" } (column_axis(&scale, &ticks)) }
                th.figure scope="col" { "Weight" }
            } }
            tbody {
                @for (position, step) in steps.iter().enumerate() {
                    tr.absent[step.is_missing] {
                        @if step.name.is_empty() { td {} } @else { th scope="row" { (breakable(&step.name)) } }
                        (value_cells(step.values))
                        td.level { (step.level) }
                        td.wide { (step_cell(step, position == 0, &scale, &thresholds)) }
                        td.figure { (number::weight(step.weight)) }
                    }
                }
            }
            tbody.sum {
                tr {
                    th scope="row" { "sum" }
                    td.value {} td.value {} td.level {}
                    td.wide { (total_cell(total, &scale, &thresholds)) }
                    td.figure { (number::weight(total)) }
                }
            }
            @if !others.is_empty() {
                tbody.others {
                    @for (attribute, left, right) in others {
                        tr { th scope="row" { (breakable(attribute)) } (value_cells(Some((left, right)))) td.note colspan="3" { "not compared" } }
                    }
                }
            }
        }
    };
    scrolling(&label, &table)
}

fn threshold_lines(scale: &Scale, thresholds: &[f64]) -> Markup {
    html! {
        @for threshold in thresholds {
            @let position = percent(scale.position(*threshold));
            line.threshold x1=(position) x2=(position) y1="0" y2="100%" {}
        }
    }
}

/// A floating bar, joined to the rows above and below by hairlines.
fn step_cell(step: &Step<'_>, is_first: bool, scale: &Scale, thresholds: &[f64]) -> Markup {
    let to = step.from + step.weight;
    let (begin, end) = (
        percent(scale.position(step.from)),
        percent(scale.position(to)),
    );
    let title = format!(
        "{}: from {} to {}",
        if step.name.is_empty() {
            &step.level
        } else {
            &step.name
        },
        number::weight(step.from),
        number::weight(to)
    );
    let marks = html! {
        (threshold_lines(scale, thresholds))
        @if !is_first { line.join x1=(begin) x2=(begin) y1="0" y2="50%" {} }
        line.join x1=(end) x2=(end) y1="50%" y2="100%" {}
        (mark(scale, step.from, to, step.class, &title))
    };
    cell(scale, NO_GRID, &marks)
}

fn total_cell(total: f64, scale: &Scale, thresholds: &[f64]) -> Markup {
    let end = percent(scale.position(total));
    let marks = html! {
        (threshold_lines(scale, thresholds))
        line.join x1=(end) x2=(end) y1="0" y2="50%" {}
        (mark(scale, 0.0, total, "total", &format!("sum: {}", number::weight(total))))
    };
    cell(scale, NO_GRID, &marks)
}

/// Thresholds are the grid of a waterfall.
const NO_GRID: &[Tick] = &[];

fn value_cells(values: Option<(&str, &str)>) -> Markup {
    let Some((left, right)) = values else {
        return html! { td.value {} td.value {} };
    };
    let (left_parts, right_parts) = differing_parts(left, right);
    html! { td.value { (value(left_parts)) } td.value { (value(right_parts)) } }
}

fn value([before, differing, after]: [&str; 3]) -> Markup {
    html! {
        @if before.is_empty() && differing.is_empty() && after.is_empty() {
            span.note { (MISSING) }
        } @else {
            (before) @if !differing.is_empty() { mark { (differing) } } (after)
        }
    }
}

/// Each value as what it shares at its beginning, what differs, and what it shares at its end. Nothing is marked where
/// most differs: then the whole does.
fn differing_parts<'a>(left: &'a str, right: &'a str) -> ([&'a str; 3], [&'a str; 3]) {
    let whole = (["", "", left], ["", "", right]);
    let same = |(one, other): &(char, char)| one.to_lowercase().eq(other.to_lowercase());
    let before = left.chars().zip(right.chars()).take_while(same).count();
    let (left_count, right_count) = (left.chars().count(), right.chars().count());
    let shorter = left_count.min(right_count);
    let after = left
        .chars()
        .rev()
        .zip(right.chars().rev())
        .take(shorter - before)
        .take_while(same)
        .count();
    if before == left_count.max(right_count) || (before + after) * 2 < left_count.max(right_count) {
        return whole;
    }
    (
        cut(left, before, left_count - after),
        cut(right, before, right_count - after),
    )
}

/// A text cut before its characters number `first` and `second`.
fn cut(text: &str, first: usize, second: usize) -> [&str; 3] {
    let offset = |number: usize| {
        text.char_indices()
            .nth(number)
            .map_or(text.len(), |(offset, _)| offset)
    };
    let (first, second) = (offset(first), offset(second));
    [&text[..first], &text[first..second], &text[second..]]
}

#[cfg(test)]
mod tests {
    use super::differing_parts;

    #[test]
    fn what_differs_is_marked() {
        assert_eq!(
            differing_parts("nicholas", "nikolas"),
            (["ni", "ch", "olas"], ["ni", "k", "olas"])
        );
        assert_eq!(
            differing_parts("smith", "SMITH"),
            (["", "", "smith"], ["", "", "SMITH"])
        );
        assert_eq!(
            differing_parts("ann", "bo"),
            (["", "", "ann"], ["", "", "bo"])
        );
        assert_eq!(differing_parts("", "bo"), (["", "", ""], ["", "", "bo"]));
        assert_eq!(
            differing_parts("aa", "aaa"),
            (["aa", "", ""], ["aa", "a", ""])
        );
        assert_eq!(
            differing_parts("Zoë K", "Zoé K"),
            (["Zo", "ë", " K"], ["Zo", "é", " K"])
        );
    }
}
