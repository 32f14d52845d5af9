//! Birth dates in the usual layouts, kept as written where a part is wrong: `1851-01-81` still tells something.

use rlibphonenumber::Region;
use serde::{Deserialize, Serialize};

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// A calendar date of which parts may be unknown (0) or, with a typing error, impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartialDate {
    /// Year, four digits.
    pub year: u16,
    /// Month 1 to 12 (to 99 with an error), 0 if unknown.
    pub month: u8,
    /// Day of the month 1 to 31 (to 99 with an error), 0 if unknown.
    pub day: u8,
}

impl PartialDate {
    /// Whether year, month and day are all known. The first of January is what systems write for a day that they do not
    /// know, so it counts as a year alone.
    pub fn is_complete(self) -> bool {
        self.month > 0 && self.day > 0 && (self.month, self.day) != (1, 1)
    }

    /// The eight digits `YYYYMMDD`.
    pub fn digits(self) -> [u8; 8] {
        let (year, month, day) = (self.year, u16::from(self.month), u16::from(self.day));
        [
            year / 1000,
            year / 100 % 10,
            year / 10 % 10,
            year % 10,
            month / 10,
            month % 10,
            day / 10,
            day % 10,
        ]
        .map(|digit| digit as u8)
    }
}

impl std::fmt::Display for PartialDate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:04}", self.year)?;
        if self.month > 0 || self.day > 0 {
            write!(formatter, "-{:02}", self.month)?;
        }
        if self.day > 0 {
            write!(formatter, "-{:02}", self.day)?;
        }
        Ok(())
    }
}

/// Reads `1978-03-24`, `19780324`, `03/24/1978`, `24.03.1978`, `24 March 1978`, `Mar 24, 1978`, `1978`, `1978-03`, with or
/// without a time of day. With slashes or hyphens and the year last, month first unless that is impossible; with full
/// stops day first. `None` for what is no date and for the dates that forms put in by themselves (`1900-01-01` …).
///
/// ```
/// use veridem_matchers::normalise::normalise_date;
/// assert_eq!(normalise_date("03/24/1978").unwrap().to_string(), "1978-03-24");
/// assert_eq!(normalise_date("24.03.1978").unwrap().to_string(), "1978-03-24");
/// assert!(normalise_date("0000-00-00").is_none());
/// ```
pub fn normalise_date(written: &str) -> Option<PartialDate> {
    read(written).map(|reading| reading.date)
}

/// The date that a text surely names: as [`normalise_date`], but `None` for a year of two digits, and where day and month could change
/// places and the country does not tell which comes first. `region` is the country whose habit the text follows, where that is known.
///
/// ```
/// use veridem_matchers::normalise::{Region, certain_date};
/// let read = |text, region| certain_date(text, region).map(|date| date.to_string());
/// assert_eq!(read("24/03/1978", None).as_deref(), Some("1978-03-24"));
/// assert_eq!(read("04/03/1978", None), None);
/// assert_eq!(read("04/03/1978", Some(Region::AU)).as_deref(), Some("1978-03-04"));
/// assert_eq!(read("04/03/1978", Some(Region::US)).as_deref(), Some("1978-04-03"));
/// ```
pub fn certain_date(written: &str, region: Option<Region>) -> Option<PartialDate> {
    let reading = read(written).filter(|reading| !reading.is_century_guessed)?;
    let PartialDate { year, month, day } = reading.date;
    if !reading.is_order_open {
        return Some(reading.date);
    }
    match region {
        Some(Region::US | Region::PH) => Some(reading.date),
        // Both are usual in Canada.
        None | Some(Region::CA) => None,
        Some(_) => Some(PartialDate {
            year,
            month: day,
            day: month,
        }),
    }
}

struct Reading {
    date: PartialDate,
    /// Day and month could change places.
    is_order_open: bool,
    is_century_guessed: bool,
}

impl From<PartialDate> for Reading {
    fn from(date: PartialDate) -> Self {
        Self {
            date,
            is_order_open: false,
            is_century_guessed: false,
        }
    }
}

fn read(written: &str) -> Option<Reading> {
    let text = written.trim();
    let date_text = match text.find(':') {
        Some(colon) => {
            let hour = text[..colon].trim_end_matches(|letter: char| letter.is_ascii_digit());
            hour.strip_suffix(['T', ' ']).unwrap_or(hour)
        }
        None => text,
    };
    let parts: Vec<&str> = date_text
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let reading = match parts.as_slice() {
        [one] if one.len() == 8 => from_digits(one)?,
        [year] if year.len() == 4 => Reading::from(PartialDate {
            year: year.parse().ok()?,
            month: 0,
            day: 0,
        }),
        [year, month] if is_year(year) => Reading::from(PartialDate {
            year: year.parse().ok()?,
            month: month_number(month)?,
            day: 0,
        }),
        [month, year] if is_year(year) => Reading::from(PartialDate {
            year: year.parse().ok()?,
            month: month_number(month)?,
            day: 0,
        }),
        [year, month, day] if is_year(year) => Reading::from(PartialDate {
            year: year.parse().ok()?,
            month: month_number(month)?,
            day: small(day)?,
        }),
        [first, second, year] => with_year_last(first, second, year, date_text.contains('.'))?,
        _ => return None,
    };
    is_plausible(reading.date).then_some(reading)
}

fn is_year(part: &str) -> bool {
    part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn from_digits(digits: &str) -> Option<Reading> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, month, day): (u16, u8, u8) = (
        digits[..4].parse().ok()?,
        digits[4..6].parse().ok()?,
        digits[6..].parse().ok()?,
    );
    let year_first = PartialDate { year, month, day };
    if (1200..=2100).contains(&year)
        && ((1..=12).contains(&month) || !(1900..=2100).contains(&digits[4..].parse::<u16>().ok()?))
    {
        return Some(year_first.into());
    }
    with_year_last(&digits[..2], &digits[2..4], &digits[4..], false)
}

fn with_year_last(first: &str, second: &str, year: &str, day_first: bool) -> Option<Reading> {
    let is_century_guessed = year.len() == 2;
    let reading = |date| Reading {
        date,
        is_order_open: false,
        is_century_guessed,
    };
    let year = match (year.len(), year.parse::<u16>().ok()?) {
        (2, short) if short <= 30 => 2000 + short,
        (2, short) => 1900 + short,
        (4, long) => long,
        _ => return None,
    };
    if first.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Some(reading(PartialDate {
            year,
            month: month_number(first)?,
            day: small(second)?,
        }));
    }
    if second.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Some(reading(PartialDate {
            year,
            month: month_number(second)?,
            day: small(first)?,
        }));
    }
    let (first, second) = (small(first)?, small(second)?);
    // `00/00/00` is an empty date, not a year.
    if (first, second, year) == (0, 0, 2000) {
        return None;
    }
    let is_order_open = !day_first && first != second && first.max(second) <= 12;
    let day_first = if day_first {
        second <= 12
    } else {
        first > 12 && second <= 12
    };
    let (month, day) = if day_first {
        (second, first)
    } else {
        (first, second)
    };
    Some(Reading {
        is_order_open,
        ..reading(PartialDate { year, month, day })
    })
}

fn small(part: &str) -> Option<u8> {
    let digits = part.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    digits.parse().ok().filter(|number| *number <= 99)
}

fn month_number(part: &str) -> Option<u8> {
    if part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        let short = part[..3].to_ascii_lowercase();
        return MONTHS
            .iter()
            .position(|month| *month == short)
            .map(|index| index as u8 + 1);
    }
    small(part)
}

fn is_plausible(date: PartialDate) -> bool {
    let put_in_by_forms = matches!(
        (date.year, date.month, date.day),
        (1900 | 1901 | 1970, 1, 1) | (1899, 12, 30 | 31) | (1111, 11, 11)
    );
    (1200..=2100).contains(&date.year) && !put_in_by_forms
}
