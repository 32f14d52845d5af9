//! What the columns of a bulk file mean: recognised by name and content, or said in a mapping file.

use std::collections::BTreeMap;

use csv::StringRecord;
use serde::{Deserialize, Serialize};
use veridem_matchers::normalise::{fold, normalise_date, normalise_email};

use super::roles::{COLUMN_NAMES, ColumnRole, role_names};

/// Values looked at to recognise a column.
pub(super) const SAMPLE_ROWS: usize = 1000;

/// Values from which on they say what a column is that no name tells.
const MIN_VALUES: usize = 20;
/// Dates of which half lie before this year are those of births.
const LATEST_MEDIAN_BIRTH_YEAR: u16 = 1995;

/// What the columns of a file mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// One role a column.
    pub roles: Vec<ColumnRole>,
}

/// What the person wrote.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MappingFile {
    columns: BTreeMap<String, String>,
}

/// Why a mapping is refused.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// Not a mapping file.
    #[error("mapping file: {0}")]
    Malformed(#[from] toml::de::Error),
    /// A column that the file does not have.
    #[error("mapping names the column \"{column}\", the file has {}", .known.join(", "))]
    UnknownColumn {
        /// The column.
        column: String,
        /// What the file has.
        known: Vec<String>,
    },
    /// A role that is none.
    #[error(
        "mapping of column \"{column}\": unknown role \"{role}\"; use one of {}, identifier.<scheme>, custom.<name>",
        role_names()
    )]
    UnknownRole {
        /// The column.
        column: String,
        /// What was written.
        role: String,
    },
}

impl Mapping {
    /// Recognises columns by their names, then by what stands in them. `sample` holds rows in the order of `columns`.
    pub fn recognise(columns: &[String], sample: &[StringRecord]) -> Self {
        let mut roles: Vec<ColumnRole> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| recognise(column, &column_values(sample, index)))
            .collect();
        // A second street column is the unit line, and where streets have names of their own `address_2` is one.
        keep_first(&mut roles, &ColumnRole::RecordId, |index| {
            ColumnRole::Identifier(scheme_of(&columns[index]))
        });
        if !roles.contains(&ColumnRole::RecordId)
            && let Some(key) = (0..columns.len()).find(|index| {
                is_key(
                    &columns[*index],
                    &roles[*index],
                    &column_values(sample, *index),
                    sample.len(),
                )
            })
        {
            roles[key] = ColumnRole::RecordId;
        }
        keep_first(&mut roles, &ColumnRole::Source, |_| ColumnRole::Ignore);
        keep_first(&mut roles, &ColumnRole::Street, |_| ColumnRole::Unit);
        let has_parts =
            roles.contains(&ColumnRole::GivenName) && roles.contains(&ColumnRole::FamilyName);
        keep_first(&mut roles, &ColumnRole::FullName, |_| ColumnRole::Ignore);
        if has_parts {
            // `full_name` beside its parts repeats them; it is kept for the middle names only.
            let names = columns.iter().map(|column| letters(column));
            for (role, name) in roles.iter_mut().zip(names) {
                if *role == ColumnRole::Custom("first_and_surname".to_owned())
                    || (name.contains("firstand") && name.contains("name"))
                {
                    *role = ColumnRole::Ignore;
                }
            }
        }
        Self { roles }
    }

    /// Reads a mapping file (`[columns]`, `"Column name" = "role"`); columns that it does not name are recognised.
    pub fn from_toml(
        text: &str,
        columns: &[String],
        sample: &[StringRecord],
    ) -> Result<Self, MappingError> {
        let file: MappingFile = toml::from_str(text)?;
        let mut mapping = Self::recognise(columns, sample);
        for (column, role) in &file.columns {
            let index = columns
                .iter()
                .position(|known| known == column)
                .ok_or_else(|| MappingError::UnknownColumn {
                    column: column.clone(),
                    known: columns.to_vec(),
                })?;
            mapping.roles[index] =
                ColumnRole::from_name(role).ok_or_else(|| MappingError::UnknownRole {
                    column: column.clone(),
                    role: role.clone(),
                })?;
        }
        Ok(mapping)
    }

    /// Whether any column says something about a person.
    pub fn has_evidence(&self) -> bool {
        self.roles.iter().any(|role| {
            !matches!(
                role,
                ColumnRole::RecordId
                    | ColumnRole::Source
                    | ColumnRole::UpdatedAt
                    | ColumnRole::Ignore
            )
        })
    }
}

fn keep_first(roles: &mut [ColumnRole], kept: &ColumnRole, other: impl Fn(usize) -> ColumnRole) {
    let mut seen = false;
    for (index, role) in roles.iter_mut().enumerate() {
        if role == kept {
            if seen {
                *role = other(index);
            }
            seen = true;
        }
    }
}

fn column_values(sample: &[StringRecord], index: usize) -> Vec<&str> {
    sample
        .iter()
        .filter_map(|row| row.get(index))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .collect()
}

fn letters(column: &str) -> String {
    column
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase()
}

fn scheme_of(column: &str) -> String {
    let folded = fold(column);
    let words: Vec<&str> = folded
        .split(' ')
        .filter(|word| !matches!(*word, "id" | "number" | "no" | "num" | "nr" | "code"))
        .collect();
    if words.is_empty() {
        folded.replace(' ', "_")
    } else {
        words.join("_")
    }
}

fn recognise(column: &str, values: &[&str]) -> ColumnRole {
    let name = letters(column);
    let dated = |role| match role {
        ColumnRole::BirthDate { .. } => ColumnRole::BirthDate {
            day_first: is_day_first(values),
        },
        other => other,
    };
    if let Some(role) = of_known_name(&name) {
        return dated(role);
    }
    let share = |holds: &dyn Fn(&str) -> bool| {
        values.iter().filter(|value| holds(value)).count() as f64 / values.len().max(1) as f64
    };
    if !values.is_empty()
        && share(&|value| value.contains('@') && normalise_email(value).is_some()) > 0.5
    {
        return ColumnRole::Email;
    }
    if let Some(role) = of_part_of_name(&name, column) {
        return dated(role);
    }
    let is_international = |value: &str| {
        value.starts_with('+') && value.bytes().filter(u8::is_ascii_digit).count() >= 8
    };
    if !values.is_empty() && share(&is_international) > 0.5 {
        return ColumnRole::Phone;
    }
    let date = |value: &str| {
        let is_written_out = value.len() >= 8 && value.contains(['-', '/', '.']);
        is_written_out.then(|| normalise_date(value)).flatten()
    };
    if !values.is_empty() && share(&|value| date(value).is_some()) > 0.8 {
        // Most people were born before most of what is kept about them was done. Any other date says when something was done,
        // not who did it.
        let dates = values.iter().filter_map(|value| date(value));
        let mut years: Vec<u16> = dates.map(|date| date.year).collect();
        years.sort_unstable();
        let is_birth = years
            .get(years.len() / 2)
            .is_some_and(|median| *median < LATEST_MEDIAN_BIRTH_YEAR);
        return if is_birth && years.len() >= MIN_VALUES {
            dated(ColumnRole::BirthDate { day_first: false })
        } else {
            ColumnRole::Ignore
        };
    }
    let distinct: std::collections::BTreeSet<&&str> = values.iter().collect();
    if distinct.len() < 2 {
        return ColumnRole::Ignore;
    }
    custom(column)
}

/// Whether a column that has no other meaning is the key of the records: called a number, and another one in every row.
fn is_key(column: &str, role: &ColumnRole, values: &[&str], rows: usize) -> bool {
    let name = letters(column);
    let is_number = ["nr", "no", "num", "key", "pk", "code", "nummer", "numero"]
        .iter()
        .any(|ending| name.ends_with(ending));
    let is_free = matches!(role, ColumnRole::Custom(_) | ColumnRole::Identifier(_));
    let distinct: std::collections::BTreeSet<&&str> = values.iter().collect();
    is_number && is_free && rows >= MIN_VALUES && distinct.len() == rows
}

/// The role of a column whose values are not at hand.
pub(super) fn recognise_by_name(column: &str) -> ColumnRole {
    let name = letters(column);
    let has_any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let is_whole_name = has_any(&["firstand", "firstname", "forename", "givenname"])
        && has_any(&["surname", "lastname", "familyname"]);
    of_known_name(&name)
        .or_else(|| is_whole_name.then_some(ColumnRole::FullName))
        .or_else(|| of_part_of_name(&name, column))
        .unwrap_or_else(|| custom(column))
}

fn of_known_name(name: &str) -> Option<ColumnRole> {
    let known = COLUMN_NAMES.iter().find(|(_, names)| names.contains(&name));
    known.map(|(role, _)| role.clone())
}

fn of_part_of_name(name: &str, column: &str) -> Option<ColumnRole> {
    let contains = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if contains(&["phone", "mobile"]) {
        return Some(ColumnRole::Phone);
    }
    if contains(&["email"]) {
        return Some(ColumnRole::Email);
    }
    if contains(&["birthdate", "dateofbirth"]) {
        return Some(ColumnRole::BirthDate { day_first: false });
    }
    if contains(&["postcode", "zipcode", "postalcode"]) {
        return Some(ColumnRole::Postcode);
    }
    let ends = |parts: &[&str]| parts.iter().any(|part| name.ends_with(part));
    if ends(&[
        "id", "number", "ssn", "card", "passport", "iban", "token", "account", "licence",
        "license", "receipt",
    ]) && !name.contains("name")
    {
        return Some(ColumnRole::Identifier(scheme_of(column)));
    }
    None
}

fn custom(column: &str) -> ColumnRole {
    ColumnRole::Custom(fold(column).replace(' ', "_"))
}

/// Whether the values put the day before the month: somewhere the first number is above 12, nowhere the second.
fn is_day_first(values: &[&str]) -> bool {
    let numbers = |value: &str| -> Option<(u32, u32)> {
        let mut parts = value.split(['/', '-']);
        let (first, second) = (parts.next()?, parts.next()?);
        (first.len() <= 2).then_some((first.parse().ok()?, second.parse().ok()?))
    };
    let pairs: Vec<(u32, u32)> = values.iter().filter_map(|value| numbers(value)).collect();
    pairs.iter().any(|(first, _)| *first > 12) && !pairs.iter().any(|(_, second)| *second > 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn columns_are_recognised_by_name_and_content() {
        let names = columns(&[
            "Customer Key",
            "First Name",
            "surname",
            "contact",
            "DOB",
            "Loyalty ID",
            "favourite",
            "cluster",
        ]);
        let row = |contact: &str, born: &str, favourite: &str| {
            StringRecord::from(vec![
                "1", "Ann", "Lee", contact, born, "L1234", favourite, "7",
            ])
        };
        let mapping = Mapping::recognise(
            &names,
            &[
                row("ann@lee.org", "24/03/1978", "tea"),
                row("bo@lee.org", "03/04/1978", "milk"),
            ],
        );
        assert_eq!(
            mapping.roles,
            vec![
                ColumnRole::RecordId,
                ColumnRole::GivenName,
                ColumnRole::FamilyName,
                ColumnRole::Email,
                ColumnRole::BirthDate { day_first: true },
                ColumnRole::Identifier("loyalty".into()),
                ColumnRole::Custom("favourite".into()),
                ColumnRole::Ignore,
            ]
        );
    }

    #[test]
    fn what_no_name_tells_the_values_do() {
        let names = columns(&["Kunden-Nr", "Rufnr", "Geb.", "Seit", "Filiale"]);
        let rows: Vec<StringRecord> = (0..40)
            .map(|index| {
                StringRecord::from(vec![
                    format!("{}", 1_000 + index),
                    format!("+49 170 85412{index:02}"),
                    format!("03.04.{}", 1950 + index),
                    format!("03.04.{}", 2000 + index % 20),
                    ["Nord", "Süd"][index % 2].to_owned(),
                ])
            })
            .collect();
        let wanted = vec![
            ColumnRole::RecordId,
            ColumnRole::Phone,
            ColumnRole::BirthDate { day_first: false },
            ColumnRole::Ignore,
            ColumnRole::Custom("filiale".into()),
        ];
        assert_eq!(Mapping::recognise(&names, &rows).roles, wanted);
        // A handful of rows says too little, and a number that comes twice is no key.
        let few = Mapping::recognise(&names, &rows[..5]).roles;
        assert_eq!(
            (&few[0], &few[2]),
            (&ColumnRole::Custom("kunden_nr".into()), &ColumnRole::Ignore)
        );
        let twice = [rows.clone(), rows[..1].to_vec()].concat();
        assert_eq!(
            Mapping::recognise(&names, &twice).roles[0],
            ColumnRole::Custom("kunden_nr".into())
        );
    }

    #[test]
    fn a_mapping_file_names_its_mistakes() {
        let names = columns(&["a", "b"]);
        let unknown_column = Mapping::from_toml("[columns]\nc = \"email\"", &names, &[])
            .unwrap_err()
            .to_string();
        assert!(
            unknown_column.contains("\"c\"") && unknown_column.contains("a, b"),
            "{unknown_column}"
        );
        let unknown_role = Mapping::from_toml("[columns]\na = \"mial\"", &names, &[])
            .unwrap_err()
            .to_string();
        assert!(
            unknown_role.contains("\"mial\"") && unknown_role.contains("email"),
            "{unknown_role}"
        );
    }
}
