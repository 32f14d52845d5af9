//! Filters for what consumers are strict about: lengths, dates, phone numbers, sex. What is null stays null, and what does not fit
//! becomes null.

use chrono::NaiveDate;
use minijinja::{Environment, Error, ErrorKind};
use veridem_matchers::normalise::{Region, fold, normalise_date, normalise_phone, phone_region};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("cut", cut);
    environment.add_filter("within", within);
    environment.add_filter("iso_date", iso_date);
    environment.add_filter("odata_date", odata_date);
    environment.add_filter("e164", e164);
    environment.add_filter("sex", sex);
}

/// The first `length` characters, for what still tells something without its end, such as a name.
fn cut(text: Option<String>, length: usize) -> Option<String> {
    let first: String = text?.chars().take(length).collect();
    Some(first.trim_end().to_owned()).filter(|text| !text.is_empty())
}

/// Null where there are more than `length` characters, for what is wrong without its end, such as an e-mail address.
fn within(text: Option<String>, length: usize) -> Option<String> {
    text.filter(|text| text.chars().count() <= length)
}

fn calendar_date(text: &str) -> Option<NaiveDate> {
    let date = normalise_date(text)?;
    NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
}

/// `1978-03-24`; null where a part is unknown or no calendar has that day.
fn iso_date(text: Option<String>) -> Option<String> {
    Some(calendar_date(&text?)?.to_string())
}

/// `/Date(259545600000)/`: `Edm.DateTime` in the JSON of OData version 2.
fn odata_date(text: Option<String>) -> Option<String> {
    let midnight = calendar_date(&text?)?.and_time(chrono::NaiveTime::MIN);
    Some(format!("/Date({})/", midnight.and_utc().timestamp_millis()))
}

/// `+61400000001`; `region` is the ISO 3166 code of the country in which numbers without a country code are dialled, or empty: such
/// numbers then become null, as do those that fit no numbering plan.
fn e164(text: Option<String>, region: String) -> Result<Option<String>, Error> {
    let known = match region.as_str() {
        "" => None,
        code => Some(phone_region(code).ok_or_else(|| {
            let problem = format!("\"{code}\" is no country; write a code like \"US\"");
            Error::new(ErrorKind::InvalidOperation, problem)
        })?),
    };
    let text = text.filter(|text| known.is_some() || text.trim_start().starts_with('+'));
    let number = text.and_then(|text| normalise_phone(&text, known.unwrap_or(Region::US)));
    Ok(number.filter(|number| number.starts_with('+')))
}

/// `m` or `f`; null for anything that is not surely one of them: comparing may guess, a consumer's system is not told a guess.
fn sex(text: Option<String>) -> Option<&'static str> {
    match fold(&text?).as_str() {
        "m" | "male" | "man" | "mr" | "mannlich" | "herr" | "masculin" | "masculine" => Some("m"),
        "f" | "female" | "woman" | "mrs" | "ms" | "w" | "weiblich" | "frau" | "feminin"
        | "feminine" => Some("f"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    fn said(expression: &str) -> String {
        let environment = super::super::environment();
        let expression = environment
            .compile_expression(expression)
            .expect("it compiles");
        match expression.eval(context! { nothing => () }) {
            Ok(value) => value.to_string(),
            Err(cause) => cause.to_string(),
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        for (expression, expected) in [
            ("'Zoë Ann' | cut(3)", "Zoë"),
            ("'Zoë Ann' | cut(4)", "Zoë"),
            ("nothing | cut(4)", "None"),
            ("missing | cut(4)", "None"),
            ("'Zoë' | within(3)", "Zoë"),
            ("'Zoës' | within(3)", "None"),
            ("'03/24/1978' | iso_date", "1978-03-24"),
            ("'1978' | iso_date", "None"),
            ("'1978-02-30' | iso_date", "None"),
            ("nothing | iso_date", "None"),
            ("'1978-03-24' | odata_date", "/Date(259545600000)/"),
            ("'1969-12-31' | odata_date", "/Date(-86400000)/"),
            ("'(212) 736-5000' | e164('US')", "+12127365000"),
            ("'0400 000 001' | e164('AU')", "+61400000001"),
            ("'0400 000 001' | e164('')", "None"),
            ("'+61 400 000 001' | e164('')", "+61400000001"),
            ("'12345678' | e164('US')", "None"),
            ("nothing | e164('US')", "None"),
            ("'Female' | sex", "f"),
            ("'männlich' | sex", "m"),
            ("'Madame' | sex", "None"),
            ("nothing | sex", "None"),
        ] {
            assert_eq!(said(expression), expected, "{expression}");
        }
        let said = said("'0400 000 001' | e164('Oz')");
        assert!(said.contains("\"Oz\" is no country"), "{said}");
    }
}
