//! The source registry: who sends, who answers for it, and what it may send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use regex::Regex;
use veridem_matchers::Attribute;
use veridem_matchers::normalise::normalise_date;

use crate::clock;
use crate::resolver::{Signal, SignalKind};
use crate::store::Tenant;

/// A source system.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Its name in signals.
    pub name: String,
    /// Whose source it is.
    pub tenant: Tenant,
    /// Who answers for it.
    pub owner: String,
    /// The brand that it serves; none: every brand, or there is but one.
    pub brand: Option<String>,
    /// Signals that it is expected to send a day; none: nobody knows.
    pub expected_per_day: Option<u64>,
    /// How long it may say nothing; none: as long as it likes.
    pub max_silence: Option<Duration>,
    /// A signal that comes so long after what it tells is late.
    pub max_delay: Duration,
    /// The share of its signals that are to come in time.
    pub service_level: f64,
    /// The attributes that it may state (`email`, `name`, `identifier.loyalty`); empty: any.
    pub attributes: BTreeSet<String>,
    /// The versions of its schema that are understood; empty: any.
    pub schema_versions: BTreeSet<String>,
    /// What its values must be.
    pub rules: Vec<ValueRule>,
}

impl SourceSettings {
    /// A source that may send anything.
    pub fn new(tenant: Tenant, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tenant,
            owner: String::new(),
            brand: None,
            expected_per_day: None,
            max_silence: None,
            max_delay: Duration::from_secs(3_600),
            service_level: 0.99,
            attributes: BTreeSet::new(),
            schema_versions: BTreeSet::new(),
            rules: Vec::new(),
        }
    }
}

/// What the values of an attribute must be.
#[derive(Clone, Debug, Default)]
pub struct ValueRule {
    /// The attribute or a part of it: `email`, `name.family`, `identifier.store`.
    pub attribute: String,
    /// Every signal but a deletion states it.
    pub required: bool,
    /// The whole value fits it.
    pub pattern: Option<Regex>,
    /// Not less than this: as numbers where both are numbers, as dates for `birth_date`, else as texts.
    pub min: Option<String>,
    /// Not more than this.
    pub max: Option<String>,
    /// One of these.
    pub reference: Option<BTreeSet<String>>,
}

/// What is shown of a source.
struct Source {
    settings: SourceSettings,
    signals: Counter,
    late: Counter,
    last_signal: Gauge,
    delay: Histogram,
}

/// All sources that are registered.
#[derive(Default)]
pub struct Registry {
    tenants: BTreeMap<Tenant, BTreeMap<String, Source>>,
}

impl Registry {
    /// A registry of these sources; where a tenant has none, any source may send anything.
    pub fn new(sources: Vec<SourceSettings>) -> Self {
        let mut registry = Self::default();
        for settings in sources {
            let labels = [
                ("tenant", settings.tenant.as_str().to_owned()),
                ("source", settings.name.clone()),
            ];
            // What is to be expected stands beside what comes, for alerts to compare.
            let expected = settings.expected_per_day.unwrap_or(0) as f64;
            metrics::gauge!("veridem_source_expected_signals_per_day", &labels).set(expected);
            let silence = settings.max_silence.unwrap_or_default().as_secs_f64();
            metrics::gauge!("veridem_source_max_silence_seconds", &labels).set(silence);
            let owned = [
                labels[0].clone(),
                labels[1].clone(),
                ("owner", settings.owner.clone()),
            ];
            metrics::gauge!("veridem_source_service_level", &owned).set(settings.service_level);
            let last_signal =
                metrics::gauge!("veridem_source_last_signal_timestamp_seconds", &labels);
            // One that says nothing from the start on is silent as well.
            last_signal.set((clock::now_ms() / 1_000) as f64);
            let of_tenant = registry.tenants.entry(settings.tenant.clone());
            of_tenant.or_default().insert(
                settings.name.clone(),
                Source {
                    signals: metrics::counter!("veridem_source_signals_total", &labels),
                    late: metrics::counter!("veridem_source_late_signals_total", &labels),
                    last_signal,
                    delay: metrics::histogram!("veridem_source_delay_seconds", &labels),
                    settings,
                },
            );
        }
        registry
    }

    /// The registered sources of a tenant, by name.
    pub fn sources(&self, tenant: &Tenant) -> impl Iterator<Item = &SourceSettings> {
        let of_tenant = self.tenants.get(tenant).into_iter();
        of_tenant.flat_map(|sources| sources.values().map(|source| &source.settings))
    }

    /// What is wrong with a signal, without its values; nothing where it may come in.
    pub fn check(&self, tenant: &Tenant, signal: &Signal, schema_version: &str) -> Vec<String> {
        let Some(sources) = self.tenants.get(tenant) else {
            return Vec::new();
        };
        let Some(source) = sources.get(&signal.source) else {
            return vec!["source: is not registered".to_owned()];
        };
        let now_ms = clock::now_ms();
        source.signals.increment(1);
        source.last_signal.set(now_ms as f64 / 1_000.0);
        let delay = (now_ms - signal.event_time_ms).max(0) as f64 / 1_000.0;
        source.delay.record(delay);
        let is_late = delay > source.settings.max_delay.as_secs_f64();
        source.late.increment(u64::from(is_late));
        let settings = &source.settings;
        let mut problems = Vec::new();
        if !settings.schema_versions.is_empty()
            && !settings.schema_versions.contains(schema_version)
        {
            problems.push("schema_version: is not among those that are understood".to_owned());
        }
        for attribute in &signal.attributes {
            let (kind, slot) = (attribute.kind(), attribute.slot());
            let may_state = |name: &str| settings.attributes.contains(name);
            // What a customer did is no attribute of who the customer is.
            let is_activity =
                matches!(attribute, Attribute::Custom(custom) if custom.is_activity());
            let is_agreed = is_activity || may_state(kind) || may_state(&slot);
            if !settings.attributes.is_empty() && !is_agreed {
                problems.push(format!("{slot}: may not come from this source"));
            }
        }
        if signal.kind != SignalKind::Delete {
            problems.extend(settings.rules.iter().filter_map(|rule| rule.check(signal)));
        }
        problems.sort();
        problems.dedup();
        problems
    }
}

impl ValueRule {
    fn check(&self, signal: &Signal) -> Option<String> {
        let values: Vec<&str> = signal
            .attributes
            .iter()
            .filter_map(|attribute| part(attribute, &self.attribute))
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .collect();
        let problem = if values.is_empty() {
            self.required.then_some("is missing")
        } else {
            values.iter().find_map(|value| self.problem_of(value))
        };
        problem.map(|problem| format!("{}: {problem}", self.attribute))
    }

    fn problem_of(&self, value: &str) -> Option<&'static str> {
        if self
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_match(value))
        {
            return Some("does not fit the pattern");
        }
        if self
            .reference
            .as_ref()
            .is_some_and(|known| !known.contains(value))
        {
            return Some("is not in the reference list");
        }
        let is_outside = |bound: &Option<String>, wrong: std::cmp::Ordering| {
            bound
                .as_ref()
                .is_some_and(|bound| self.compare(value, bound) == Some(wrong))
        };
        if is_outside(&self.min, std::cmp::Ordering::Less)
            || is_outside(&self.max, std::cmp::Ordering::Greater)
        {
            return Some("lies outside its range");
        }
        if self.attribute == "birth_date"
            && (self.min.is_some() || self.max.is_some())
            && date(value).is_none()
        {
            return Some("is no date");
        }
        None
    }

    fn compare(&self, value: &str, bound: &str) -> Option<std::cmp::Ordering> {
        if self.attribute == "birth_date" {
            return Some(date(value)?.cmp(&day(bound)?));
        }
        match (value.parse::<f64>(), bound.parse::<f64>()) {
            (Ok(value), Ok(bound)) => value.partial_cmp(&bound),
            _ => Some(value.cmp(bound)),
        }
    }
}

/// Year, month and day; 0 where one is not known.
fn date(text: &str) -> Option<(u16, u8, u8)> {
    normalise_date(text).map(|date| (date.year, date.month, date.day))
}

/// Of `1900-01-01`: a bound may be what no form fills in by itself.
pub(crate) fn day(text: &str) -> Option<(u16, u8, u8)> {
    let mut parts = text.splitn(3, '-');
    Some((
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    ))
}

/// The text of an attribute under a name such as `email`, `name.family` or `identifier.store`.
fn part<'a>(attribute: &'a Attribute, name: &str) -> Option<&'a str> {
    let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
    if attribute.kind() != kind {
        return None;
    }
    match attribute {
        Attribute::Name(name) => match rest {
            "given" => Some(&name.given),
            "middle" => Some(&name.middle),
            "family" => Some(&name.family),
            "suffix" => Some(&name.suffix),
            "full" => Some(&name.full),
            // Any part says that there is a name.
            _ => [&name.full, &name.family, &name.given]
                .into_iter()
                .find(|text| !text.is_empty())
                .map(String::as_str),
        },
        Attribute::Address(address) => match rest {
            "street" => Some(&address.street),
            "number" => Some(&address.number),
            "unit" => Some(&address.unit),
            "city" => Some(&address.city),
            "region" => Some(&address.region),
            "postcode" => Some(&address.postcode),
            "country" => Some(&address.country),
            _ => [&address.street, &address.postcode, &address.city]
                .into_iter()
                .find(|text| !text.is_empty())
                .map(String::as_str),
        },
        Attribute::Email(text)
        | Attribute::Phone(text)
        | Attribute::BirthDate(text)
        | Attribute::Gender(text) => Some(text),
        Attribute::Identifier(identifier) => {
            (identifier.scheme == rest).then_some(&identifier.value)
        }
        Attribute::Custom(custom) => (custom.name == rest).then_some(&custom.value),
    }
}

/// Whether a rule can name this attribute or part.
pub fn is_attribute(name: &str) -> bool {
    const PARTS: &[(&str, &[&str])] = &[
        ("name", &["given", "middle", "family", "suffix", "full"]),
        (
            "address",
            &[
                "street", "number", "unit", "city", "region", "postcode", "country",
            ],
        ),
    ];
    match name.split_once('.') {
        None => ["name", "email", "phone", "address", "birth_date", "gender"].contains(&name),
        Some(("identifier" | "custom", rest)) => !rest.is_empty(),
        Some((kind, rest)) => PARTS
            .iter()
            .any(|(known, parts)| *known == kind && parts.contains(&rest)),
    }
}

#[cfg(test)]
mod tests {
    use veridem_matchers::{Identifier, PersonName};

    use super::*;

    fn pos() -> SourceSettings {
        SourceSettings::new(Tenant::default(), "pos")
    }

    fn registry(settings: SourceSettings) -> Registry {
        Registry::new(vec![settings])
    }

    fn signal(attributes: Vec<Attribute>) -> Signal {
        Signal {
            signal_id: "s".to_owned(),
            source: "pos".to_owned(),
            record_id: "1".to_owned(),
            event_time_ms: 1,
            kind: SignalKind::Update,
            attributes,
        }
    }

    fn rule(attribute: &str) -> ValueRule {
        ValueRule {
            attribute: attribute.to_owned(),
            ..ValueRule::default()
        }
    }

    fn problems(rule: ValueRule, attributes: Vec<Attribute>) -> Vec<String> {
        let settings = SourceSettings {
            rules: vec![rule],
            ..pos()
        };
        registry(settings).check(&Tenant::default(), &signal(attributes), "")
    }

    #[test]
    fn without_a_registry_anyone_may_send_and_with_one_only_who_is_in_it() {
        assert!(
            Registry::default()
                .check(&Tenant::default(), &signal(Vec::new()), "")
                .is_empty()
        );
        let mut other = signal(Vec::new());
        other.source = "web".to_owned();
        assert_eq!(
            registry(pos()).check(&Tenant::default(), &other, ""),
            ["source: is not registered"]
        );
    }

    #[test]
    fn attributes_and_versions_that_are_not_agreed_are_told() {
        let settings = SourceSettings {
            attributes: ["email".to_owned(), "identifier.loyalty".to_owned()].into(),
            schema_versions: ["2".to_owned()].into(),
            ..pos()
        };
        let identifier = |scheme: &str| {
            Attribute::Identifier(Identifier {
                scheme: scheme.to_owned(),
                value: "1".to_owned(),
            })
        };
        let sent = signal(vec![
            Attribute::Email("a@b.org".to_owned()),
            identifier("loyalty"),
            identifier("card"),
        ]);
        let registry = registry(settings);
        assert_eq!(
            registry.check(&Tenant::default(), &sent, "2"),
            ["identifier.card: may not come from this source"]
        );
        assert_eq!(registry.check(&Tenant::default(), &sent, "3").len(), 2);
    }

    #[test]
    fn values_are_held_against_each_kind_of_rule() {
        let email = |text: &str| vec![Attribute::Email(text.to_owned())];
        let birth = |text: &str| vec![Attribute::BirthDate(text.to_owned())];
        let required = ValueRule {
            required: true,
            ..rule("name.family")
        };
        let name = |family: &str| {
            vec![Attribute::Name(PersonName {
                family: family.to_owned(),
                ..PersonName::default()
            })]
        };
        assert_eq!(
            problems(required.clone(), email("a@b.org")),
            ["name.family: is missing"]
        );
        assert_eq!(
            problems(required.clone(), name(" ")),
            ["name.family: is missing"]
        );
        assert!(problems(required, name("Lee")).is_empty());
        let pattern = ValueRule {
            pattern: Regex::new("^(?:[^@]+@[^@]+)$").ok(),
            ..rule("email")
        };
        assert_eq!(
            problems(pattern.clone(), email("nobody")),
            ["email: does not fit the pattern"]
        );
        assert!(problems(pattern, email("a@b.org")).is_empty());
        let range = ValueRule {
            min: Some("1900-01-01".to_owned()),
            max: Some("2020-12-31".to_owned()),
            ..rule("birth_date")
        };
        assert_eq!(
            problems(range.clone(), birth("1.1.1850")),
            ["birth_date: lies outside its range"]
        );
        assert_eq!(
            problems(range.clone(), birth("soon")),
            ["birth_date: is no date"]
        );
        assert!(problems(range.clone(), birth("1978-03-24")).is_empty());
        assert!(problems(range, birth("24 March 1978")).is_empty());
        let store = |value: &str| {
            vec![Attribute::Identifier(Identifier {
                scheme: "store".to_owned(),
                value: value.to_owned(),
            })]
        };
        let reference = ValueRule {
            reference: Some(["17".to_owned()].into()),
            min: Some("9".to_owned()),
            ..rule("identifier.store")
        };
        assert!(
            problems(reference.clone(), store("17")).is_empty(),
            "17 is more than 9 as a number"
        );
        assert_eq!(
            problems(reference, store("18")),
            ["identifier.store: is not in the reference list"]
        );
    }

    #[test]
    fn what_a_source_no_longer_has_needs_no_values() {
        let settings = SourceSettings {
            rules: vec![ValueRule {
                required: true,
                ..rule("email")
            }],
            ..pos()
        };
        let mut gone = signal(Vec::new());
        gone.kind = SignalKind::Delete;
        assert!(
            registry(settings)
                .check(&Tenant::default(), &gone, "")
                .is_empty()
        );
    }
}
