//! E-mail addresses: one spelling per mailbox, placeholders and role mailboxes set aside.

use super::Text;
use serde::{Deserialize, Serialize};

const PLACEHOLDER_LOCALS: &[&str] = &[
    "a",
    "aa",
    "aaa",
    "abc",
    "anonymous",
    "asdf",
    "customer",
    "decline",
    "declined",
    "fake",
    "guest",
    "n",
    "na",
    "nil",
    "nan",
    "no",
    "nobody",
    "noemail",
    "nomail",
    "none",
    "noreply",
    "notgiven",
    "notprovided",
    "null",
    "refused",
    "test",
    "unknown",
    "x",
    "xx",
    "xxx",
];
/// Mailboxes that belong to an office, not to a person (RFC 2142 and usage).
const ROLE_LOCALS: &[&str] = &[
    "accounts",
    "admin",
    "billing",
    "contact",
    "cs",
    "customerservice",
    "donotreply",
    "enquiries",
    "hello",
    "help",
    "helpdesk",
    "hr",
    "info",
    "mail",
    "marketing",
    "office",
    "orders",
    "postmaster",
    "reception",
    "sales",
    "service",
    "shop",
    "store",
    "support",
    "till",
    "webmaster",
];
const PLACEHOLDER_DOMAINS: &[&str] = &[
    "a.com",
    "b.com",
    "email.com.invalid",
    "example.com",
    "example.net",
    "example.org",
    "na.com",
    "no.com",
    "noemail.com",
    "none.com",
    "nomail.com",
    "test.com",
    "x.com.invalid",
];

/// An address that can be evidence of one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedEmail {
    /// The whole address, lower case, without sub-address (`+tag`), dots dropped where the provider ignores them.
    pub address: Text,
    /// Length of the local part in bytes: `address[..local_length]` is what stands before the `@`.
    pub local_length: u8,
    /// Whether what stands before the `@` is made of the record's own name. Two such agree because the names do, which the names
    /// have said already.
    #[serde(default)]
    pub of_name: bool,
}

/// The parts of a [`NormalisedEmail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailView<'a> {
    /// The whole address.
    pub address: &'a str,
    /// What stands before the `@`.
    pub local: &'a str,
    /// Whether that is made of the record's own name.
    pub of_name: bool,
}

impl NormalisedEmail {
    /// The parts, wherever they are kept.
    pub fn view(&self) -> EmailView<'_> {
        EmailView {
            address: &self.address,
            local: self.local(),
            of_name: self.of_name,
        }
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        &self.address[..usize::from(self.local_length)]
    }

    /// Notes whether the local part holds one of the names, which are lower-case letters, three or more.
    pub(super) fn compare_to_names<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let local = self.local();
        self.of_name = names
            .into_iter()
            .any(|name| name.len() >= 3 && local.contains(name));
    }
}

/// The mailbox that an address names; `None` for a malformed address, a placeholder value or a role mailbox.
///
/// ```
/// use veridem_matchers::normalise::normalise_email;
/// assert_eq!(normalise_email(" Ann.Lee+shop@GoogleMail.com ").unwrap().address, "annlee@gmail.com");
/// assert!(normalise_email("none@none.com").is_none());
/// ```
pub fn normalise_email(written: &str) -> Option<NormalisedEmail> {
    let trimmed = written.trim_matches(|letter: char| {
        letter.is_whitespace() || ['<', '>', '"', '\'', ';', ',', '.'].contains(&letter)
    });
    let folded = trimmed.to_lowercase();
    let lower = folded.strip_prefix("mailto:").unwrap_or(&folded);
    let (local, domain) = lower.rsplit_once('@')?;
    let domain = domain.trim_matches('.');
    let shaped = !local.is_empty()
        && local.len() <= 64
        && lower.len() <= 254
        && domain.contains('.')
        && !local.contains('@')
        && !lower
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
    if !shaped {
        return None;
    }
    let domain = if domain == "googlemail.com" {
        "gmail.com"
    } else {
        domain
    };
    let mailbox = local.split_once('+').map_or(local, |(before, _)| before);
    let mailbox: String = if domain == "gmail.com" {
        mailbox.chars().filter(|letter| *letter != '.').collect()
    } else {
        mailbox.to_owned()
    };
    let bare: String = mailbox
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .collect();
    let placeholder = mailbox.is_empty()
        || PLACEHOLDER_LOCALS.contains(&bare.as_str())
        || ROLE_LOCALS.contains(&bare.as_str())
        || PLACEHOLDER_DOMAINS.contains(&domain);
    (!placeholder).then(|| NormalisedEmail {
        local_length: mailbox.len() as u8,
        of_name: false,
        address: format!("{mailbox}@{domain}").into(),
    })
}
