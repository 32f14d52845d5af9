//! A table of fields: target = expression.

use std::collections::BTreeMap;

use minijinja::Expression;
use minijinja::value::Value as JinjaValue;
use serde_json::{Map, Value, json};

use super::filters::is_unfit;
use super::{ENVIRONMENT, context};

/// A table of fields.
#[derive(Debug)]
pub struct Fields(Vec<Field>);

#[derive(Debug)]
struct Field {
    target: String,
    text: String,
    expression: Expression<'static, 'static>,
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let written = |fields: &Self| -> Vec<(String, String)> {
            let pairs = fields.0.iter();
            pairs
                .map(|field| (field.target.clone(), field.text.clone()))
                .collect()
        };
        written(self) == written(other)
    }
}

/// An expression that names only what there is; `settings` are the names that stand below `settings`.
pub(super) fn expression(
    text: &str,
    settings: &[&str],
) -> Result<Expression<'static, 'static>, String> {
    let expression = ENVIRONMENT
        .compile_expression_owned(text.to_owned())
        .map_err(|cause| cause.to_string())?;
    context::check_names(expression.undeclared_variables(true), settings)?;
    Ok(expression)
}

impl Fields {
    pub(super) fn new(fields: BTreeMap<String, String>, settings: &[&str]) -> Result<Self, String> {
        let mut compiled = Vec::with_capacity(fields.len());
        for (target, text) in &fields {
            if target.split('.').any(str::is_empty) {
                return Err(format!("\"{target}\" has an empty part"));
            }
            let below = |other: &&String| {
                other
                    .strip_prefix(target.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            if let Some(other) = fields.keys().find(below) {
                return Err(format!(
                    "\"{target}\" cannot hold a value and the field \"{other}\" at once"
                ));
            }
            let expression = expression(text, settings)
                .map_err(|problem| format!("\"{target}\" = \"{text}\": {problem}"))?;
            compiled.push(Field {
                target: target.clone(),
                text: text.clone(),
                expression,
            });
        }
        Ok(Self(compiled))
    }

    /// The object that the fields make of an event, without those whose value the consumer cannot take.
    pub(super) fn apply(&self, context: &JinjaValue) -> Result<Value, String> {
        let mut mapped = Map::new();
        for field in &self.0 {
            let told = |cause: &dyn std::fmt::Display| format!("\"{}\": {cause}", field.target);
            let value = field
                .expression
                .eval(context.clone())
                .map_err(|cause| told(&cause))?;
            if is_unfit(&value) {
                continue;
            }
            let value = serde_json::to_value(value).map_err(|cause| told(&cause))?;
            let mut parts: Vec<&str> = field.target.split('.').collect();
            let last = parts.pop().unwrap_or_default().to_owned();
            let mut place = &mut mapped;
            for part in parts {
                let inner = place.entry(part).or_insert_with(|| json!({}));
                let Value::Object(object) = inner else {
                    unreachable!("targets that collide were refused")
                };
                place = object;
            }
            place.insert(last, value);
        }
        Ok(Value::Object(mapped))
    }
}
