//! An example pair for each level of each comparison. Splink's conditions are asked of these pairs: the level whose
//! condition an example fulfils first is the one that the pairs of Veridem's level fall into. A test holds each
//! example to its level.

use crate::compare::Comparison;

/// A value that comparisons look at: what a column may hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComparedValue {
    /// Given name.
    GivenName,
    /// Middle names.
    MiddleName,
    /// Family name.
    FamilyName,
    /// Given and family name in one.
    FullName,
    /// Generation: Jr, Sr, III.
    Generation,
    /// Birth date.
    BirthDate,
    /// E-mail address.
    Email,
    /// Phone number.
    Phone,
    /// Street line.
    Street,
    /// House number.
    StreetNumber,
    /// Unit or second address line.
    Unit,
    /// City.
    City,
    /// State or region.
    Region,
    /// Postcode.
    Postcode,
    /// Gender.
    Gender,
    /// Identifier of the named scheme.
    Identifier(String),
    /// Custom attribute of the given name.
    Custom(String),
}

impl ComparedValue {
    /// The comparisons that look at it.
    pub fn comparisons(&self) -> Vec<Comparison> {
        vec![match self {
            Self::GivenName => Comparison::GivenName,
            Self::MiddleName => Comparison::MiddleName,
            Self::FamilyName => Comparison::FamilyName,
            Self::FullName => return vec![Comparison::GivenName, Comparison::FamilyName],
            Self::Generation => Comparison::Generation,
            Self::BirthDate => Comparison::BirthDate,
            Self::Email => Comparison::Email,
            Self::Phone => Comparison::Phone,
            Self::Street
            | Self::StreetNumber
            | Self::Unit
            | Self::City
            | Self::Region
            | Self::Postcode => Comparison::Address,
            Self::Gender => Comparison::Gender,
            Self::Identifier(scheme) => Comparison::Identifier(scheme.clone()),
            Self::Custom(name) => Comparison::Custom(name.clone()),
        }]
    }
}

/// The values of a pair: of what kind, what the left and what the right record holds, empty where it is missing.
pub(super) type ExamplePair = Vec<(ComparedValue, &'static str, &'static str)>;

/// One example pair a level of the comparison, strongest first.
pub(super) fn example_pairs(comparison: &Comparison) -> Vec<ExamplePair> {
    use ComparedValue::{FamilyName, GivenName, MiddleName};
    match comparison {
        Comparison::GivenName => {
            let names = |given: (&'static str, &'static str), more: ExamplePair| {
                let mut pair = vec![(GivenName, given.0, given.1)];
                pair.extend(more);
                pair
            };
            vec![
                names(("marlene", "marlene"), vec![]),
                names(("robert", "bob"), vec![]),
                names(("marlene", "marlena"), vec![]),
                names(("marlene", "m"), vec![]),
                names(("marlene", "sophie"), vec![(MiddleName, "", "marlene")]),
                names(
                    ("marlene", "kowalski"),
                    vec![(FamilyName, "kowalski", "marlene")],
                ),
                names(("marlene", "marilyn"), vec![]),
                names(("marlene", "sophie"), vec![]),
            ]
        }
        Comparison::FamilyName => of_one(
            FamilyName,
            &[
                ("kowalski", "kowalski"),
                ("kowalski", "kowalsky"),
                ("garcia lopez", "lopez"),
                ("kowalski", "konarski"),
                ("kowalski", "brennan"),
            ],
        ),
        Comparison::MiddleName => of_one(
            MiddleName,
            &[
                ("theresa", "theresa"),
                ("theresa", "t"),
                ("theresa", "therese"),
                ("theresa", "clara"),
            ],
        ),
        Comparison::Generation => of_one(ComparedValue::Generation, &[("jr", "jr"), ("jr", "sr")]),
        // Two equal parts: the day is what clerks get wrong most often.
        Comparison::BirthDate => of_one(
            ComparedValue::BirthDate,
            &[
                ("1984-06-17", "1984-06-17"),
                ("1984-06-17", "1984-06-12"),
                ("1984-06-17", "1984-06-28"),
                ("1984-06-17", "1984-11-02"),
                ("1984-06-17", "1985-03-28"),
                ("1984-06-17", "1951-10-29"),
            ],
        ),
        Comparison::Email => of_one(
            ComparedValue::Email,
            &[
                ("sunflower77@web.org", "sunflower77@web.org"),
                ("sunflower77@web.org", "sunflower78@web.org"),
                ("sunflower77@web.org", "sunflower77@mail.com"),
                ("marlene.kowalski@web.org", "marlene.kowalski@mail.com"),
                ("sunflower77@web.org", "sunflake7@mail.com"),
                ("sunflower77@web.org", "bigtrucker@mail.com"),
            ],
        ),
        Comparison::Phone => of_one(
            ComparedValue::Phone,
            &[
                ("2127365001", "2127365001"),
                ("2127365001", "2127365007"),
                ("2127365001", "6469830442"),
            ],
        ),
        Comparison::Address => addresses(),
        Comparison::Gender => of_one(
            ComparedValue::Gender,
            &[("female", "female"), ("female", "male")],
        ),
        Comparison::Identifier(scheme) => of_one(
            ComparedValue::Identifier(scheme.clone()),
            &[
                ("L6006561", "L6006561"),
                ("L6006561", "L6006567"),
                ("L6006561", "K1278934"),
            ],
        ),
        Comparison::Custom(name) => of_one(
            ComparedValue::Custom(name.clone()),
            &[
                ("bricklayer", "bricklayer"),
                ("bricklayer", "bricklayers"),
                ("bricklayer", "brickworker"),
                ("bricklayer", "surgeon"),
            ],
        ),
    }
}

fn of_one(value: ComparedValue, pairs: &[(&'static str, &'static str)]) -> Vec<ExamplePair> {
    let pairs = pairs.iter();
    pairs
        .map(|(left, right)| vec![(value.clone(), *left, *right)])
        .collect()
}

/// British postcodes, with the space that Splink's patterns ask for. Strangers of one street name, and of one street
/// name and number, are mostly of two places, so these examples are.
fn addresses() -> Vec<ExamplePair> {
    type Parts = [&'static str; 5];
    let home: Parts = ["12", "harbour lane", "leeds", "yorkshire", "LS1 4AP"];
    let others: [Parts; 8] = [
        home,
        ["12", "harbour lane", "truro", "cornwall", "TR1 2QR"],
        ["85", "harbour lane", "truro", "cornwall", "TR1 2QR"],
        ["41", "station road", "leeds", "yorkshire", "LS1 4AP"],
        ["41", "station road", "leeds", "yorkshire", "LS1 4BP"],
        ["41", "station road", "leeds", "yorkshire", "LS17 8TW"],
        ["41", "station road", "bradford", "yorkshire", "BD3 9QQ"],
        ["41", "station road", "truro", "cornwall", "TR1 2QR"],
    ];
    let pair = |other: Parts| {
        let [number, street, city, region, postcode] =
            [0, 1, 2, 3, 4].map(|part| (home[part], other[part]));
        vec![
            (ComparedValue::StreetNumber, number.0, number.1),
            (ComparedValue::Street, street.0, street.1),
            (ComparedValue::City, city.0, city.1),
            (ComparedValue::Region, region.0, region.1),
            (ComparedValue::Postcode, postcode.0, postcode.1),
        ]
    };
    others.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::{NormalisedRecord, Region};
    use crate::record::{
        Attribute, CustomAttribute, Identifier, PersonName, PostalAddress, StatedAttribute,
    };

    /// One side of a pair as a source would state it; who has no name in it is called Marlene Kowalski.
    fn record(pair: &ExamplePair, left: bool) -> NormalisedRecord {
        let mut name = PersonName {
            given: "Marlene".into(),
            family: "Kowalski".into(),
            ..PersonName::default()
        };
        let mut address = PostalAddress::default();
        let mut attributes = Vec::new();
        for (value, one, other) in pair {
            let text = if left { *one } else { *other }.to_owned();
            match value {
                ComparedValue::GivenName => name.given = text,
                ComparedValue::MiddleName => name.middle = text,
                ComparedValue::FamilyName => name.family = text,
                ComparedValue::Generation => name.suffix = text,
                ComparedValue::FullName => unreachable!("examples have the parts"),
                ComparedValue::BirthDate => attributes.push(Attribute::BirthDate(text)),
                ComparedValue::Email => attributes.push(Attribute::Email(text)),
                ComparedValue::Phone => attributes.push(Attribute::Phone(text)),
                ComparedValue::Street => address.street = text,
                ComparedValue::StreetNumber => address.number = text,
                ComparedValue::Unit => address.unit = text,
                ComparedValue::City => address.city = text,
                ComparedValue::Region => address.region = text,
                ComparedValue::Postcode => address.postcode = text,
                ComparedValue::Gender => attributes.push(Attribute::Gender(text)),
                ComparedValue::Identifier(scheme) => {
                    attributes.push(Attribute::Identifier(Identifier {
                        scheme: scheme.clone(),
                        value: text,
                    }));
                }
                ComparedValue::Custom(name) => {
                    attributes.push(Attribute::Custom(CustomAttribute {
                        name: name.clone(),
                        value: text,
                    }))
                }
            }
        }
        attributes.extend([Attribute::Name(name), Attribute::Address(address)]);
        let stated = attributes.into_iter().map(|attribute| StatedAttribute {
            attribute,
            stated_at_ms: 0,
        });
        NormalisedRecord::new(&stated.collect::<Vec<_>>(), Region::US)
    }

    #[test]
    fn each_example_falls_into_its_level() {
        let named = [
            Comparison::Identifier("loyalty".to_owned()),
            Comparison::Custom("occupation".to_owned()),
        ];
        for comparison in Comparison::UNNAMED.into_iter().chain(named) {
            let levels: Vec<Option<&str>> = example_pairs(&comparison)
                .iter()
                .map(|pair| {
                    let (left, right) = (record(pair, true), record(pair, false));
                    let agreement = comparison.compare(&left, &right)?;
                    Some(comparison.levels()[usize::from(agreement.level)])
                })
                .collect();
            let expected: Vec<Option<&str>> =
                comparison.levels().iter().copied().map(Some).collect();
            assert_eq!(levels, expected, "{comparison}");
        }
    }
}
