//! Mappings: what a consumer calls the things that an event says. Either a table of fields, which shapes the data of a CloudEvent, or a
//! file of requests in the consumer's own API (`shipped/`). Values are minijinja expressions over the event; what the event does not
//! have becomes null.

mod context;
mod fields;
mod filters;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};

pub use context::samples;
use fields::Fields;
pub use requests::MappedRequest;
use requests::Requests;

/// A step of a template may not take longer than this many instructions: a mapping is data, and must come to an end.
const MAX_INSTRUCTIONS: u64 = 1_000_000;

/// Where expressions and templates run.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(MAX_INSTRUCTIONS));
    filters::add_to(&mut environment);
    environment
}

/// The mappings that ship, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("dynamics_365", include_str!("shipped/dynamics_365.toml")),
    ("mparticle", include_str!("shipped/mparticle.toml")),
    (
        "netsuite_customer",
        include_str!("shipped/netsuite_customer.toml"),
    ),
    ("rudderstack", include_str!("shipped/rudderstack.toml")),
    (
        "salesforce_data_cloud",
        include_str!("shipped/salesforce_data_cloud.toml"),
    ),
    (
        "sap_s4hana_business_partner",
        include_str!("shipped/sap_s4hana_business_partner.toml"),
    ),
    ("segment", include_str!("shipped/segment.toml")),
];

/// A mapping.
#[derive(Clone, Debug, Default)]
pub enum Mapping {
    /// Everything under its own name.
    #[default]
    None,
    /// The data of the CloudEvent has these fields.
    Fields(Arc<Fields>),
    /// The event becomes requests.
    Requests(Arc<Requests>),
}

impl Mapping {
    /// A mapping of target fields (dots nest) to expressions. Refuses expressions that name what no event has, and targets that
    /// collide.
    pub fn of_fields(fields: BTreeMap<String, String>) -> Result<Self, String> {
        if fields.is_empty() {
            return Ok(Self::None);
        }
        let fields = Fields::new(fields, &[])?;
        context::try_samples(|data, id| {
            fields
                .apply(&context::of_event(data, id, &BTreeMap::new()))
                .map(drop)
        })?;
        Ok(Self::Fields(Arc::new(fields)))
    }

    /// A mapping to requests, from the text of its file, with the settings that a sink gives it.
    pub fn of_requests(text: &str, settings: BTreeMap<String, String>) -> Result<Self, String> {
        let requests = Requests::new(text, settings)?;
        context::try_samples(|data, id| requests.apply(data, id).map(drop))?;
        Ok(Self::Requests(Arc::new(requests)))
    }

    /// The names of the mappings that ship.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The file of a mapping that ships.
    pub fn shipped(name: &str) -> Option<&'static str> {
        let found = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        found.map(|(_, text)| *text)
    }

    /// Whether events become requests in the consumer's own API.
    pub fn is_requests(&self) -> bool {
        matches!(self, Self::Requests(_))
    }

    /// What the consumer gets of an event, where it gets something else than a CloudEvent.
    pub fn requests(
        &self,
        data: &Value,
        event_id: &str,
    ) -> Result<Option<Vec<MappedRequest>>, String> {
        match self {
            Self::None | Self::Fields(_) => Ok(None),
            Self::Requests(requests) => requests.apply(data, event_id).map(Some),
        }
    }

    /// The data of a CloudEvent under the consumer's names.
    pub fn data(&self, data: Value, event_id: &str) -> Result<Value, String> {
        match self {
            Self::None | Self::Requests(_) => Ok(data),
            Self::Fields(fields) => {
                fields.apply(&context::of_event(&data, event_id, &BTreeMap::new()))
            }
        }
    }

    /// What the samples become, for people and tests to look at.
    pub fn preview(&self) -> Result<Value, String> {
        let shown = samples().into_iter().map(|(id, data)| {
            let event = json!({ "id": id, "kind": data["kind"] });
            match self.requests(&data, &id)? {
                Some(requests) => {
                    let requests: Vec<Value> =
                        requests.iter().map(MappedRequest::to_json).collect();
                    Ok(json!({ "event": event, "requests": requests }))
                }
                None => Ok(json!({ "event": event, "data": self.data(data, &id)? })),
            }
        });
        shown.collect()
    }
}

impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Fields(one), Self::Fields(other)) => one == other,
            (Self::Requests(one), Self::Requests(other)) => one == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, &str)]) -> Result<Mapping, String> {
        let owned =
            |(target, expression): &(&str, &str)| ((*target).to_owned(), (*expression).to_owned());
        Mapping::of_fields(fields.iter().map(owned).collect())
    }

    #[test]
    fn fields_are_renamed_nested_and_reckoned() {
        let data = json!({ "kind": "merged", "identity": { "golden": { "name": { "family": "Lee" }, "identifier": { "loyalty-card": "L1" } } } });
        let mapped = fields(&[
            ("KNA1.NAME1", "identity.golden.name.family | upper"),
            ("KNA1.CARD", "identity.golden.identifier['loyalty-card']"),
            ("op", "kind"),
            ("mail", "identity.golden.email"),
            ("street", "identity.golden.address.street"),
            ("shop", "identity.golden.identifier.shop"),
        ]);
        assert_eq!(
            mapped.expect("known paths").data(data, "default-1"),
            Ok(
                json!({ "KNA1": { "NAME1": "LEE", "CARD": "L1" }, "op": "merged", "mail": null, "street": null, "shop": null })
            )
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (wrong, told) in [
            (&[("a", "identity.golden.nmae")][..], "identity.golden.nmae"),
            (&[("a", "identity.golden.email | uper")], "uper"),
            (&[("a", "identity.golden.(")], "\"a\""),
            (&[("a", "settings.source")], "settings.source"),
            (&[("a", "kind"), ("a.b", "cause")], "a.b"),
            (&[("a..b", "kind")], "a..b"),
        ] {
            let problem = fields(wrong).expect_err(told);
            assert!(problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn requests_are_checked_before_anything_is_sent() {
        let of = |text: &str| Mapping::of_requests(text, BTreeMap::new());
        let valid = "follows = \"x\"\n[[requests]]\nmethod = \"POST\"\npath = \"/v1\"\n";
        assert!(of(valid).is_ok(), "{:?}", of(valid));
        for (wrong, told) in [
            ("follows = \"x\"\n", "requests"),
            (
                "[[requests]]\nmethod = \"POST\"\npath = \"/v1\"\n",
                "follows",
            ),
            (&valid.replace("POST", "GRAB"), "GRAB"),
            (
                &valid.replace("/v1", "{{ settings.host }}"),
                "settings.host",
            ),
            (&valid.replace("/v1", "v1"), "path"),
            (&format!("{valid}body = '{{{{ kind }}}}'\n"), "body"),
            (
                &format!("{valid}body = '1'\n[requests.fields]\na = \"kind\"\n"),
                "fields",
            ),
            (&format!("{valid}when = \"kin == 1\"\n"), "kin"),
            (&format!("{valid}for_each = \"1 + 1\"\n"), "for_each"),
            (&format!("{valid}surprise = 1\n"), "surprise"),
        ] {
            let problem = of(wrong).expect_err(wrong);
            assert!(problem.contains(told), "{told}: {problem}");
        }
        let unknown = Mapping::of_requests(valid, BTreeMap::from([("host".into(), "x".into())]));
        assert!(unknown.is_err_and(|problem| problem.contains("host")));
    }
}
