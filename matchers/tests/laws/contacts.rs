//! E-mail addresses and identifiers.

use proptest::prelude::*;
use veridem_matchers::Identifier;
use veridem_matchers::normalise::{normalise_email, normalise_identifier};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

fn address_of(written: &str) -> Option<String> {
    normalise_email(written).map(|email| email.address.into())
}

fn identifier_value(written: &str) -> Option<String> {
    let identifier = Identifier {
        scheme: "loyalty".to_owned(),
        value: written.to_owned(),
    };
    normalise_identifier(&identifier).map(|identifier| identifier.value.into())
}

/// Texts shaped like addresses, with all that people and mail programs put around them.
fn email_text() -> impl Strategy<Value = String> {
    let before = prop::sample::select(vec!["", " ", "<", "'", "mailto:", "Mailto:", "MAILTO:"]);
    let local = "[a-zA-Z0-9]{1,6}[+a-z0-9._'-]{0,6}";
    let domain = prop::sample::select(vec![
        "x.org",
        "GMAIL.com",
        "googlemail.com",
        "Mail.Example.de",
        "gmail.com.",
    ]);
    let after = prop::sample::select(vec!["", " ", ">", "'", ";", ",", "."]);
    (before, local, domain, after)
        .prop_map(|(before, local, domain, after)| format!("{before}{local}@{domain}{after}"))
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn an_email_is_total_and_well_formed(written in any_text()) {
        if let Some(email) = normalise_email(&written) {
            let (local, domain) = email.address.rsplit_once('@').expect("an @");
            prop_assert_eq!(local, email.local());
            prop_assert!(!local.is_empty() && domain.contains('.'));
        }
    }

    #[test]
    fn normalising_an_email_twice_is_normalising_it_once(written in email_text()) {
        if let Some(once) = normalise_email(&written) {
            prop_assert_eq!(normalise_email(&once.address), Some(once));
        }
    }

    #[test]
    fn an_email_does_not_depend_on_case(written in email_text()) {
        prop_assert_eq!(
            normalise_email(&written.to_uppercase()),
            normalise_email(&written.to_lowercase())
        );
    }

    #[test]
    fn an_identifier_is_total_and_idempotent(scheme in any_text(), value in any_text()) {
        if let Some(once) = normalise_identifier(&Identifier { scheme, value }) {
            prop_assert!(once.value.len() >= 3);
            prop_assert!(
                once.value
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            );
            let again = normalise_identifier(&Identifier {
                scheme: once.scheme.to_string(),
                value: once.value.to_string(),
            });
            prop_assert_eq!(again, Some(once));
        }
    }
}

#[test]
fn one_mailbox_is_one_address() {
    let table: &[(&str, &[&str])] = &[
        (
            "annlee@gmail.com",
            &[
                "ann.lee@gmail.com",
                "A.N.N.LEE@GMAIL.COM",
                "annlee+shop@gmail.com",
                " ann.lee@googlemail.com ",
                "<annlee@gmail.com>",
                "mailto:annlee@gmail.com",
            ],
        ),
        (
            "ann.lee@x.org",
            &[
                "ann.lee@x.org",
                "Ann.Lee+news+more@X.ORG",
                "\"ann.lee@x.org\"",
                "ann.lee@x.org;",
                "ann.lee@x.org.",
            ],
        ),
        ("иван@почта.рф", &["иван@почта.рф", "ИВАН@ПОЧТА.РФ"]),
    ];
    for (expected, spellings) in table {
        assert_rows(
            spellings
                .iter()
                .map(|written| (written, address_of(written), Some((*expected).to_owned()))),
        );
    }
    assert_ne!(
        address_of("ann.lee@x.org"),
        address_of("annlee@x.org"),
        "only some providers ignore dots"
    );
}

#[test]
fn a_mail_link_is_read_in_any_case() {
    for written in ["MAILTO:ann@x.org", "Mailto:ann@x.org"] {
        assert_eq!(
            address_of(written).as_deref(),
            Some("ann@x.org"),
            "{written:?}"
        );
    }
}

#[test]
fn junk_and_role_mailboxes_are_absent() {
    let written = [
        "",
        "@",
        "ann",
        "ann@",
        "@x.org",
        "ann@localhost",
        "ann lee@x.org",
        "ann@lee@x.org",
        "ann@x.org bob@y.org",
        "ann@x\0.org",
        "none@none.com",
        "noemail@x.org",
        "no-email@x.org",
        "test@x.org",
        "na@na.com",
        "x@x.org",
        "customer@example.com",
        "ann@example.org",
        "info@x.org",
        "SALES@x.org",
        "no-reply@x.org",
        "customer.service@x.org",
        "+tag@x.org",
        "...@gmail.com",
        "asdf@x.org",
        "unknown@x.org",
        "refused@x.org",
        "store@x.org",
    ];
    assert_rows(written.map(|junk| (junk, address_of(junk), None)));
    assert_eq!(
        address_of(&format!("{}@x.org", "a".repeat(65))),
        None,
        "a local part is 64 bytes at most"
    );
    assert_eq!(
        address_of(&format!("ann@{}.org", "a".repeat(260))),
        None,
        "an address is 254 bytes at most"
    );
    assert!(address_of(&format!("{}@x.org", "ab".repeat(32))).is_some());
}

#[test]
fn a_letter_with_an_accent_is_not_left_out_when_placeholders_are_looked_for() {
    assert_eq!(
        address_of("noé@x.fr").as_deref(),
        Some("noé@x.fr"),
        "Noé is a name, `no` is a placeholder"
    );
}

#[test]
fn known_identifiers() {
    let table = [
        ("A-100 200", Some("A100200")),
        ("a100200", Some("A100200")),
        ("  0042.17 ", Some("004217")),
        ("ÄB-12", Some("AB12")),
        ("a-1b", Some("A1B")),
        ("12", None),
        ("", None),
        ("n/a", None),
        ("NONE", None),
        ("unknown", None),
        ("0000000", None),
        ("123456789", None),
        ("987654", None),
        ("9999", None),
        ("xxx", None),
    ];
    assert_rows(table.map(|(written, expected)| {
        (
            written,
            identifier_value(written),
            expected.map(str::to_owned),
        )
    }));
}

#[test]
fn a_scheme_has_one_spelling() {
    let schemes = [
        "Loyalty Number",
        "loyalty_number",
        "loyalty-number",
        "LOYALTY  NUMBER",
    ]
    .map(|scheme| {
        normalise_identifier(&Identifier {
            scheme: scheme.to_owned(),
            value: "A100200".to_owned(),
        })
        .expect("a value")
        .scheme
    });
    assert!(
        schemes.iter().all(|scheme| scheme == "loyalty_number"),
        "{schemes:?}"
    );
}
