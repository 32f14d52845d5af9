//! An event as requests in the consumer's own API.

use std::collections::BTreeMap;

use minijinja::value::Value as JinjaValue;
use minijinja::{Environment, Expression, context as values};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::{Fields, expression};
use super::{context, environment};

/// Requests that one event may become.
const MAX_REQUESTS: usize = 1_000;

/// A mapping file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The format that it follows: product, API, version.
    follows: String,
    /// Where a token against cross-site request forgery is fetched, where the consumer wants one (SAP: `x-csrf-token`).
    csrf_token_path: Option<String>,
    /// What a sink may set, with what holds where it does not.
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    requests: Vec<WrittenRequest>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRequest {
    when: Option<String>,
    for_each: Option<String>,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    nulls: Nulls,
    #[serde(default)]
    also_done: Vec<u16>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    body: Option<String>,
}

/// What becomes of fields that the event has no value for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Nulls {
    /// Sent as null, which clears them.
    #[default]
    Keep,
    /// Left out.
    Omit,
}

/// The requests of a mapping file, ready for use.
#[derive(Debug)]
pub struct Requests {
    written: Written,
    templates: Environment<'static>,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    when: Option<Expression<'static, 'static>>,
    for_each: Option<Expression<'static, 'static>>,
    fields: Option<Fields>,
}

impl PartialEq for Requests {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// A request that an event becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRequest {
    /// The HTTP method.
    pub method: String,
    /// What follows the sink's URL, from its slash on.
    pub path: String,
    /// Besides content type and authorization.
    pub headers: Vec<(String, String)>,
    /// JSON; none where there is no body.
    pub body: Option<String>,
    /// Statuses of an answer that count as done, besides 2xx.
    pub also_done: Vec<u16>,
    /// Where a token against cross-site request forgery is fetched, where one is needed.
    pub csrf_token_path: Option<String>,
}

impl MappedRequest {
    pub(super) fn to_json(&self) -> Value {
        let mut shown = json!({ "method": self.method, "path": self.path });
        if !self.headers.is_empty() {
            shown["headers"] = self
                .headers
                .iter()
                .cloned()
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect();
        }
        if let Some(body) = &self.body {
            shown["body"] = serde_json::from_str(body).unwrap_or_default();
        }
        shown
    }
}

impl Requests {
    /// From the text of a file; `settings` take the place of the file's.
    pub(super) fn new(text: &str, settings: BTreeMap<String, String>) -> Result<Self, String> {
        let mut written: Written = toml::from_str(text).map_err(|cause| cause.to_string())?;
        if written.requests.is_empty() {
            return Err("requests: there are none".to_owned());
        }
        for (name, value) in settings {
            match written.settings.get_mut(&name) {
                Some(known) => *known = value,
                None => return Err(format!("settings.{name}: the mapping has no such setting")),
            }
        }
        if let Some(path) = &written.csrf_token_path {
            check_path(path).map_err(|problem| format!("csrf_token_path: {problem}"))?;
        }
        let names: Vec<&str> = written.settings.keys().map(String::as_str).collect();
        let mut templates = environment();
        let mut requests = Vec::with_capacity(written.requests.len());
        for (index, request) in written.requests.iter().enumerate() {
            let place = format!("requests[{index}]");
            requests.push(compile(&place, request, &names, &mut templates)?);
        }
        Ok(Self {
            written,
            templates,
            requests,
        })
    }

    /// What an event becomes, in the order of the file.
    pub(super) fn apply(&self, data: &Value, event_id: &str) -> Result<Vec<MappedRequest>, String> {
        let base = context::of_event(data, event_id, &self.written.settings);
        let mut mapped = Vec::new();
        for (index, request) in self.requests.iter().enumerate() {
            let place = format!("requests[{index}]");
            let told =
                |field: &str, cause: &dyn std::fmt::Display| format!("{place}.{field}: {cause}");
            if let Some(when) = &request.when
                && !when
                    .eval(base.clone())
                    .map_err(|cause| told("when", &cause))?
                    .is_true()
            {
                continue;
            }
            let contexts = match &request.for_each {
                None => vec![base.clone()],
                Some(for_each) => {
                    let list = for_each
                        .eval(base.clone())
                        .map_err(|cause| told("for_each", &cause))?;
                    let elements = list.try_iter().map_err(|cause| told("for_each", &cause))?;
                    elements
                        .map(|each| values! { each, ..base.clone() })
                        .collect()
                }
            };
            for context in contexts {
                if mapped.len() == MAX_REQUESTS {
                    return Err(format!(
                        "an event may become {MAX_REQUESTS} requests at most"
                    ));
                }
                mapped.push(self.request(index, &context)?);
            }
        }
        Ok(mapped)
    }

    fn request(&self, index: usize, context: &JinjaValue) -> Result<MappedRequest, String> {
        let (written, place) = (&self.written.requests[index], format!("requests[{index}]"));
        let render = |field: &str| -> Result<String, String> {
            let name = format!("{place}.{field}");
            let template = self.templates.get_template(&name);
            let rendered = template.and_then(|template| template.render(context.clone()));
            rendered.map_err(|cause| format!("{name}: {cause}"))
        };
        let path = render("path")?;
        check_path(&path).map_err(|problem| format!("{place}.path: {problem}"))?;
        let mut headers = Vec::with_capacity(written.headers.len());
        for name in written.headers.keys() {
            headers.push((name.clone(), render(&format!("headers.{name}"))?));
        }
        let body = match &self.requests[index].fields {
            Some(fields) => {
                let made = fields.apply(context);
                Some(made.map_err(|cause| format!("{place}.fields: {cause}"))?)
            }
            None if written.body.is_some() => {
                let text = render("body")?;
                let parsed = serde_json::from_str(&text);
                // What was rendered holds personal values.
                Some(parsed.map_err(|_| format!("{place}.body: does not render JSON"))?)
            }
            None => None,
        };
        let body = body.map(|mut body: Value| {
            if written.nulls == Nulls::Omit {
                omit_nulls(&mut body);
            }
            body.to_string()
        });
        Ok(MappedRequest {
            method: written.method.clone(),
            path,
            headers,
            body,
            also_done: written.also_done.clone(),
            csrf_token_path: self.written.csrf_token_path.clone(),
        })
    }
}

/// Whatever an event says, it goes to the host that the sink names.
fn check_path(path: &str) -> Result<(), String> {
    let steps = path.split('?').next().unwrap_or_default().split('/');
    let climbs = steps.into_iter().any(|step| {
        let step = step.replace("%2e", ".").replace("%2E", ".");
        // Also where something stands before or behind it, as in OData's keys.
        step == "." || step.contains("..")
    });
    if path.starts_with('/') && !path.contains(['\r', '\n', ' ', '\\']) && !climbs {
        return Ok(());
    }
    Err("must begin with \"/\", and hold no spaces and no \"..\"".to_owned())
}

fn compile(
    place: &str,
    written: &WrittenRequest,
    settings: &[&str],
    templates: &mut Environment<'static>,
) -> Result<Request, String> {
    let told = |field: &str, problem: String| format!("{place}.{field}: {problem}");
    if !["POST", "PUT", "PATCH", "DELETE"].contains(&written.method.as_str()) {
        let problem = format!("\"{}\" is not POST, PUT, PATCH or DELETE", written.method);
        return Err(told("method", problem));
    }
    if written.body.is_some() && !written.fields.is_empty() {
        return Err(told(
            "body",
            "is given beside fields; one of the two makes the body".to_owned(),
        ));
    }
    let expressed = |field: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => expression(text, settings)
            .map(Some)
            .map_err(|problem| told(field, problem)),
    };
    let (when, for_each) = (
        expressed("when", &written.when)?,
        expressed("for_each", &written.for_each)?,
    );
    let mut texts = vec![("path".to_owned(), &written.path)];
    texts.extend(written.body.iter().map(|body| ("body".to_owned(), body)));
    let headers = written.headers.iter();
    texts.extend(headers.map(|(name, value)| (format!("headers.{name}"), value)));
    for (field, text) in texts {
        let name = format!("{place}.{field}");
        templates
            .add_template_owned(name.clone(), text.clone())
            .map_err(|cause| told(&field, cause.to_string()))?;
        let template = templates
            .get_template(&name)
            .map_err(|cause| told(&field, cause.to_string()))?;
        context::check_names(template.undeclared_variables(true), settings)
            .map_err(|problem| told(&field, problem))?;
    }
    let fields = (!written.fields.is_empty())
        .then(|| Fields::new(written.fields.clone(), settings))
        .transpose()
        .map_err(|problem| told("fields", problem))?;
    Ok(Request {
        when,
        for_each,
        fields,
    })
}

fn omit_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(omit_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(omit_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn a_path_stays_below_the_sink_s_address() {
        for good in [
            "/",
            "/v1/a.b",
            "/A_BusinessPartner('1000123')",
            "/a?ids=..",
            "/eid:7%2F8",
        ] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "@evil.example/",
            "/a/../b",
            "/a('../../x')",
            "/a/%2e%2E/b",
            "/a b",
            "/a\nb",
            "/a\\b",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
