//! Strategies that several laws draw from.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use veridem_matchers::compare::Comparison;
use veridem_matchers::normalise::{NormalisedRecord, Region};
use veridem_matchers::{
    Attribute, CustomAttribute, Identifier, PersonName, PostalAddress, StatedAttribute,
};

/// `count` cases, the same in every run. `PROPTEST_RNG_SEED=<number>` draws others, `PROPTEST_CASES=<number>` as many.
pub fn cases(count: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => default.cases,
            None => count,
        },
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(20_261),
            fixed => fixed,
        },
        failure_persistence: None,
        ..default
    }
}

/// Fragments that mean something to one of the normalisers.
const FRAGMENTS: &[&str] = &[
    " ",
    "\t",
    "\n",
    "\0",
    "\u{7f}",
    "\u{200b}",
    "\u{202e}",
    "\u{feff}",
    "\u{a0}",
    ".",
    ",",
    ";",
    ":",
    "#",
    "/",
    "-",
    "--",
    "+",
    "@",
    "<",
    ">",
    "'",
    "\"",
    "(",
    ")",
    "*",
    "x",
    "n/a",
    "null",
    "Dr.",
    "Jr",
    "III",
    "2nd",
    "van",
    "der",
    "O'",
    "é",
    "e\u{301}",
    "ß",
    "ﬁ",
    "İ",
    "Ж",
    "Ω",
    "王",
    "小明",
    "مريم",
    "🙂",
    "٣",
    "１",
    "0",
    "1",
    "12",
    "1978",
    "78",
    "03",
    "24",
    "T",
    "Z",
    "June",
    "March",
    "mar",
    "gmail.com",
    "googlemail.com",
    "mailto:",
    "info",
    "ann",
    "lee",
    "x.org",
    "apt",
    "unit",
    "no",
    "street",
    "St",
    "ext",
    ";ext=",
    ";phone-context=",
    "tel:",
    "+44",
    "(0)",
    "001",
    "212",
    "736",
    "5000",
];

/// Any text a source could send: random Unicode, control characters, very long ones, and what normalisers look for.
pub fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => any::<String>(),
        1 => prop::collection::vec(prop::char::range('\0', '\u{2ff}'), 0..40).prop_map(String::from_iter),
        1 => (any::<String>(), 1..200_usize).prop_map(|(text, times)| text.repeat(times)),
        1 => (select(FRAGMENTS), 1..3_000_usize).prop_map(|(text, times)| text.repeat(times)),
        4 => prop::collection::vec(select(FRAGMENTS), 0..12).prop_map(|parts| parts.concat()),
        2 => prop::collection::vec(select(FRAGMENTS), 0..12).prop_map(|parts| parts.join(" ")),
    ]
}

fn from_pool(pool: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(pool).prop_map(str::to_owned)
}

fn given() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => from_pool(&["Ann", "Anne", "Annie", "Anna", "Robert", "Bob", "Roberta", "J.", "R.", "Jo", "Lee", "José", "Mary Ann", "", "Smith"]),
        1 => "[a-d]{1,9}",
    ]
}

fn family() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => from_pool(&["Smith", "Smyth", "Lee", "van der Berg", "Vanderberg", "Garcia Lopez", "Lopez", "O'Neil", "ONeill", "", "Robert"]),
        1 => "[a-d]{1,9}",
    ]
}

/// A name of few givens and families, so that pairs fall in every level.
pub fn person_name() -> impl Strategy<Value = PersonName> {
    let middle = from_pool(&["", "A", "Ann", "Lee Ann", "Louise", "Luise"]);
    let suffix = from_pool(&["", "", "Jr", "III", "PhD"]);
    let full = from_pool(&["", "Bob Smith", "Smith, Ann Lee", "Lee"]);
    (given(), middle, family(), suffix, full).prop_map(|(given, middle, family, suffix, full)| {
        PersonName {
            given,
            middle,
            family,
            suffix,
            full,
        }
    })
}

fn postal_address() -> impl Strategy<Value = PostalAddress> {
    let street = from_pool(&[
        "",
        "12 High Street",
        "12 High St",
        "14 High Street",
        "12 Hihg Street",
        "High Street",
        "2700 East Trotter Avenue #241",
        "2700 Trotter Av unit 242",
        "9 Oak Lane",
    ]);
    let city = from_pool(&["", "Boston", "Bostn", "Springfield", "Austin"]);
    let region = from_pool(&["", "MA", "TX"]);
    let postcode = from_pool(&["", "02134", "02135", "78701", "24808-1234", "SW1A 1AA"]);
    (street, city, region, postcode).prop_map(|(street, city, region, postcode)| PostalAddress {
        street,
        city,
        region,
        postcode,
        ..PostalAddress::default()
    })
}

fn date_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => from_pool(&["1978-03-24", "1978-03-25", "1978-24-03", "1979-03-24", "1978", "1978-03", "1978-01-01", "1981-12-07", "1978-07-12"]),
        1 => (1950..1955_u16, 1..13_u8, 1..29_u8).prop_map(|(year, month, day)| format!("{year}-{month:02}-{day:02}")),
    ]
}

/// One attribute of any kind, of few values.
pub fn attribute() -> impl Strategy<Value = Attribute> {
    let email = from_pool(&[
        "ann.lee@x.org",
        "ann.lee@y.org",
        "annlee@x.org",
        "ann.lee@x.or",
        "robert@z.net",
        "rob@z.net",
        "info@x.org",
    ]);
    let phone = from_pool(&[
        "(212) 736-5000",
        "212-736-5001",
        "7365000",
        "+44 20 7946 0958",
        "(646) 736-5000",
        "999",
    ]);
    let gender = from_pool(&["f", "Male", "unknown", "x", ""]);
    let identifier = (
        from_pool(&["loyalty", "device"]),
        from_pool(&["A100200", "A100201", "B999", "B998", "77 88 99", "x"]),
    )
        .prop_map(|(scheme, value)| Attribute::Identifier(Identifier { scheme, value }));
    let custom = (
        from_pool(&["employer", "segment"]),
        from_pool(&["Acme Ltd", "Acme Limited", "Zenith", "n/a", "gold"]),
    )
        .prop_map(|(name, value)| Attribute::Custom(CustomAttribute { name, value }));
    prop_oneof![
        4 => person_name().prop_map(Attribute::Name),
        2 => email.prop_map(Attribute::Email),
        2 => phone.prop_map(Attribute::Phone),
        2 => postal_address().prop_map(Attribute::Address),
        2 => date_text().prop_map(Attribute::BirthDate),
        1 => gender.prop_map(Attribute::Gender),
        1 => identifier,
        1 => custom,
    ]
}

/// What a source states about a customer, at moments from a small range so that ties happen.
pub fn stated_attributes() -> impl Strategy<Value = Vec<StatedAttribute>> {
    let stated = (attribute(), 0..3_i64).prop_map(|(attribute, stated_at_ms)| StatedAttribute {
        attribute,
        stated_at_ms,
    });
    prop::collection::vec(stated, 0..9)
}

/// A record ready to be compared.
pub fn normalised_record() -> impl Strategy<Value = NormalisedRecord> {
    stated_attributes().prop_map(|attributes| NormalisedRecord::new(&attributes, Region::US))
}

/// A comparison of every kind, the custom and identifier ones by names that [`attribute`] uses.
pub fn all_comparisons() -> Vec<Comparison> {
    vec![
        Comparison::GivenName,
        Comparison::FamilyName,
        Comparison::MiddleName,
        Comparison::Generation,
        Comparison::BirthDate,
        Comparison::Email,
        Comparison::Phone,
        Comparison::Address,
        Comparison::Gender,
        Comparison::Identifier("loyalty".to_owned()),
        Comparison::Identifier("device".to_owned()),
        Comparison::Custom("employer".to_owned()),
        Comparison::Custom("segment".to_owned()),
    ]
}
