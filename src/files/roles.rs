//! The meanings that a column may have, and the names by which they are known.

use veridem_matchers::model::ComparedValue;

use super::columns::recognise_by_name;

/// The meaning of one column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnRole {
    /// The source's key of the customer.
    RecordId,
    /// The source system.
    Source,
    /// Given name.
    GivenName,
    /// Middle names.
    MiddleName,
    /// Family name.
    FamilyName,
    /// An earlier family name.
    MaidenName,
    /// Name suffix.
    NameSuffix,
    /// Whole name.
    FullName,
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
    /// Country.
    Country,
    /// Birth date; whether `03/04/1978` is the third of April.
    BirthDate {
        /// Day before month.
        day_first: bool,
    },
    /// Gender.
    Gender,
    /// Identifier of a scheme.
    Identifier(String),
    /// Custom attribute.
    Custom(String),
    /// When the record was last changed: seconds or milliseconds since the Unix epoch, or a date.
    UpdatedAt,
    /// Not used.
    Ignore,
}

/// Names under which the roles are written in a mapping file.
const ROLE_NAMES: &[(&str, ColumnRole)] = &[
    ("record_id", ColumnRole::RecordId),
    ("source", ColumnRole::Source),
    ("given_name", ColumnRole::GivenName),
    ("middle_name", ColumnRole::MiddleName),
    ("family_name", ColumnRole::FamilyName),
    ("maiden_name", ColumnRole::MaidenName),
    ("name_suffix", ColumnRole::NameSuffix),
    ("full_name", ColumnRole::FullName),
    ("email", ColumnRole::Email),
    ("phone", ColumnRole::Phone),
    ("street", ColumnRole::Street),
    ("street_number", ColumnRole::StreetNumber),
    ("unit", ColumnRole::Unit),
    ("city", ColumnRole::City),
    ("region", ColumnRole::Region),
    ("postcode", ColumnRole::Postcode),
    ("country", ColumnRole::Country),
    ("birth_date", ColumnRole::BirthDate { day_first: false }),
    (
        "birth_date_day_first",
        ColumnRole::BirthDate { day_first: true },
    ),
    ("gender", ColumnRole::Gender),
    ("updated_at", ColumnRole::UpdatedAt),
    ("ignore", ColumnRole::Ignore),
];

/// Column names by role, letters and digits only.
pub(super) const COLUMN_NAMES: &[(ColumnRole, &[&str])] = &[
    (
        ColumnRole::RecordId,
        &[
            "recordid",
            "recid",
            "id",
            "rowid",
            "uid",
            "uniqueid",
            "sourcerecordid",
            "customerkey",
        ],
    ),
    (
        ColumnRole::Source,
        &[
            "source",
            "sourcesystem",
            "system",
            "datasource",
            "sourcedataset",
        ],
    ),
    (
        ColumnRole::GivenName,
        &[
            "firstname",
            "givenname",
            "forename",
            "fname",
            "first",
            "given",
            "vorname",
            "prenom",
            "nombre",
            "firstnames",
            "givennames",
            "forenames",
        ],
    ),
    (
        ColumnRole::MiddleName,
        &[
            "middlename",
            "mname",
            "middle",
            "middleinitial",
            "middlenames",
            "secondname",
        ],
    ),
    (
        ColumnRole::FamilyName,
        &[
            "lastname",
            "surname",
            "familyname",
            "lname",
            "last",
            "family",
            "nachname",
            "nom",
            "apellido",
            "apellidos",
        ],
    ),
    (
        ColumnRole::MaidenName,
        &[
            "maidenname",
            "birthname",
            "formername",
            "previoussurname",
            "geburtsname",
        ],
    ),
    (
        ColumnRole::NameSuffix,
        &["suffix", "namesuffix", "generation"],
    ),
    (
        ColumnRole::FullName,
        &[
            "fullname",
            "name",
            "customername",
            "personname",
            "displayname",
            "contactname",
        ],
    ),
    (
        ColumnRole::Email,
        &[
            "email",
            "emailaddress",
            "mail",
            "email1",
            "email2",
            "secondaryemail",
            "primaryemail",
        ],
    ),
    (
        ColumnRole::Phone,
        &[
            "phone",
            "phonenumber",
            "telephone",
            "tel",
            "mobile",
            "cell",
            "cellphone",
            "mobilephone",
            "homephone",
            "workphone",
            "phone1",
            "phone2",
            "mobilenumber",
            "telephonenumber",
            "msisdn",
        ],
    ),
    (
        ColumnRole::Street,
        &[
            "street",
            "address",
            "address1",
            "streetaddress",
            "addr",
            "addressline1",
            "line1",
            "addressline",
            "addr1",
            "streetname",
            "strasse",
            "fulladdress",
        ],
    ),
    (
        ColumnRole::StreetNumber,
        &[
            "streetnumber",
            "housenumber",
            "housenum",
            "streetno",
            "hausnummer",
        ],
    ),
    (
        ColumnRole::Unit,
        &[
            "unit",
            "apartment",
            "apt",
            "suite",
            "address2",
            "addressline2",
            "line2",
            "addr2",
            "flat",
        ],
    ),
    (
        ColumnRole::City,
        &[
            "city", "town", "suburb", "locality", "cityname", "ort", "stadt", "ville", "ciudad",
        ],
    ),
    (
        ColumnRole::Region,
        &[
            "state",
            "province",
            "region",
            "county",
            "statecode",
            "stateprovince",
        ],
    ),
    (
        ColumnRole::Postcode,
        &[
            "zip",
            "zipcode",
            "postcode",
            "postalcode",
            "postcodefake",
            "plz",
            "zip5",
            "codepostal",
        ],
    ),
    (ColumnRole::Country, &["country", "countrycode", "land"]),
    (
        ColumnRole::BirthDate { day_first: false },
        &[
            "dob",
            "birthdate",
            "dateofbirth",
            "birthday",
            "born",
            "birth",
            "geburtsdatum",
            "birthyear",
            "yearofbirth",
        ],
    ),
    (ColumnRole::Gender, &["gender", "sex", "geschlecht"]),
    (
        ColumnRole::UpdatedAt,
        &[
            "updatedat",
            "lastupdated",
            "updated",
            "modified",
            "modifiedat",
            "lastmodified",
            "timestamp",
            "createdat",
            "eventtime",
            "lastseen",
        ],
    ),
    // The answer of a labelled set must not be read as evidence.
    (
        ColumnRole::Ignore,
        &[
            "cluster",
            "clusterid",
            "truecluster",
            "entityid",
            "entid",
            "trueid",
            "label",
            "goldid",
            "groundtruth",
            "identityid",
        ],
    ),
];

/// All names, for an error message.
pub(super) fn role_names() -> String {
    ROLE_NAMES
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

impl ColumnRole {
    /// The role of a column of which only the name is known, as in a model of another tool.
    pub fn of_name(column: &str) -> Self {
        recognise_by_name(column)
    }

    /// What comparisons find in such a column; `None` where they do not look at it.
    pub fn compared_value(&self) -> Option<ComparedValue> {
        Some(match self {
            Self::GivenName => ComparedValue::GivenName,
            Self::MiddleName => ComparedValue::MiddleName,
            Self::FamilyName | Self::MaidenName => ComparedValue::FamilyName,
            Self::NameSuffix => ComparedValue::Generation,
            Self::FullName => ComparedValue::FullName,
            Self::Email => ComparedValue::Email,
            Self::Phone => ComparedValue::Phone,
            Self::Street => ComparedValue::Street,
            Self::StreetNumber => ComparedValue::StreetNumber,
            Self::Unit => ComparedValue::Unit,
            Self::City => ComparedValue::City,
            Self::Region => ComparedValue::Region,
            Self::Postcode => ComparedValue::Postcode,
            Self::BirthDate { .. } => ComparedValue::BirthDate,
            Self::Gender => ComparedValue::Gender,
            Self::Identifier(scheme) => ComparedValue::Identifier(scheme.clone()),
            Self::Custom(name) => ComparedValue::Custom(name.clone()),
            Self::RecordId | Self::Source | Self::Country | Self::UpdatedAt | Self::Ignore => {
                return None;
            }
        })
    }

    /// The name under which the role is written in a mapping file.
    pub fn name(&self) -> String {
        match self {
            Self::Identifier(scheme) => format!("identifier.{scheme}"),
            Self::Custom(name) => format!("custom.{name}"),
            other => ROLE_NAMES
                .iter()
                .find(|(_, role)| role == other)
                .map_or_else(String::new, |(name, _)| (*name).to_owned()),
        }
    }

    /// The role of a name in a mapping file.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.split_once('.') {
            Some(("identifier", scheme)) if !scheme.is_empty() => {
                Some(Self::Identifier(scheme.to_owned()))
            }
            Some(("custom", custom)) if !custom.is_empty() => Some(Self::Custom(custom.to_owned())),
            _ => ROLE_NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, role)| role.clone()),
        }
    }
}
