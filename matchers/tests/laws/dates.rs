//! Birth dates.

use proptest::prelude::*;
use veridem_matchers::normalise::{PartialDate, normalise_date};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

fn read(written: &str) -> Option<String> {
    normalise_date(written).map(|date| date.to_string())
}

/// Texts shaped like dates, right and wrong ones.
fn date_text() -> impl Strategy<Value = String> {
    let part = || {
        prop_oneof![
            "[0-9]{1,4}",
            "[0-9]{2}",
            Just("March".to_owned()),
            Just("Jun".to_owned()),
            Just("24th".to_owned())
        ]
    };
    let mark = || prop::sample::select(vec!["-", "/", ".", " ", ", "]);
    prop_oneof![
        (part(), mark(), part(), mark(), part())
            .prop_map(
                |(one, first, two, second, three)| [&one, first, &two, second, &three].concat()
            ),
        "[0-9]{4,8}",
        "[0-9]{4}-[0-9]{2}(-[0-9]{2})?",
    ]
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn total_and_plausible(written in prop_oneof![any_text(), date_text()]) {
        if let Some(date) = normalise_date(&written) {
            prop_assert!(
                (1200..=2100).contains(&date.year) && date.month <= 99 && date.day <= 99,
                "{:?} became {:?}",
                written,
                date
            );
        }
    }

    #[test]
    fn what_is_shown_reads_back(written in prop_oneof![any_text(), date_text()]) {
        if let Some(date) = normalise_date(&written) {
            prop_assert_eq!(
                normalise_date(&date.to_string()),
                Some(date),
                "{:?} shows as {}",
                written,
                date
            );
        }
    }

    #[test]
    fn every_layout_says_the_same(year in 1905..2100_u16, month in 1..13_u8, day in 2..29_u8) {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let expected = PartialDate { year, month, day };
        let name = MONTHS[usize::from(month) - 1];
        let short = &name[..3];
        let layouts = [
            format!("{year}-{month:02}-{day:02}"),
            format!("{year}{month:02}{day:02}"),
            format!("{year}/{month}/{day}"),
            format!("{year}.{month:02}.{day:02}"),
            format!("{month:02}/{day:02}/{year}"),
            format!("{month}-{day}-{year}"),
            format!("{day:02}.{month:02}.{year}"),
            format!("{day} {name} {year}"),
            format!("{day}-{short}-{year}"),
            format!("{short} {day}, {year}"),
            format!("{} {day}th {year}", short.to_uppercase()),
            format!("{year} {short} {day}"),
            format!(" {year}-{month:02}-{day:02}T00:00:00Z "),
            format!("{year}-{month:02}-{day:02} 12:30:00.000"),
            format!("{month}/{day}/{year} 12:00:00 AM"),
        ];
        for layout in layouts {
            prop_assert_eq!(normalise_date(&layout), Some(expected), "{:?}", layout);
        }
    }

    #[test]
    fn a_month_written_out_may_stand_first(
        year in 1905..2100_u16,
        month in 0..12_usize,
        day in 2..29_u8,
    ) {
        let name = [
            "January", "February", "March", "April", "May", "June", "July", "August", "Sept",
            "October", "November", "December",
        ][month];
        let expected = PartialDate {
            year,
            month: month as u8 + 1,
            day,
        };
        prop_assert_eq!(
            normalise_date(&format!("{name} {day}, {year}")),
            Some(expected),
            "{} {}, {}",
            name,
            day,
            year
        );
        prop_assert_eq!(
            normalise_date(&format!("{name} {year}")),
            Some(PartialDate { day: 0, ..expected }),
            "{} {}",
            name,
            year
        );
    }

    #[test]
    fn eight_digits_with_the_year_last(year in 1905..2100_u16, month in 1..13_u8, day in 2..29_u8) {
        let written = format!("{month:02}{day:02}{year}");
        prop_assert_eq!(
            normalise_date(&written),
            Some(PartialDate { year, month, day }),
            "{}",
            written
        );
    }
}

#[test]
fn known_dates() {
    let table = [
        ("1978-03-24", Some("1978-03-24")),
        ("19780324", Some("1978-03-24")),
        ("03/24/1978", Some("1978-03-24")),
        ("24/03/1978", Some("1978-03-24")),
        ("24-03-1978", Some("1978-03-24")),
        ("13/03/1978", Some("1978-03-13")),
        ("12/03/1978", Some("1978-12-03")),
        ("24.03.1978", Some("1978-03-24")),
        ("03.24.1978", Some("1978-03-24")),
        ("04/03/1978", Some("1978-04-03")),
        ("04.03.1978", Some("1978-03-04")),
        ("24 March 1978", Some("1978-03-24")),
        ("24th of", None),
        ("Mar 24, 1978", Some("1978-03-24")),
        ("March 24th, 1978", Some("1978-03-24")),
        ("1978", Some("1978")),
        ("1978-03", Some("1978-03")),
        ("03/1978", Some("1978-03")),
        ("March 1978", Some("1978-03")),
        ("1978 Mar", Some("1978-03")),
        ("3/4/78", Some("1978-03-04")),
        ("3/4/05", Some("2005-03-04")),
        ("3/4/30", Some("2030-03-04")),
        ("3/4/31", Some("1931-03-04")),
        ("04.03.78", Some("1978-03-04")),
        ("1851-01-81", Some("1851-01-81")),
        ("1978-13-45", Some("1978-13-45")),
        ("13/32/1978", Some("1978-13-32")),
        ("1978-02-30", Some("1978-02-30")),
        ("1978-01-01", Some("1978-01-01")),
        ("1978-03-00", Some("1978-03")),
        ("1978-00-00", Some("1978")),
    ];
    assert_rows(
        table.map(|(written, expected)| (written, read(written), expected.map(str::to_owned))),
    );
}

#[test]
fn what_is_no_date_and_what_forms_put_in() {
    let written = [
        "",
        "-",
        "n/a",
        "unknown",
        "null",
        "0000-00-00",
        "00000000",
        "00/00/0000",
        "1900-01-01",
        "01/01/1900",
        "1901-01-01",
        "1970-01-01",
        "1970-01-01T00:00:00Z",
        "1899-12-30",
        "1899-12-31",
        "11/11/1111",
        "0001-01-01",
        "9999-12-31",
        "1199-05-05",
        "2101-05-05",
        "31",
        "197",
        "197803",
        "1978-03-24-05",
        "24 Foo 1978",
        "1978-1000-01",
        "yesterday",
        "42 years",
    ];
    assert_rows(written.map(|junk| (junk, read(junk), None)));
}

#[test]
fn zeros_with_a_short_year_are_no_date() {
    assert_rows(["00/00/00", "00-00-00", "00.00.00"].map(|junk| (junk, read(junk), None)));
}

#[test]
fn a_time_of_day_may_follow_every_layout() {
    for date in [
        "1978-03-24",
        "03/24/1978",
        "24.03.1978",
        "24 March 1978",
        "Mar 24, 1978",
        "24 OCT 1978",
    ] {
        for time in ["10:30", "00:00:00", "12:00:00 AM"] {
            let written = format!("{date} {time}");
            assert_eq!(read(&written), read(date), "{written:?}");
            assert!(read(date).is_some());
        }
    }
}

#[test]
fn a_day_without_its_month_reads_back() {
    let date = normalise_date("1978-00-24").expect("a date with an unknown month");
    assert_eq!(
        date,
        PartialDate {
            year: 1978,
            month: 0,
            day: 24
        }
    );
    assert_eq!(
        normalise_date(&date.to_string()),
        Some(date),
        "shown as {date}"
    );
}

#[test]
fn the_first_of_january_counts_as_a_year_alone() {
    let complete = |written: &str| normalise_date(written).expect("a date").is_complete();
    assert!(complete("1978-03-24") && complete("1978-01-02") && complete("1978-02-01"));
    assert!(!complete("1978-01-01") && !complete("1978") && !complete("1978-03"));
}

#[test]
fn digits_are_those_of_the_layout() {
    assert_eq!(
        normalise_date("1978-03-24").expect("a date").digits(),
        [1, 9, 7, 8, 0, 3, 2, 4]
    );
    assert_eq!(
        normalise_date("2001").expect("a date").digits(),
        [2, 0, 0, 1, 0, 0, 0, 0]
    );
}
