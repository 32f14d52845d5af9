//! `[[sources]]`: the source registry.

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex::Regex;
use serde::Deserialize;

use super::Mistakes;
use crate::intake::{SourceSettings, ValueRule, day, is_attribute};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenSource {
    name: String,
    tenant: Option<String>,
    #[serde(default)]
    owner: String,
    brand: Option<String>,
    expected_per_day: Option<u64>,
    max_silence: Option<String>,
    max_delay: Option<String>,
    service_level: Option<f64>,
    #[serde(default)]
    attributes: BTreeSet<String>,
    #[serde(default)]
    schema_versions: BTreeSet<String>,
    #[serde(default)]
    rules: Vec<WrittenRule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    attribute: String,
    #[serde(default)]
    required: bool,
    pattern: Option<String>,
    min: Option<String>,
    max: Option<String>,
    reference_file: Option<PathBuf>,
}

impl Mistakes {
    pub(super) fn source(&mut self, index: usize, written: WrittenSource) -> SourceSettings {
        let place = format!("sources[{index}]");
        let tenant = (written.tenant)
            .and_then(|tenant| self.tenant(&format!("{place}.tenant"), tenant))
            .unwrap_or_default();
        let max_silence = self.duration(written.max_silence, &format!("{place}.max_silence"), "2h");
        let max_delay = self.duration(written.max_delay, &format!("{place}.max_delay"), "1h");
        let defaults = SourceSettings::new(tenant, written.name);
        // A whole kind may be named here as well: every identifier, every custom attribute.
        let is_kind = |name: &str| ["identifier", "custom"].contains(&name);
        for attribute in &written.attributes {
            if !is_kind(attribute) && !is_attribute(attribute) {
                self.add(
                    format!("{place}.attributes"),
                    format!("\"{attribute}\" is no attribute; use for example \"email\" or \"identifier.loyalty\""),
                );
            }
        }
        let rules = written.rules.into_iter().enumerate();
        let rules = rules.map(|(index, rule)| self.rule(&format!("{place}.rules[{index}]"), rule));
        let rules = rules.collect();
        SourceSettings {
            owner: written.owner,
            brand: written.brand,
            expected_per_day: written.expected_per_day,
            max_silence,
            max_delay: max_delay.unwrap_or(defaults.max_delay),
            service_level: self
                .service_level(&place, written.service_level)
                .unwrap_or(defaults.service_level),
            attributes: written.attributes,
            schema_versions: written.schema_versions,
            rules,
            ..defaults
        }
    }

    /// A share of what is to go well, below which there are alerts.
    pub(super) fn service_level(&mut self, place: &str, written: Option<f64>) -> Option<f64> {
        if written.is_some_and(|level| !(0.0..1.0).contains(&level)) {
            self.add(
                format!("{place}.service_level"),
                "must be at least 0 and below 1, as 0.99",
            );
        }
        written
    }

    fn rule(&mut self, place: &str, written: WrittenRule) -> ValueRule {
        if !is_attribute(&written.attribute) {
            self.add(
                format!("{place}.attribute"),
                format!("\"{}\" is no attribute; use for example \"name.family\" or \"identifier.store\"", written.attribute),
            );
        }
        for (field, bound) in [("min", &written.min), ("max", &written.max)] {
            let is_day = |bound: &String| day(bound).is_some();
            if written.attribute == "birth_date" && !bound.as_ref().is_none_or(is_day) {
                self.add(
                    format!("{place}.{field}"),
                    "is no day; write it as 1900-12-31",
                );
            }
        }
        // The whole value has to fit.
        let pattern = written.pattern.and_then(|text| {
            Regex::new(&format!("^(?:{text})$"))
                .map_err(|cause| self.add(format!("{place}.pattern"), cause))
                .ok()
        });
        let reference = self.read(
            written.reference_file,
            &format!("{place}.reference_file"),
            |text| {
                let values = text.lines().map(str::trim).filter(|line| !line.is_empty());
                Ok(values.map(str::to_owned).collect())
            },
        );
        ValueRule {
            attribute: written.attribute,
            required: written.required,
            pattern,
            min: written.min,
            max: written.max,
            reference,
        }
    }
}
