//! E-mail addresses, phone numbers and identifiers.

use proptest::prelude::*;
use veridem_matchers::Identifier;
use veridem_matchers::normalise::{Region, normalise_email, normalise_identifier, normalise_phone};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

fn address_of(written: &str) -> Option<String> {
    normalise_email(written).map(|email| email.address)
}

fn identifier_value(written: &str) -> Option<String> {
    let identifier = Identifier {
        scheme: "loyalty".to_owned(),
        value: written.to_owned(),
    };
    normalise_identifier(&identifier).map(|identifier| identifier.value)
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
                scheme: once.scheme.clone(),
                value: once.value.clone(),
            });
            prop_assert_eq!(again, Some(once));
        }
    }
}

proptest! {
    #![proptest_config(cases(700))]

    #[test]
    fn a_phone_is_total_and_digits(
        written in prop_oneof![any_text(), "[+(]{0,2}[0-9 ()./-]{5,22}( ?(x|ext\\.?) ?[0-9]{1,4})?"],
    ) {
        for region in [Region::US, Region::GB, Region::DE] {
            if let Some(once) = normalise_phone(&written, region) {
                let digits = once.strip_prefix('+').unwrap_or(&once);
                prop_assert!(!digits.is_empty());
                prop_assert!(
                    digits.bytes().all(|byte| byte.is_ascii_digit()),
                    "{written:?} became {once:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn one_number_in_every_notation(area in "[2-9]0[2-9]", exchange in "[2-9][02-9]{2}", line in "[0-9]{4}") {
        let expected = Some(format!("+1{area}{exchange}{line}"));
        let notations = [
            format!("{area}{exchange}{line}"),
            format!("({area}) {exchange}-{line}"),
            format!("{area}.{exchange}.{line}"),
            format!("1-{area}-{exchange}-{line}"),
            format!("+1 {area} {exchange} {line}"),
            format!("+1{area}{exchange}{line}"),
        ];
        for written in notations {
            let found = normalise_phone(&written, Region::US);
            prop_assert_eq!(found, expected.clone(), "{:?}", written);
        }
        let abroad = format!("+1 {area} {exchange} {line}");
        prop_assert_eq!(normalise_phone(&abroad, Region::DE), expected);
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
fn one_phone_number_is_one_value() {
    let table: &[(Region, &str, &[&str])] = &[
        (
            Region::US,
            "+12127365000",
            &[
                "2127365000",
                "(212) 736-5000",
                "212-736-5000",
                "212.736.5000",
                "1 212 736 5000",
                "+1 (212) 736 5000",
                "tel:+1-212-736-5000",
                "011 1 212 736 5000",
                " 212 736 5000 ",
            ],
        ),
        (
            Region::US,
            "+442079460958",
            &[
                "+44 20 7946 0958",
                "+44 (0)20 7946 0958",
                "011 44 20 7946 0958",
                "+442079460958",
            ],
        ),
        (
            Region::GB,
            "+442079460958",
            &[
                "020 7946 0958",
                "(020) 7946 0958",
                "0044 20 7946 0958",
                "+44 20 7946 0958",
                "+44 (0) 20 7946-0958",
            ],
        ),
        (
            Region::DE,
            "+4930901820",
            &["030 901820", "+49 30 901820", "0049 (0)30 / 90 18 20"],
        ),
    ];
    for (region, expected, notations) in table {
        assert_rows(notations.iter().map(|written| {
            (
                written,
                normalise_phone(written, *region),
                Some((*expected).to_owned()),
            )
        }));
    }
}

#[test]
fn marks_and_words_around_the_digits_do_not_make_another_number() {
    let notations = [
        "212\t736\t5000",
        "212_736_5000",
        "212,736,5000",
        "(212) 736-5000 (home)",
        "(212) 736-5000 mobile",
        "２１２ ７３６ ５０００",
    ];
    assert_rows(notations.map(|written| {
        (
            written,
            normalise_phone(written, Region::US),
            Some("+12127365000".to_owned()),
        )
    }));
}

#[test]
fn an_extension_does_not_make_another_number() {
    for written in [
        "(212) 736-5000 x12",
        "212-736-5000 ext. 12",
        "+1 212 736 5000;ext=12",
    ] {
        assert_eq!(
            normalise_phone(written, Region::US).as_deref(),
            Some("+12127365000"),
            "{written:?}"
        );
    }
}

#[test]
fn junk_phones_are_absent() {
    let written = [
        "",
        "-",
        "n/a",
        "123",
        "911",
        "0",
        "000-000-0000",
        "0000000",
        "1111111111",
        "555-555-5555",
        "(999) 999-9999",
        "1234567",
        "1234567890",
        "0123456789",
        "9876543210",
        "+1 000 000 0000",
        "+1 555 555 5555",
        "call me",
        "123456789012345678901234567890",
    ];
    assert_rows(written.map(|junk| (junk, normalise_phone(junk, Region::US), None)));
}

#[test]
fn a_number_without_its_area_code_stays_as_it_is() {
    // `+17365000` would name another number, and `compare` could no longer see that an area code is missing.
    assert_eq!(
        normalise_phone("736-5000", Region::US).as_deref(),
        Some("7365000")
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
