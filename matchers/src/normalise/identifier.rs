//! Identifiers: one spelling per value, placeholders set aside.

use super::Text;
use serde::{Deserialize, Serialize};

use super::text::{compact, fold, is_placeholder, is_placeholder_digits};
use crate::record::Identifier;

/// An identifier in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NormalisedIdentifier {
    /// Scheme, folded, words joined by underscores.
    pub scheme: Text,
    /// Letters and digits of the value, upper case.
    pub value: Text,
}

/// `None` where the value is too short to name one person or is a placeholder.
pub fn normalise_identifier(written: &Identifier) -> Option<NormalisedIdentifier> {
    let value = compact(&written.value);
    let all_digits = value.bytes().all(|byte| byte.is_ascii_digit());
    if value.len() < 3
        || (all_digits && is_placeholder_digits(&value))
        || is_placeholder(&value.to_ascii_lowercase())
    {
        return None;
    }
    Some(NormalisedIdentifier {
        scheme: fold(&written.scheme).replace(' ', "_").into(),
        value: value.into(),
    })
}
