//! From pairs that people judged to precision and recall, with 95 % intervals.
//!
//! A sum over strata gets its interval from those of the shares (Wilson 1927) by the method of variance estimates recovery (Zou and
//! Donner, Construction of confidence limits about effect measures, Statistics in Medicine 2008); the ratio of what is missed to what is
//! found by the same method (Donner and Zou, Closed-form confidence intervals for functions of the normal mean and standard deviation,
//! Statistical Methods in Medical Research 2012). Where the number of pairs of a stratum is an estimate itself, its error counts as well.

/// The 97.5 % point of the standard normal distribution.
const Z: f64 = 1.96;

/// Judged pairs of one stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Pairs that there are.
    pub population: u64,
    /// The standard error of that, where it is an estimate; 0 where they were counted.
    pub population_error: f64,
    /// Pairs that were judged.
    pub judged: u64,
    /// Of those judged, the pairs that are one person.
    pub same: u64,
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Estimate {
    /// Nothing is known of a share.
    const UNKNOWN: Self = Self {
        value: f64::NAN,
        low: 0.0,
        high: 1.0,
    };
}

/// The 95 % interval of a share of which so many of so many were seen; all of it where none was. Wilson, Probable Inference, the Law of
/// Succession, and Statistical Inference (JASA 1927).
///
/// ```
/// let (low, high) = veridem_matchers::estimate::share_interval(9, 10);
/// assert!((low - 0.596).abs() < 0.001 && (high - 0.982).abs() < 0.001);
/// ```
pub fn share_interval(seen: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (count, share) = (of as f64, seen as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + Z * Z / count;
    ((middle - half) / scale, (middle + half) / scale)
}

/// Whether nothing was judged of pairs that there are.
fn is_unjudged(strata: &[Judged]) -> bool {
    let is_unjudged = |stratum: &Judged| stratum.population > 0 && stratum.judged == 0;
    strata.iter().any(is_unjudged)
}

/// How many pairs of some strata are one person.
fn same_of(strata: &[Judged]) -> Estimate {
    let (mut value, mut below, mut above) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let population = stratum.population as f64;
        let (low, high) = share_interval(stratum.same, stratum.judged);
        // Where nothing was judged all that is known is that the share is one.
        let share = match stratum.judged {
            0 => 0.5,
            judged => stratum.same as f64 / judged as f64,
        };
        value += population * share;
        // The variance of a product (Goodman, On the exact variance of products, JASA 1960), each end by its own distance.
        let error = Z * stratum.population_error;
        below += (population * (share - low)).powi(2) + (error * share).powi(2);
        above += (population * (high - share)).powi(2) + (error * high).powi(2);
    }
    Estimate {
        value,
        low: (value - below.sqrt()).max(0.0),
        high: value + above.sqrt(),
    }
}

/// The share of the pairs that were put together which are one person.
pub fn precision(together: &[Judged]) -> Estimate {
    let all: u64 = together.iter().map(|stratum| stratum.population).sum();
    if all == 0 || is_unjudged(together) {
        return Estimate::UNKNOWN;
    }
    let (same, all) = (same_of(together), all as f64);
    Estimate {
        value: same.value / all,
        low: same.low / all,
        high: (same.high / all).min(1.0),
    }
}

/// The share of the pairs that are one person which were put together.
pub fn recall(together: &[Judged], apart: &[Judged]) -> Estimate {
    if is_unjudged(together) || is_unjudged(apart) {
        return Estimate::UNKNOWN;
    }
    let (found, missed) = (same_of(together), same_of(apart));
    if found.value <= 0.0 {
        return Estimate::UNKNOWN;
    }
    let ratio = ratio(missed, found);
    // Recall falls as the ratio of missed to found rises.
    Estimate {
        value: 1.0 / (1.0 + ratio.value),
        low: 1.0 / (1.0 + ratio.high),
        high: 1.0 / (1.0 + ratio.low),
    }
}

/// One estimate over another that is above 0.
fn ratio(over: Estimate, under: Estimate) -> Estimate {
    let product = over.value * under.value;
    let root = |over_end: f64, under_end: f64| {
        let spread =
            over_end * under_end * (2.0 * over.value - over_end) * (2.0 * under.value - under_end);
        (product * product - spread).max(0.0).sqrt()
    };
    let low =
        (product - root(over.low, under.high)) / (under.high * (2.0 * under.value - under.high));
    let high =
        (product + root(over.high, under.low)) / (under.low * (2.0 * under.value - under.low));
    let is_bounded = |divisor: f64| divisor > 0.0;
    Estimate {
        value: over.value / under.value,
        low: match is_bounded(under.high * (2.0 * under.value - under.high)) {
            true => low.max(0.0),
            false => 0.0,
        },
        high: match is_bounded(under.low * (2.0 * under.value - under.low)) {
            true => high,
            false => f64::INFINITY,
        },
    }
}

/// How far two judges agree beyond chance: Cohen's kappa (A coefficient of agreement for nominal scales, 1960). None where nothing was
/// judged twice, or where chance alone would agree on all.
pub fn kappa(twice: &[(bool, bool)]) -> Option<f64> {
    let all = twice.len() as f64;
    let share = |count: usize| count as f64 / all;
    let agreed = share(twice.iter().filter(|(one, other)| one == other).count());
    let one = share(twice.iter().filter(|(one, _)| *one).count());
    let other = share(twice.iter().filter(|(_, other)| *other).count());
    let by_chance = one * other + (1.0 - one) * (1.0 - other);
    (!twice.is_empty() && by_chance < 1.0).then(|| (agreed - by_chance) / (1.0 - by_chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(population: u64, judged: u64, same: u64) -> Judged {
        Judged {
            population,
            population_error: 0.0,
            judged,
            same,
        }
    }

    #[test]
    fn strata_count_by_what_they_stand_for() {
        let together = [judged(900, 90, 90), judged(100, 50, 25)];
        let precision = precision(&together);
        assert!((precision.value - 0.95).abs() < 1e-9, "{precision:?}");
        assert!(precision.low < 0.95 && precision.high > 0.95 && precision.high <= 1.0);
        let recall = recall(&together, &[judged(1_000, 100, 5)]);
        assert!(
            (recall.value - 0.95).abs() < 1e-9,
            "950 found, 50 missed: {recall:?}"
        );
    }

    #[test]
    fn nothing_is_said_of_what_nobody_judged() {
        assert!(precision(&[judged(10, 0, 0)]).value.is_nan());
        let unjudged = [judged(10, 5, 5), judged(1, 0, 0)];
        assert!(precision(&unjudged).value.is_nan());
        assert!(recall(&[judged(10, 5, 5)], &unjudged).value.is_nan());
        let none_found = Judged {
            population_error: 3.0,
            ..judged(0, 0, 0)
        };
        let recall_of = recall(&[judged(10, 10, 10)], &[none_found]);
        assert!(
            recall_of.value == 1.0 && recall_of.low < 0.7,
            "{recall_of:?}"
        );
        assert!(
            recall(&[judged(10, 5, 5)], &[judged(10, 0, 0)])
                .value
                .is_nan()
        );
        assert!(
            recall(&[judged(10, 5, 0)], &[judged(10, 5, 5)])
                .value
                .is_nan()
        );
        assert_eq!(kappa(&[]), None);
        assert_eq!(kappa(&[(true, true)]), None);
        assert_eq!(kappa(&[(true, true), (false, false)]), Some(1.0));
        assert_eq!(
            kappa(&[(true, false), (true, true), (false, true), (false, false)]),
            Some(0.0)
        );
    }

    /// Of 1,000 samples of populations whose precision and recall are known, the intervals hold the truth 95 times in 100, or nearly.
    #[test]
    fn the_intervals_hold_what_is_true() {
        // SplitMix64 (Steele, Lea and Flood 2014): the same draws on every machine.
        let mut state = 41_u64;
        let mut random = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / 2_f64.powi(53)
        };
        let strata = [
            (60_000, 200, 0.998),
            (6_000, 200, 0.9),
            (20_000, 200, 0.15),
            (400_000, 200, 0.002),
        ];
        let of = |population: u64, share: f64| population as f64 * share;
        let found = of(60_000, 0.998) + of(6_000, 0.9);
        let missed = of(20_000, 0.15) + of(400_000, 0.002);
        let (true_precision, true_recall) = (found / 66_000.0, found / (found + missed));
        // The last is estimated from 600 records: sums of 12 uniform draws are nearly normal.
        let error = 40_000.0;
        let (mut precise, mut recalled) = (0, 0);
        for _ in 0..1_000 {
            let mut drawn = strata.map(|(population, judged, share)| {
                let same = (0..judged).filter(|_| random() < share).count() as u64;
                Judged {
                    population,
                    population_error: 0.0,
                    judged,
                    same,
                }
            });
            let normal = (0..12).map(|_| random()).sum::<f64>() - 6.0;
            drawn[3].population = (400_000.0 + error * normal) as u64;
            drawn[3].population_error = error;
            let holds = |estimate: Estimate, truth: f64| {
                usize::from(estimate.low <= truth && truth <= estimate.high)
            };
            precise += holds(precision(&drawn[..2]), true_precision);
            recalled += holds(recall(&drawn[..2], &drawn[2..]), true_recall);
        }
        assert!(precise >= 930, "{precise} of 1,000");
        assert!(recalled >= 930, "{recalled} of 1,000");
    }
}
