//! What the charts share: scales, ticks, bars and frames.
//!
//! Horizontal positions are percentages of the plot and no view box scales the text: it keeps its size where the window is
//! narrow or the page is zoomed, and a chart never has to be scrolled to be read.

use maud::{Markup, html};

use super::number;

/// A bar narrower than this share of the plot could not be seen.
const MIN_BAR_PERCENT: f64 = 0.35;

/// Maps values onto 0 to 100 percent of a plot.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// A scale from `low` to `high`; where they are not in order or not finite, one unit from what is usable.
    pub fn new(low: f64, high: f64) -> Self {
        let low = if low.is_finite() { low } else { 0.0 };
        let high = if high.is_finite() && high > low {
            high
        } else {
            low + 1.0
        };
        Self { low, high }
    }

    /// A scale that shows zero and every finite value, with a little air beyond those that are not zero.
    pub fn around_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let air = (high - low) * 0.03;
        Self::new(
            if low < 0.0 { low - air } else { low },
            if high > 0.0 { high + air } else { high },
        )
    }

    /// Where a value lies, in percent; beyond the ends at the end.
    pub fn position(&self, value: f64) -> f64 {
        let position = (value - self.low) / (self.high - self.low) * 100.0;
        if position.is_nan() {
            0.0
        } else {
            position.clamp(0.0, 100.0)
        }
    }

    /// Round values within the scale, about as many as asked for.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        let step = round_step((self.high - self.low) / about.max(1) as f64);
        if !(step.is_finite() && step > 0.0) {
            return Vec::new();
        }
        let first = (self.low / step - 1e-9).ceil();
        let values = (0..about * 3).map(|index| (first + index as f64) * step);
        values
            .take_while(|value| *value <= self.high + step * 1e-9)
            .collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `wanted`.
pub fn round_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= wanted * (1.0 - 1e-9))
        .unwrap_or(power)
}

/// A percentage as an SVG attribute.
pub fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// A labelled place on an axis.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Percent of the axis.
    pub position: f64,
    /// What stands there.
    pub label: String,
}

/// Ticks of a weight axis.
pub fn weight_ticks(scale: &Scale, about: usize) -> Vec<Tick> {
    scale
        .ticks(about)
        .into_iter()
        .map(|value| Tick {
            position: scale.position(value),
            label: number::weight_tick(value),
        })
        .collect()
}

/// Ticks of an axis of counts: whole numbers only.
pub fn count_ticks(scale: &Scale, about: usize) -> Vec<Tick> {
    let whole = scale
        .ticks(about)
        .into_iter()
        .filter(|value| value.fract() == 0.0);
    whole
        .map(|value| Tick {
            position: scale.position(value),
            label: number::short_count(value),
        })
        .collect()
}

/// A chart with two axes.
pub struct Frame<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What the chart shows.
    pub title: &'a str,
    /// What there is to see, for who cannot see it.
    pub description: &'a str,
    /// What the vertical axis counts.
    pub vertical: &'a str,
    /// What the horizontal axis counts.
    pub horizontal: &'a str,
    /// Ticks of the vertical axis.
    pub rows: &'a [Tick],
    /// Ticks of the horizontal axis.
    pub columns: &'a [Tick],
}

impl Frame<'_> {
    /// The chart with its marks, which lie on percentages of the plot.
    pub fn render(&self, marks: &Markup) -> Markup {
        html! {
            figure {
                figcaption { (self.title) }
                div.axis-name aria-hidden="true" { (self.vertical) }
                svg.plot role="img" aria-labelledby={ (self.id) "-title " (self.id) "-description" } {
                    title id={ (self.id) "-title" } { (self.title) }
                    desc id={ (self.id) "-description" } { (self.description) }
                    @for tick in self.rows {
                        @let height = percent(100.0 - tick.position);
                        line.grid x1="0" x2="100%" y1=(height) y2=(height) {}
                        text.tick x="-8" y=(height) dy=".32em" text-anchor="end" { (tick.label) }
                    }
                    @for (index, tick) in self.columns.iter().enumerate() {
                        @let position = percent(tick.position);
                        @let class = if index % 2 == 1 { "tick odd" } else { "tick" };
                        line.notch x1=(position) x2=(position) y1="100%" y2="100%" transform="translate(0 4)" {}
                        text class=(class) x=(position) y="100%" dy="1.5em" text-anchor="middle" { (tick.label) }
                    }
                    (marks)
                    line.base x1="0" x2="100%" y1="100%" y2="100%" {}
                }
                div.axis-name.below aria-hidden="true" { (self.horizontal) }
            }
        }
    }
}

/// A vertical line through a plot with its name above. Names on different `row`s do not collide.
pub fn marker(position: f64, name: &str, row: usize, class: &str) -> Markup {
    let at = percent(position);
    let (anchor, shift) = if position < 70.0 {
        ("start", 4)
    } else {
        ("end", -4)
    };
    let top = -6 - 16 * row as i32;
    html! {
        line class={ "marker " (class) } x1=(at) x2=(at) y1=(top - 8) y2="100%" {}
        text class={ "marker-name " (class) } x=(at) dx=(shift) y=(top) text-anchor=(anchor) { (name) }
    }
}

/// The axis in the head of a column of bars.
pub fn column_axis(scale: &Scale, ticks: &[Tick]) -> Markup {
    html! {
        svg.axis aria-hidden="true" {
            @for (index, tick) in ticks.iter().enumerate() {
                @let class = if index % 2 == 1 { "tick odd" } else { "tick" };
                text class=(class) x=(percent(tick.position)) y="70%" text-anchor="middle" { (tick.label) }
            }
            line.notch x1=(percent(scale.position(0.0))) x2=(percent(scale.position(0.0))) y1="85%" y2="100%" {}
        }
    }
}

/// A bar in a table cell, between two values; the figure stands beside it, so it is hidden from screen readers.
pub fn bar(scale: &Scale, from: f64, to: f64, class: &str, title: &str) -> Markup {
    cell(scale, &[], &mark(scale, from, to, class, title))
}

/// A table cell's plot: the zero line, grid lines where given, then marks.
pub fn cell(scale: &Scale, grid: &[Tick], marks: &Markup) -> Markup {
    let zero = percent(scale.position(0.0));
    html! {
        svg.bar aria-hidden="true" {
            @for tick in grid {
                line.grid x1=(percent(tick.position)) x2=(percent(tick.position)) y1="0" y2="100%" {}
            }
            line.zero x1=(zero) x2=(zero) y1="0" y2="100%" {}
            (marks)
        }
    }
}

/// The mark of [`bar`] alone.
pub fn mark(scale: &Scale, from: f64, to: f64, class: &str, title: &str) -> Markup {
    let (one, other) = (scale.position(from), scale.position(to));
    let width = (one - other).abs();
    let shown = if from == to {
        0.0
    } else {
        width.max(MIN_BAR_PERCENT)
    };
    let start = if to < from {
        one.max(other) - shown
    } else {
        one.min(other)
    };
    html! {
        rect class=(class) x=(percent(start)) width=(percent(shown)) y="50%" height="14" transform="translate(0 -7)" rx="2" { title { (title) } }
    }
}

/// Evidence for a match and evidence against it have a colour each.
pub fn evidence_class(weight: f64) -> &'static str {
    if weight < 0.0 { "against" } else { "for" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_and_tick() {
        let scale = Scale::new(-10.0, 30.0);
        assert_eq!(
            [-20.0, -10.0, 0.0, 30.0, f64::INFINITY, f64::NAN].map(|value| scale.position(value)),
            [0.0, 0.0, 25.0, 100.0, 100.0, 0.0]
        );
        assert_eq!(scale.ticks(4), [-10.0, 0.0, 10.0, 20.0, 30.0]);
        assert_eq!(
            [0.3, 1.0, 1.1, 4.0, 70.0].map(round_step),
            [0.5, 1.0, 2.0, 5.0, 100.0]
        );
    }

    #[test]
    fn a_scale_without_extent_is_one_unit() {
        for (low, high) in [
            (3.0, 3.0),
            (3.0, f64::NAN),
            (3.0, f64::INFINITY),
            (3.0, 2.0),
        ] {
            assert_eq!(Scale::new(low, high).position(3.5), 50.0);
        }
        assert!(Scale::new(f64::MIN, f64::MAX).ticks(5).is_empty());
    }
}
