//! Values as pages show them. Every one goes through here, so that whoever may only look sees them masked.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tonic::Status;
use veridem_proto::v1;
use veridem_proto::v1::attribute::Value;

use super::error::Refused;
use super::{difference, identity};
use crate::api::mask::{MASK, masked_cause, masked_text};
use crate::config::Role;

/// How values are shown to somebody.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    is_masked: bool,
}

impl Shown {
    pub(super) fn to(role: Role) -> Self {
        Self {
            is_masked: role == Role::Viewer,
        }
    }

    /// For somebody who had the values revealed.
    pub(super) fn unmasked() -> Self {
        Self { is_masked: false }
    }

    pub(super) fn is_masked(self) -> bool {
        self.is_masked
    }

    /// A text of a person.
    pub(super) fn text(self, text: &str) -> String {
        match self.is_masked {
            true => masked_text(text),
            false => text.to_owned(),
        }
    }

    pub(super) fn attribute(self, attribute: Option<&v1::Attribute>) -> String {
        let value = attribute.and_then(|attribute| attribute.value.as_ref());
        match value {
            // Their first letter would tell all, or much.
            Some(Value::Gender(_) | Value::BirthDate(_)) if self.is_masked => MASK.to_owned(),
            _ => self.text(&text_of(attribute)),
        }
    }

    /// What two sides say of the same thing, with the differences marked; with nothing marked where values are masked.
    pub(super) fn pair(
        self,
        left: Option<&v1::Attribute>,
        right: Option<&v1::Attribute>,
    ) -> (Markup, Markup) {
        if self.is_masked || left.is_none() || right.is_none() {
            return (
                html!((self.attribute(left))),
                html!((self.attribute(right))),
            );
        }
        let (left, right) = difference::pieces(&text_of(left), &text_of(right));
        (marked(&left), marked(&right))
    }

    /// The form in which a value is compared.
    pub(super) fn normalised(self, text: &str) -> &str {
        if self.is_masked { "" } else { text }
    }

    /// A source record's key; what a source calls a customer may be an e-mail address.
    pub(super) fn record_key(self, key: Option<&v1::RecordKey>) -> Markup {
        html! {
            @if let Some(key) = key {
                span.source { (key.source) } " " span.record { (self.text(&key.record_id)) }
            }
        }
    }

    /// What caused an event.
    pub(super) fn cause(self, cause: &str) -> &str {
        match self.is_masked {
            true => masked_cause(cause),
            false => cause,
        }
    }

    /// How an identity is called: its name, or whatever else tells people most.
    pub(super) fn title(self, identity: Option<&v1::Identity>) -> String {
        let golden = identity.map_or(&[][..], |identity| &identity.golden_record);
        let of_kind = |kind: &str| {
            let found = golden.iter().find(|value| value.slot.starts_with(kind));
            let text = found.map(|value| text_of(value.attribute.as_ref()));
            text.filter(|text| !text.is_empty())
        };
        let kinds = ["name", "email", "phone", "identifier"];
        let title = kinds.into_iter().find_map(of_kind).unwrap_or_default();
        if title.is_empty() {
            return "(no name)".to_owned();
        }
        self.text(&title)
    }
}

fn marked(pieces: &[difference::Piece]) -> Markup {
    html! {
        @for (is_marked, text) in pieces {
            @if *is_marked { mark { (text) } } @else { (text) }
        }
    }
}

fn joined(parts: &[&str], separator: &str) -> String {
    let parts = parts.iter().map(|part| part.trim());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(separator)
}

/// An attribute in one line.
pub(super) fn text_of(attribute: Option<&v1::Attribute>) -> String {
    match attribute.and_then(|attribute| attribute.value.as_ref()) {
        None => String::new(),
        Some(Value::Name(name)) => {
            let parts = [&name.given, &name.middle, &name.family, &name.suffix];
            let parts = joined(&parts.map(String::as_str), " ");
            if parts.is_empty() {
                name.full.clone()
            } else {
                parts
            }
        }
        Some(Value::Address(address)) => {
            let street = joined(&[&address.street, &address.number, &address.unit], " ");
            let city = joined(&[&address.postcode, &address.city], " ");
            joined(&[&street, &city, &address.region, &address.country], ", ")
        }
        Some(Value::Identifier(identifier)) => identifier.value.clone(),
        Some(Value::Custom(custom)) => custom.value.clone(),
        Some(
            Value::Email(text) | Value::Phone(text) | Value::BirthDate(text) | Value::Gender(text),
        ) => text.clone(),
    }
}

/// An identity's id, short; the whole as a title.
pub(super) fn identity_link(id: &str) -> Markup {
    let short: String = id.chars().take(8).collect();
    html! { a.id href=(identity::address(id)) title=(id) { (short) } }
}

/// The beginning of a hash, enough to tell it from others by eye.
pub(super) fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or_default()
}

/// The day of a moment, and the moment itself as a title; nothing where nobody said when.
pub(super) fn day(milliseconds: i64) -> Markup {
    let moment = DateTime::<Utc>::from_timestamp_millis(milliseconds).filter(|_| milliseconds > 0);
    html! {
        @if let Some(moment) = moment {
            time datetime=(moment.to_rfc3339()) title=(moment.format("%Y-%m-%d %H:%M:%S UTC")) {
                (moment.format("%Y-%m-%d"))
            }
        }
    }
}

/// A moment to the second.
pub(super) fn moment(milliseconds: i64) -> Markup {
    let moment = DateTime::<Utc>::from_timestamp_millis(milliseconds).filter(|_| milliseconds > 0);
    html! {
        @if let Some(moment) = moment {
            time datetime=(moment.to_rfc3339()) { (moment.format("%Y-%m-%d %H:%M:%S")) }
        }
    }
}

/// An identity as it is seen, as forms carry it: `id:version`.
pub(super) fn version_text(identity: &v1::Identity) -> String {
    format!("{}:{}", identity.identity_id, identity.version)
}

/// An identity as it was seen, from `id:version`.
pub(super) fn version_of(text: &str) -> Result<v1::IdentityVersion, Refused> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(id, version)| Some((id, version.parse().ok()?)));
    let (id, version) = parts.ok_or_else(|| Status::invalid_argument("a version is malformed"))?;
    Ok(v1::IdentityVersion {
        identity_id: id.to_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(value: Value) -> v1::Attribute {
        v1::Attribute { value: Some(value) }
    }

    fn custom(text: &str) -> v1::CustomAttribute {
        v1::CustomAttribute {
            name: "nickname".to_owned(),
            value: text.to_owned(),
        }
    }

    #[test]
    fn values_stand_in_one_line_and_are_masked_for_viewers() {
        let address = attribute(Value::Address(v1::PostalAddress {
            street: "Hauptstr.".to_owned(),
            number: "5".to_owned(),
            postcode: "10115".to_owned(),
            city: "Berlin".to_owned(),
            country: "DE".to_owned(),
            ..v1::PostalAddress::default()
        }));
        let all = Shown::to(Role::Steward);
        assert_eq!(
            all.attribute(Some(&address)),
            "Hauptstr. 5, 10115 Berlin, DE"
        );
        let masked = Shown::to(Role::Viewer);
        assert_eq!(masked.attribute(Some(&address)), "H•••");
        assert_eq!(masked.attribute(None), "");
        let birth_date = attribute(Value::BirthDate("1980-02-03".to_owned()));
        assert_eq!(masked.attribute(Some(&birth_date)), "•••");
        let name = |text: &str| attribute(Value::Custom(custom(text)));
        let (left, right) = masked.pair(Some(&name("Anna Berg")), Some(&name("Anna Burg")));
        assert_eq!(
            (left.into_string(), right.into_string()),
            ("A•••".to_owned(), "A•••".to_owned())
        );
    }

    #[test]
    fn hostile_values_are_text() {
        let all = Shown::to(Role::Steward);
        let hostile = |number| {
            attribute(Value::Custom(custom(&format!(
                "<script>alert({number})</script>"
            ))))
        };
        let (left, _) = all.pair(Some(&hostile(1)), Some(&hostile(2)));
        assert!(!left.into_string().contains("<script"));
    }
}
