//! A model that Splink has trained (the settings file that `save_model_to_json` writes, Splink 3 to 5) as a model of
//! Veridem.
//!
//! The two have different levels. Which level of Splink the pairs of a level of Veridem fall into, an example pair
//! tells: it is put to Splink's conditions in their order. The m and u of a level of Splink are then shared out among
//! the levels of Veridem in it, m in the proportion of the shipped model's m and u in that of its u, so that their
//! sums stay Splink's. Sharing both alike would give each level the very weight of Splink's; it was tried and is worse
//! on two of three sets, since Splink's "all other comparisons" hold nicknames, initials and equal postcodes too.
//!
//! Where a comparison of Splink looks at several attributes (given and family name), the same is done with all
//! combinations of their levels, and each attribute gets what it has on the margin.

mod condition;
mod date;
mod example;
mod tokens;

pub use example::ComparedValue;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::{ComparisonModel, LevelParameters, MAX_COMPARISONS, MODEL_FORMAT_VERSION, Model};
use crate::compare::Comparison;
use condition::{Condition, Side};
use example::{ExamplePair, example_pairs};

/// What Splink takes for m or u of a level that is said to have been met by no training.
const NOT_OBSERVED: f64 = 1e-6;
/// A probability stays at least this far from 0 and 1, as after training.
const MARGIN: f64 = 1e-9;
/// Combinations of levels that one comparison of Splink may span: names and an address have 320.
const MAX_CELLS: usize = 4_096;

/// Why a file of Splink is refused.
#[derive(Debug, thiserror::Error)]
pub enum SplinkImportError {
    /// Not a settings file: the text names line and column.
    #[error("not a model that Splink saved: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A part without which there is no model.
    #[error("not a model that Splink saved: it has no \"{0}\"")]
    Missing(&'static str),
    /// A comparison whose m or u was never estimated.
    #[error(
        "comparison {comparison}, level \"{level}\": no level of the comparison has a {parameter}; \
         train the model in Splink and save it again"
    )]
    Untrained {
        /// The comparison.
        comparison: String,
        /// Its first level.
        level: String,
        /// `m_probability` or `u_probability`.
        parameter: &'static str,
    },
    /// A value that is no probability.
    #[error("{place}: {parameter} is {value}, it must lie between 0 and 1")]
    NoProbability {
        /// Comparison and level.
        place: String,
        /// Which value.
        parameter: &'static str,
        /// What the file says.
        value: f64,
    },
    /// Nothing in it is of use.
    #[error(
        "no comparison can be taken over: {}",
        .0.iter().map(SplinkNote::to_string).collect::<Vec<_>>().join("; ")
    )]
    NothingTakenOver(Vec<SplinkNote>),
}

/// What became of a part of Splink's model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplinkNote {
    /// The part: most often a comparison by its output column.
    pub part: String,
    /// What became of it.
    pub text: String,
}

impl fmt::Display for SplinkNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.part, self.text)
    }
}

/// A model of Splink as one of Veridem.
#[derive(Clone, Debug)]
pub struct SplinkImport {
    /// The model. It knows no households, since Splink does not, and no term frequencies, since Splink does not save
    /// them.
    pub model: Model,
    /// Comparisons of Splink and the comparisons of Veridem that they became.
    pub taken_over: Vec<SplinkNote>,
    /// What was left, and why.
    pub not_taken_over: Vec<SplinkNote>,
    /// Comparisons that Splink adjusts by term frequencies. It does not save these; `train::count_term_frequencies`
    /// counts them.
    pub adjusted_by_term_frequency: Vec<Comparison>,
}

/// Only what is needed here; Splink's versions differ in the rest.
#[derive(Deserialize)]
struct Settings {
    probability_two_random_records_match: Option<f64>,
    comparisons: Option<Vec<SplinkComparison>>,
    #[serde(default)]
    blocking_rules_to_generate_predictions: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct SplinkComparison {
    output_column_name: Option<String>,
    #[serde(default)]
    comparison_levels: Vec<SplinkLevel>,
}

#[derive(Deserialize)]
struct SplinkLevel {
    #[serde(default)]
    sql_condition: String,
    label_for_charts: Option<String>,
    #[serde(default)]
    is_null_level: bool,
    m_probability: Option<Estimate>,
    u_probability: Option<Estimate>,
    tf_adjustment_column: Option<String>,
}

impl SplinkLevel {
    fn label(&self) -> &str {
        self.label_for_charts
            .as_deref()
            .unwrap_or(self.sql_condition.trim())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Estimate {
    Known(f64),
    /// "level not observed in training dataset".
    NotObserved(#[expect(dead_code, reason = "tells the text from other values")] String),
}

/// A comparison of Splink that was understood.
struct Reading {
    name: String,
    levels: Vec<ReadLevel>,
    /// What the columns of its conditions hold.
    columns: BTreeMap<String, ComparedValue>,
    /// The comparisons of Veridem that compare the same.
    subjects: Vec<Comparison>,
    /// The comparisons that Splink adjusts by term frequencies.
    adjusted: BTreeSet<Comparison>,
}

/// A comparison of Veridem that has its parameters.
struct Taken {
    /// The comparison of Splink that it has them from.
    from: String,
    is_adjusted: bool,
    model: ComparisonModel,
}

struct ReadLevel {
    label: String,
    condition: Result<Condition, String>,
    m: f64,
    u: f64,
}

/// Reads a model that Splink saved. `recognise` tells what a column holds, `None` for what is not compared.
pub fn import_splink(
    json: &str,
    recognise: &dyn Fn(&str) -> Option<ComparedValue>,
) -> Result<SplinkImport, SplinkImportError> {
    let settings: Settings = serde_json::from_str(json)?;
    let comparisons = settings
        .comparisons
        .filter(|comparisons| !comparisons.is_empty())
        .ok_or(SplinkImportError::Missing("comparisons"))?;
    let prior = settings
        .probability_two_random_records_match
        .ok_or(SplinkImportError::Missing(
            "probability_two_random_records_match",
        ))?;
    let prior = probability(prior, "probability_two_random_records_match", &|| {
        "the model".to_owned()
    })?;
    let mut notes = Notes::default();
    let mut readings = Vec::new();
    for (index, comparison) in comparisons.iter().enumerate() {
        readings.extend(read(comparison, index, recognise, &mut notes)?);
    }
    // Two comparisons of Splink may look at one attribute: at postcode and city, which for Veridem are one address. It
    // counts once: as the comparison has it that looks at the fewest attributes and, of these, tells most.
    readings.sort_by(|one, other| {
        let attributes = one.subjects.len().cmp(&other.subjects.len());
        attributes.then(information(&other.levels).total_cmp(&information(&one.levels)))
    });
    let mut taken: BTreeMap<Comparison, Taken> = BTreeMap::new();
    let shipped = Model::retail();
    for reading in readings {
        take_over(&reading, &shipped, &mut taken, &mut notes);
    }
    let blocking_rules = settings.blocking_rules_to_generate_predictions.len();
    if blocking_rules > 0 {
        let text = format!("{blocking_rules} of Splink; Veridem blocks by the rules of its pack");
        notes.not_taken_over("blocking rules", text);
    }
    if taken.is_empty() {
        return Err(SplinkImportError::NothingTakenOver(notes.not_taken_over));
    }
    let adjusted = taken.iter().filter(|(_, taken)| taken.is_adjusted);
    let adjusted = adjusted.map(|(comparison, _)| comparison.clone()).collect();
    Ok(SplinkImport {
        model: Model {
            format_version: MODEL_FORMAT_VERSION,
            trained_on_records: 0,
            prior,
            household_prior: 0.0,
            comparisons: taken.into_values().map(|taken| taken.model).collect(),
        },
        taken_over: notes.taken_over,
        not_taken_over: notes.not_taken_over,
        adjusted_by_term_frequency: adjusted,
    })
}

#[derive(Default)]
struct Notes {
    taken_over: Vec<SplinkNote>,
    not_taken_over: Vec<SplinkNote>,
}

impl Notes {
    fn not_taken_over(&mut self, part: &str, text: impl Into<String>) {
        self.not_taken_over.push(SplinkNote {
            part: part.to_owned(),
            text: text.into(),
        });
    }
}

fn probability(
    value: f64,
    parameter: &'static str,
    place: &dyn Fn() -> String,
) -> Result<f64, SplinkImportError> {
    if !(0.0..=1.0).contains(&value) {
        return Err(SplinkImportError::NoProbability {
            place: place(),
            parameter,
            value,
        });
    }
    Ok(value.clamp(MARGIN, 1.0 - MARGIN))
}

/// How much a comparison tells of matches: the weight that they have on average.
fn information(levels: &[ReadLevel]) -> f64 {
    levels
        .iter()
        .map(|level| level.m * (level.m / level.u).log2())
        .sum()
}

/// Reads a comparison; `None`, with a note, for one that Veridem has nothing like.
fn read(
    comparison: &SplinkComparison,
    index: usize,
    recognise: &dyn Fn(&str) -> Option<ComparedValue>,
    notes: &mut Notes,
) -> Result<Option<Reading>, SplinkImportError> {
    let name = comparison
        .output_column_name
        .clone()
        .unwrap_or_else(|| format!("number {}", index + 1));
    // A missing value weighs 0 in both.
    let levels: Vec<&SplinkLevel> = comparison
        .comparison_levels
        .iter()
        .filter(|level| !level.is_null_level)
        .collect();
    if levels.len() < 2 {
        notes.not_taken_over(&name, "it has no two levels beside that of missing values");
        return Ok(None);
    }
    let m = estimates(&name, &levels, &M, notes)?;
    let u = estimates(&name, &levels, &U, notes)?;
    let read_levels: Vec<ReadLevel> = levels
        .iter()
        .zip(m.into_iter().zip(u))
        .map(|(level, (m, u))| ReadLevel {
            label: level.label().to_owned(),
            condition: Condition::parse(&level.sql_condition),
            m,
            u,
        })
        .collect();
    let conditions = read_levels
        .iter()
        .filter_map(|level| level.condition.as_ref().ok());
    let columns: BTreeMap<String, ComparedValue> = conditions
        .flat_map(Condition::columns)
        .filter_map(|column| Some((column.to_owned(), recognise(column)?)))
        .collect();
    let subjects = subjects(&name, &columns);
    if subjects.is_empty() {
        notes.not_taken_over(&name, "Veridem compares none of its columns");
        return Ok(None);
    }
    let adjusted = levels
        .iter()
        .filter_map(|level| recognise(level.tf_adjustment_column.as_deref()?))
        .flat_map(|value| value.comparisons())
        .collect();
    Ok(Some(Reading {
        name,
        levels: read_levels,
        columns,
        subjects,
        adjusted,
    }))
}

/// m or u: how it is found in a level, and what Splink takes for the level of an index, of so many levels, without.
struct Parameter {
    name: &'static str,
    of: fn(&SplinkLevel) -> &Option<Estimate>,
    default: fn(usize, usize) -> f64,
}

const M: Parameter = Parameter {
    name: "m_probability",
    of: |level| &level.m_probability,
    default: default_m,
};
const U: Parameter = Parameter {
    name: "u_probability",
    of: |level| &level.u_probability,
    default: |index, levels| default_m(index, levels) / default_weight(index, levels).exp2(),
};

fn default_m(index: usize, levels: usize) -> f64 {
    if index == 0 {
        0.95
    } else {
        0.05 / (levels - 1) as f64
    }
}

/// 10 for the first level, the others evenly from 3 down to -5.
fn default_weight(index: usize, levels: usize) -> f64 {
    match index {
        0 => 10.0,
        _ if index + 1 == levels => -5.0,
        _ => 3.0 - 8.0 * (index - 1) as f64 / (levels - 2) as f64,
    }
}

/// The m or u of each level. Splink saves none for a level that training did not meet, so a level without is not
/// forgotten as long as others have theirs; it gets what Splink takes when it loads the file.
fn estimates(
    comparison: &str,
    levels: &[&SplinkLevel],
    parameter: &Parameter,
    notes: &mut Notes,
) -> Result<Vec<f64>, SplinkImportError> {
    if levels.iter().all(|level| (parameter.of)(level).is_none()) {
        return Err(SplinkImportError::Untrained {
            comparison: comparison.to_owned(),
            level: levels[0].label().to_owned(),
            parameter: parameter.name,
        });
    }
    let mut estimates = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let stands_in = match (parameter.of)(level) {
            Some(Estimate::Known(value)) => {
                let place = || format!("comparison {comparison}, level \"{}\"", level.label());
                estimates.push(probability(*value, parameter.name, &place)?);
                continue;
            }
            Some(Estimate::NotObserved(_)) => NOT_OBSERVED,
            None => (parameter.default)(index, levels.len()),
        };
        let text = format!(
            "level \"{}\" has no {}, training did not meet it; {stands_in:.6} is taken, as by Splink",
            level.label(),
            parameter.name
        );
        notes.not_taken_over(comparison, text);
        estimates.push(stands_in);
    }
    Ok(estimates)
}

/// The comparisons of Veridem that a comparison of Splink is about: that of the column it is named after, since
/// conditions on the given name ask for the family name too where the two may be swapped; else those of all its
/// columns. Custom attributes beside others are mostly made of them (name parts, nicknames).
fn subjects(name: &str, columns: &BTreeMap<String, ComparedValue>) -> Vec<Comparison> {
    let is_named = |column: &&String| column.eq_ignore_ascii_case(name);
    let named = columns.keys().find(is_named);
    if let Some(value) = named.and_then(|column| columns.get(column)) {
        return value.comparisons();
    }
    let all: BTreeSet<Comparison> = columns
        .values()
        .flat_map(ComparedValue::comparisons)
        .collect();
    let (customs, others): (Vec<Comparison>, Vec<Comparison>) = all
        .into_iter()
        .partition(|comparison| matches!(comparison, Comparison::Custom(_)));
    if others.is_empty() { customs } else { others }
}

/// m and u of a level.
type Parameters = (f64, f64);

fn take_over(
    reading: &Reading,
    shipped: &Model,
    taken: &mut BTreeMap<Comparison, Taken>,
    notes: &mut Notes,
) {
    for subject in &reading.subjects {
        if let Some(other) = taken.get(subject) {
            let text = format!(
                "Veridem compares {subject} once, and {} tells it",
                other.from
            );
            notes.not_taken_over(&reading.name, text);
        }
    }
    if reading
        .subjects
        .iter()
        .all(|subject| taken.contains_key(subject))
    {
        return;
    }
    let margins = match share_out(reading, shipped, notes) {
        Ok(margins) => margins,
        Err(reason) => return notes.not_taken_over(&reading.name, reason),
    };
    let mut became = Vec::new();
    for (subject, margin) in reading.subjects.iter().zip(margins) {
        if taken.contains_key(subject) {
            continue;
        }
        if taken.len() == MAX_COMPARISONS {
            let text = format!("a model has at most {MAX_COMPARISONS} comparisons");
            notes.not_taken_over(&reading.name, text);
        } else {
            became.push(subject.to_string());
            let own = Taken {
                from: reading.name.clone(),
                is_adjusted: reading.adjusted.contains(subject),
                model: comparison_model(subject, &margin),
            };
            taken.insert(subject.clone(), own);
        }
    }
    if !became.is_empty() {
        let several = reading.subjects.len() > 1;
        let split = if several { ", each by itself" } else { "" };
        notes.taken_over.push(SplinkNote {
            part: reading.name.clone(),
            text: format!("{}{split}", became.join(" and ")),
        });
    }
}

fn comparison_model(comparison: &Comparison, margin: &[Parameters]) -> ComparisonModel {
    let levels = comparison.levels().iter().zip(margin);
    let levels = levels.map(|(level, (m, u))| LevelParameters {
        level: (*level).to_owned(),
        m: m.min(1.0 - MARGIN),
        // Without households nothing reads it; their prior of 0 says so.
        household: u.min(1.0 - MARGIN),
        u: u.min(1.0 - MARGIN),
        term_frequency: None,
    });
    ComparisonModel {
        comparison: comparison.clone(),
        levels: levels.collect(),
        term_frequencies: None,
    }
}

/// m and u of the levels of each subject; an error says why there are none.
fn share_out(
    reading: &Reading,
    shipped: &Model,
    notes: &mut Notes,
) -> Result<Vec<Vec<Parameters>>, String> {
    let examples: Vec<Vec<ExamplePair>> = reading.subjects.iter().map(example_pairs).collect();
    let sizes: Vec<usize> = examples.iter().map(Vec::len).collect();
    let count: usize = sizes
        .iter()
        .try_fold(1_usize, |count, size| count.checked_mul(*size))
        .filter(|count| *count <= MAX_CELLS)
        .ok_or("it looks at too many attributes at once")?;
    let shipped: Vec<Vec<Parameters>> = reading
        .subjects
        .iter()
        .map(|subject| shipped_parameters(shipped, subject))
        .collect();

    // A cell is one level of each subject; the last subject's changes fastest.
    let cell_levels = |cell: usize| -> Vec<usize> {
        let mut rest = cell;
        let mut levels: Vec<usize> = sizes
            .iter()
            .rev()
            .map(|size| {
                let level = rest % size;
                rest /= size;
                level
            })
            .collect();
        levels.reverse();
        levels
    };
    let mut not_understood = BTreeMap::new();
    let fallen: Vec<usize> = (0..count)
        .map(|cell| {
            let levels = cell_levels(cell);
            let pairs = examples
                .iter()
                .zip(levels)
                .map(|(pairs, level)| &pairs[level]);
            level_of(reading, &values_of(pairs), &mut not_understood)
        })
        .collect();
    for (level, reason) in not_understood {
        let label = &reading.levels[level].label;
        let text = format!("level \"{label}\" is not told apart from the next: {reason}");
        notes.not_taken_over(&reading.name, text);
    }
    let groups = groups(reading, &fallen.iter().copied().collect(), notes)?;

    let joint = |cell: usize| {
        let parameters = shipped
            .iter()
            .zip(cell_levels(cell))
            .map(|(of, level)| of[level]);
        parameters.fold((1.0, 1.0), |product, of| {
            (product.0 * of.0, product.1 * of.1)
        })
    };
    let mut totals = vec![(0.0, 0.0); reading.levels.len()];
    for (cell, level) in fallen.iter().enumerate() {
        let (m, u) = joint(cell);
        totals[*level].0 += m;
        totals[*level].1 += u;
    }
    let mut margins: Vec<Vec<Parameters>> =
        sizes.iter().map(|size| vec![(0.0, 0.0); *size]).collect();
    for (cell, level) in fallen.iter().enumerate() {
        let (m, u) = joint(cell);
        let (m, u) = (
            groups[*level].0 * m / totals[*level].0,
            groups[*level].1 * u / totals[*level].1,
        );
        for (margin, own) in margins.iter_mut().zip(cell_levels(cell)) {
            margin[own].0 += m;
            margin[own].1 += u;
        }
    }
    Ok(margins)
}

/// What the shipped model has for a comparison; for what it does not know, what it has for the most similar one.
fn shipped_parameters(shipped: &Model, comparison: &Comparison) -> Vec<Parameters> {
    let loyalty = Comparison::Identifier("loyalty".to_owned());
    let like = match comparison {
        Comparison::Identifier(_) => &loyalty,
        Comparison::Custom(_) => &Comparison::FamilyName,
        other => other,
    };
    let known = shipped.comparisons.iter();
    let known = known.filter(|known| known.comparison == *like);
    let levels: Vec<&LevelParameters> = known.flat_map(|known| &known.levels).collect();
    // The shipped model has no gender; equal parts do for two levels.
    let of_name = |name: &&str| {
        let level = levels.iter().find(|level| level.level == **name);
        level.map_or((1.0, 1.0), |level| (level.m, level.u))
    };
    comparison.levels().iter().map(of_name).collect()
}

/// The values of example pairs together. Where two speak of one attribute the earlier is heard: the given name's
/// example of swapped names holds the family names too.
fn values_of<'a>(
    pairs: impl DoubleEndedIterator<Item = &'a ExamplePair>,
) -> BTreeMap<&'a ComparedValue, (&'static str, &'static str)> {
    pairs
        .rev()
        .flatten()
        .map(|(value, left, right)| (value, (*left, *right)))
        .collect()
}

/// The level of Splink that an example falls into; `not_understood` gets the levels that cannot be asked.
fn level_of(
    reading: &Reading,
    values: &BTreeMap<&ComparedValue, (&'static str, &'static str)>,
    not_understood: &mut BTreeMap<usize, String>,
) -> usize {
    let of_side = |value: &ComparedValue, side: Side| {
        let (left, right) = values.get(value)?;
        Some(match side {
            Side::Left => *left,
            Side::Right => *right,
        })
    };
    let number_apart = reading
        .columns
        .values()
        .any(|value| *value == ComparedValue::StreetNumber);
    let answer = |column: &str, side: Side| -> Option<String> {
        let value = reading.columns.get(column)?;
        let joined = |first: &ComparedValue, second: &ComparedValue| {
            Some(format!(
                "{} {}",
                of_side(first, side)?,
                of_side(second, side)?
            ))
        };
        match value {
            ComparedValue::FullName => {
                joined(&ComparedValue::GivenName, &ComparedValue::FamilyName)
            }
            ComparedValue::Street if !number_apart => {
                joined(&ComparedValue::StreetNumber, &ComparedValue::Street)
            }
            // Nobody knows what people put into columns of their own; anything else is missing where the example has
            // none.
            ComparedValue::Custom(_) => of_side(value, side).map(str::to_owned),
            other => Some(of_side(other, side).unwrap_or_default().to_owned()),
        }
    };
    for (index, level) in reading.levels.iter().enumerate() {
        let holds = match &level.condition {
            Ok(condition) => condition.holds(&answer),
            Err(reason) => Err(reason.clone()),
        };
        match holds {
            Ok(true) => return index,
            Ok(false) => {}
            Err(reason) => drop(not_understood.insert(index, reason)),
        }
    }
    reading.levels.len() - 1
}

/// m and u of each of Splink's levels, with those of the levels that no level of Veridem falls into: the pairs of such
/// a level are a weaker level for Veridem, so the next weaker one has them. Pairs with a missing value are in none.
fn groups(
    reading: &Reading,
    reached: &BTreeSet<usize>,
    notes: &mut Notes,
) -> Result<Vec<Parameters>, String> {
    if reached.len() < 2 {
        return Err("its conditions do not tell the levels of Veridem apart".to_owned());
    }
    let mut groups = vec![(0.0, 0.0); reading.levels.len()];
    for (index, level) in reading.levels.iter().enumerate() {
        let asks_for_missing = level
            .condition
            .as_ref()
            .is_ok_and(Condition::asks_for_missing);
        if asks_for_missing && !reached.contains(&index) {
            let label = &level.label;
            let text = format!("level \"{label}\" is left out: a missing value says nothing here");
            notes.not_taken_over(&reading.name, text);
            continue;
        }
        let weaker = reached.range(index..).next();
        let Some(&group) = weaker.or_else(|| reached.last()) else {
            continue;
        };
        groups[group].0 += level.m;
        groups[group].1 += level.u;
        if group != index {
            let with = &reading.levels[group].label;
            let text = format!("level \"{}\" is counted with \"{with}\"", level.label);
            notes.not_taken_over(&reading.name, text);
        }
    }
    Ok(groups)
}
