//! Filters for what consumers are strict about: lengths, dates, phone numbers, gender. What is null stays null.

use std::fmt;
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use minijinja::value::{Object, ObjectRepr, Value as JinjaValue};
use minijinja::{Environment, Error, ErrorKind};
use veridem_matchers::normalise::{Region, certain_date, fold, normalise_phone, phone_region};

/// What a filter answers for a value that the consumer cannot take. A field of it is left out, so that nothing is cleared there; in an
/// expression it is false.
#[derive(Debug)]
struct Unfit;

impl Object for Unfit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

pub(super) fn is_unfit(value: &JinjaValue) -> bool {
    value.downcast_object_ref::<Unfit>().is_some()
}

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("cut", cut);
    environment.add_filter("within", within);
    environment.add_filter("iso_date", iso_date);
    environment.add_filter("odata_date", odata_date);
    environment.add_filter("e164", e164);
    environment.add_filter("gender", gender);
}

fn fit(value: JinjaValue, form: impl FnOnce(&str) -> Option<String>) -> JinjaValue {
    if value.is_undefined() || value.is_none() || is_unfit(&value) {
        return value;
    }
    let formed = match value.as_str() {
        Some(text) => form(text),
        None => form(&value.to_string()),
    };
    formed.map_or_else(|| JinjaValue::from_object(Unfit), JinjaValue::from)
}

/// The country of a code; none of an empty one.
fn country(code: &str) -> Result<Option<Region>, Error> {
    if code.is_empty() {
        return Ok(None);
    }
    let region = phone_region(code).ok_or_else(|| {
        let problem = format!("\"{code}\" is no country; write a code like \"US\"");
        Error::new(ErrorKind::InvalidOperation, problem)
    })?;
    Ok(Some(region))
}

/// The first `length` characters, for what still tells something without its end, such as a name.
fn cut(value: JinjaValue, length: usize) -> JinjaValue {
    fit(value, |text| {
        let first: String = text.chars().take(length).collect();
        Some(first.trim_end().to_owned())
    })
}

/// What has at most `length` characters, for what is wrong without its end, such as an e-mail address.
fn within(value: JinjaValue, length: usize) -> JinjaValue {
    fit(value, |text| {
        (text.chars().count() <= length).then(|| text.to_owned())
    })
}

/// A whole date that the text surely names and the calendar has. The first of January stays one, though systems also write it for a
/// day that they do not know.
fn calendar_date(text: &str, region: Option<Region>) -> Option<NaiveDate> {
    let date = certain_date(text, region)?;
    NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
}

/// `1978-03-24`; `region` is the ISO 3166 code of the country whose habit dates like 03/04/1978 follow, or empty: those are unfit then.
fn iso_date(value: JinjaValue, region: &str) -> Result<JinjaValue, Error> {
    let region = country(region)?;
    Ok(fit(value, |text| {
        Some(calendar_date(text, region)?.to_string())
    }))
}

/// As [`iso_date`], in the form `/Date(259545600000)/`: `Edm.DateTime` in the JSON of OData version 2.
fn odata_date(value: JinjaValue, region: &str) -> Result<JinjaValue, Error> {
    let region = country(region)?;
    Ok(fit(value, |text| {
        let midnight = calendar_date(text, region)?.and_time(NaiveTime::MIN);
        Some(format!("/Date({})/", midnight.and_utc().timestamp_millis()))
    }))
}

/// `+61400000001`; `region` is the ISO 3166 code of the country in which numbers without a country code are dialled, or empty: those are
/// unfit then, as are numbers of an impossible length.
fn e164(value: JinjaValue, region: &str) -> Result<JinjaValue, Error> {
    let region = country(region)?;
    Ok(fit(value, |text| {
        let is_whole = text.trim_start().starts_with('+');
        let region = region.or(is_whole.then_some(Region::US))?;
        normalise_phone(text, region).filter(|number| number.starts_with('+'))
    }))
}

/// `m` or `f`; anything that is not surely one of them is unfit: comparing may guess, a consumer's system is not told a guess.
fn gender(value: JinjaValue) -> JinjaValue {
    fit(value, |text| match fold(text).as_str() {
        "m" | "male" | "man" | "mr" | "mannlich" | "herr" | "masculin" | "masculine" => {
            Some("m".to_owned())
        }
        "f" | "female" | "woman" | "mrs" | "ms" | "w" | "weiblich" | "frau" | "feminin"
        | "feminine" => Some("f".to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    const NOTHING: &str = "null";
    const UNFIT: &str = "left out";

    fn said(expression: &str) -> String {
        let environment = super::super::environment();
        let expression = environment
            .compile_expression(expression)
            .expect("it compiles");
        match expression.eval(context! { nothing => () }) {
            Ok(value) if super::is_unfit(&value) => UNFIT.to_owned(),
            Ok(value) if value.is_none() || value.is_undefined() => NOTHING.to_owned(),
            Ok(value) => value.to_string(),
            Err(cause) => cause.to_string(),
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        for (expression, expected) in [
            ("'Zoë Ann' | cut(3)", "Zoë"),
            ("'Zoë Ann' | cut(4)", "Zoë"),
            ("nothing | cut(4)", NOTHING),
            ("missing | cut(4)", NOTHING),
            ("'Zoë' | within(3)", "Zoë"),
            ("'Zoës' | within(3)", UNFIT),
            ("nothing | within(3)", NOTHING),
            ("'Zoës' | within(3) | cut(2)", UNFIT),
            ("'Zoës' | within(3) or 'none'", "none"),
            ("['a', 'Zoës' | within(3)] | select | join", "a"),
            ("'03/24/1978' | iso_date('')", "1978-03-24"),
            ("'03/04/1978' | iso_date('')", UNFIT),
            ("'03/04/1978' | iso_date('US')", "1978-03-04"),
            ("'03/04/1978' | iso_date('GB')", "1978-04-03"),
            ("'03.04.1978' | iso_date('')", "1978-04-03"),
            ("'24.03.29' | iso_date('GB')", UNFIT),
            ("'1978' | iso_date('')", UNFIT),
            ("'1978-02-30' | iso_date('')", UNFIT),
            ("nothing | iso_date('')", NOTHING),
            ("'1978-03-24' | odata_date('')", "/Date(259545600000)/"),
            ("'1969-12-31' | odata_date('')", "/Date(-86400000)/"),
            ("'(212) 736-5000' | e164('US')", "+12127365000"),
            ("'0400 000 001' | e164('AU')", "+61400000001"),
            ("'0400 000 001' | e164('')", UNFIT),
            ("'+61 400 000 001' | e164('')", "+61400000001"),
            ("'12345678' | e164('US')", UNFIT),
            ("nothing | e164('US')", NOTHING),
            ("'Female' | gender", "f"),
            ("'männlich' | gender", "m"),
            ("'Madame' | gender", UNFIT),
            ("nothing | gender", NOTHING),
        ] {
            assert_eq!(said(expression), expected, "{expression}");
        }
        for expression in ["'0400 000 001' | e164('Oz')", "nothing | iso_date('Oz')"] {
            let said = said(expression);
            assert!(said.contains("\"Oz\" is no country"), "{said}");
        }
    }
}
