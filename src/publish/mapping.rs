//! Field mappings: what a consumer calls the things that an event says. `"KNA1.NAME1" = "identity.golden.name.family"` puts the
//! family name under `NAME1` of `KNA1`. Without a mapping everything is sent under its own name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The paths that an event may have, besides those below `identity.golden.identifier` and `identity.golden.custom`.
const PATHS: &[&str] = &[
    "sequence",
    "kind",
    "occurred_at",
    "cause",
    "identity",
    "identity.identity_id",
    "identity.version",
    "identity.members",
    "identity.golden",
    "identity.golden.name",
    "identity.golden.name.given",
    "identity.golden.name.middle",
    "identity.golden.name.family",
    "identity.golden.name.suffix",
    "identity.golden.name.full",
    "identity.golden.email",
    "identity.golden.phone",
    "identity.golden.birth_date",
    "identity.golden.gender",
    "identity.golden.address",
    "identity.golden.address.street",
    "identity.golden.address.number",
    "identity.golden.address.unit",
    "identity.golden.address.city",
    "identity.golden.address.region",
    "identity.golden.address.postcode",
    "identity.golden.address.country",
    "identity.golden.identifier",
    "identity.golden.custom",
    "merged_identity_ids",
    "split_into_identity_ids",
    "moved_records",
];

/// A mapping; empty: everything under its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(Vec<(String, String)>);

impl Mapping {
    /// A mapping of target fields (dots nest) to paths of the event. Refuses paths that no event has and targets that collide.
    pub fn new(fields: BTreeMap<String, String>) -> Result<Self, String> {
        for (target, path) in &fields {
            let open = ["identity.golden.identifier.", "identity.golden.custom."]
                .iter()
                .any(|prefix| {
                    path.strip_prefix(prefix)
                        .is_some_and(|name| !name.is_empty())
                });
            if !open && !PATHS.contains(&path.as_str()) {
                return Err(format!(
                    "\"{target}\" takes \"{path}\", which no event has; use one of {}",
                    PATHS.join(", ")
                ));
            }
            if target.split('.').any(str::is_empty) {
                return Err(format!("\"{target}\" has an empty part"));
            }
            if let Some(other) = fields.keys().find(|other| {
                other
                    .strip_prefix(target.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            }) {
                return Err(format!(
                    "\"{target}\" cannot hold a value and the field \"{other}\" at once"
                ));
            }
        }
        Ok(Self(fields.into_iter().collect()))
    }

    /// The event's data under the consumer's names; what the event does not have becomes null.
    pub fn apply(&self, data: Value) -> Value {
        if self.0.is_empty() {
            return data;
        }
        let mut mapped = Map::new();
        for (target, path) in &self.0 {
            let mut value = &data;
            for step in path_steps(path) {
                value = value.get(step).unwrap_or(&Value::Null);
            }
            let mut parts: Vec<&str> = target.split('.').collect();
            let last = parts.pop().unwrap_or_default().to_owned();
            let mut place = &mut mapped;
            for part in parts {
                let inner = place.entry(part).or_insert_with(|| json!({}));
                let Value::Object(object) = inner else {
                    unreachable!("targets that collide were refused")
                };
                place = object;
            }
            place.insert(last, value.clone());
        }
        Value::Object(mapped)
    }
}

/// The steps of a path; the name of an identifier or custom attribute is one step, whatever it holds.
fn path_steps(path: &str) -> Vec<&str> {
    for prefix in ["identity.golden.identifier", "identity.golden.custom"] {
        if let Some(name) = path
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
        {
            return prefix.split('.').chain([name]).collect();
        }
    }
    path.split('.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(fields: &[(&str, &str)]) -> Result<Mapping, String> {
        Mapping::new(
            fields
                .iter()
                .map(|(target, path)| ((*target).to_owned(), (*path).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn fields_are_renamed_and_nested() {
        let data = json!({ "kind": "merged", "identity": { "golden": { "name": { "family": "Lee" }, "identifier": { "loyalty": "L1" } } } });
        let mapped = mapping(&[
            ("KNA1.NAME1", "identity.golden.name.family"),
            ("KNA1.CARD", "identity.golden.identifier.loyalty"),
            ("op", "kind"),
            ("mail", "identity.golden.email"),
        ]);
        assert_eq!(
            mapped.expect("known paths").apply(data),
            json!({ "KNA1": { "NAME1": "Lee", "CARD": "L1" }, "op": "merged", "mail": null })
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(
            mapping(&[("a", "identity.golden.nmae")])
                .unwrap_err()
                .contains("identity.golden.nmae")
        );
        assert!(
            mapping(&[("a", "kind"), ("a.b", "cause")])
                .unwrap_err()
                .contains("a.b")
        );
    }
}
