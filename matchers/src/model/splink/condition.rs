//! Splink's conditions: the little SQL in which Splink says when a pair falls into a level, read once and answered for
//! pairs of example values. Answering was chosen over recognising the texts that Splink's library writes: one way then
//! does for every version and dialect, and for the conditions that people write themselves.

use std::collections::BTreeSet;

use super::{date, tokens};
use crate::compare::jaro_winkler;
use tokens::{Token, Tokens};

/// Conditions of Splink's own library have some 60 tokens. The bound keeps what is read and answered shallow.
const MAX_TOKENS: usize = 1_000;
const MAX_DEPTH: usize = 50;
/// Bytes that a compiled regular expression may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The two records of a pair: Splink's suffixes `_l` and `_r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A condition that was read.
#[derive(Debug)]
pub(super) struct Condition(Expression);

#[derive(Debug)]
enum Expression {
    Literal(Value),
    Column(String, Side),
    Call(String, Vec<Expression>),
    Operation(Box<Expression>, Operator, Box<Expression>),
    Not(Box<Expression>),
    IsNull(Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    By,
}

impl Operator {
    /// By how strongly they bind, the weakest first.
    const GROUPS: [&[(&'static str, Self)]; 5] = [
        &[("or", Self::Or)],
        &[("and", Self::And)],
        &[
            ("=", Self::Equal),
            ("==", Self::Equal),
            ("<>", Self::NotEqual),
            ("!=", Self::NotEqual),
            ("<", Self::Less),
            ("<=", Self::LessOrEqual),
            (">", Self::Greater),
            (">=", Self::GreaterOrEqual),
        ],
        &[("+", Self::Plus), ("-", Self::Minus)],
        &[("*", Self::Times), ("/", Self::By)],
    ];
    /// Where `NOT` stands: it binds weaker than a comparison, stronger than `AND`.
    const COMPARISONS: usize = 2;
}

/// Dates are texts `YYYY-MM-DD`, a list is the one value that it holds.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Truth(bool),
    Number(f64),
    Text(String),
}

impl Condition {
    /// Reads a condition; the error says what is not understood.
    pub fn parse(sql: &str) -> Result<Self, String> {
        let tokens = tokens::tokens(sql)?;
        if tokens.len() > MAX_TOKENS {
            return Err(format!("it has more than {MAX_TOKENS} words"));
        }
        if let [Token::Word(word)] = tokens.as_slice()
            && word == "else"
        {
            return Ok(Self(Expression::Literal(Value::Truth(true))));
        }
        let mut tokens = Tokens::new(tokens);
        let expression = expression(&mut tokens, 0, 0)?;
        match tokens.next() {
            None => Ok(Self(expression)),
            Some(token) => Err(format!("{token} is not understood")),
        }
    }

    /// The columns that it looks at, without Splink's suffixes.
    pub fn columns(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        self.0.collect_columns(&mut found);
        found
    }

    /// Whether a missing value may be what fulfils it.
    pub fn asks_for_missing(&self) -> bool {
        self.0.asks_for_missing()
    }

    /// Whether a pair fulfils it; `value` tells the pair's values, empty where one is missing, `None` for an unknown
    /// column.
    pub fn holds(&self, value: &dyn Fn(&str, Side) -> Option<String>) -> Result<bool, String> {
        Ok(self.0.evaluate(value)? == Value::Truth(true))
    }
}

fn expression(tokens: &mut Tokens, group: usize, depth: usize) -> Result<Expression, String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply".to_owned());
    }
    let Some(operators) = Operator::GROUPS.get(group) else {
        return operand(tokens, depth);
    };
    if group == Operator::COMPARISONS && tokens.take("not") {
        return Ok(Expression::Not(Box::new(expression(
            tokens,
            group,
            depth + 1,
        )?)));
    }
    let mut left = expression(tokens, group + 1, depth)?;
    loop {
        if group == Operator::COMPARISONS && tokens.take("is") {
            let negated = tokens.take("not");
            tokens.expect("null")?;
            left = Expression::IsNull(Box::new(left));
            if negated {
                left = Expression::Not(Box::new(left));
            }
            continue;
        }
        let Some((_, operator)) = operators.iter().find(|(symbol, _)| tokens.take(symbol)) else {
            return Ok(left);
        };
        let right = expression(tokens, group + 1, depth)?;
        left = Expression::Operation(Box::new(left), *operator, Box::new(right));
    }
}

fn operand(tokens: &mut Tokens, depth: usize) -> Result<Expression, String> {
    let mut read = match tokens.next() {
        Some(Token::Symbol("(")) => {
            let inner = expression(tokens, 0, depth + 1)?;
            tokens.expect(")")?;
            inner
        }
        Some(Token::Symbol("-")) => Expression::Operation(
            Box::new(Expression::Literal(Value::Number(0.0))),
            Operator::Minus,
            Box::new(operand_within(tokens, depth + 1)?),
        ),
        Some(Token::Number(number)) => Expression::Literal(Value::Number(number)),
        Some(Token::Text(text)) => Expression::Literal(Value::Text(text)),
        Some(Token::Name(name)) => column(&name)?,
        Some(Token::Word(word)) if tokens.take("(") => call(tokens, word, depth + 1)?,
        Some(Token::Word(word)) => match word.as_str() {
            "null" => Expression::Literal(Value::Null),
            "true" => Expression::Literal(Value::Truth(true)),
            "false" => Expression::Literal(Value::Truth(false)),
            column_name => column(column_name)?,
        },
        Some(token) => return Err(format!("{token} is not understood")),
        None => return Err("it ends too early".to_owned()),
    };
    // DuckDB's cast. The examples are written so that a cast changes nothing.
    while tokens.take("::") {
        match tokens.next() {
            Some(Token::Word(_)) => {}
            _ => return Err("\"::\" without a type is not understood".to_owned()),
        }
        read = Expression::Call("cast".to_owned(), vec![read]);
    }
    Ok(read)
}

fn operand_within(tokens: &mut Tokens, depth: usize) -> Result<Expression, String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply".to_owned());
    }
    operand(tokens, depth)
}

fn column(name: &str) -> Result<Expression, String> {
    let sides = [
        ("_l", Side::Left),
        ("_r", Side::Right),
        ("_L", Side::Left),
        ("_R", Side::Right),
    ];
    sides
        .into_iter()
        .find_map(|(suffix, side)| Some((name.strip_suffix(suffix)?, side)))
        .map(|(name, side)| Expression::Column(name.to_owned(), side))
        .ok_or_else(|| format!("{name} is not a column of the left or the right record"))
}

fn call(tokens: &mut Tokens, function: String, depth: usize) -> Result<Expression, String> {
    if matches!(
        function.as_str(),
        "list_max" | "list_min" | "array_max" | "array_min"
    ) {
        return closest_of_lists(tokens);
    }
    let mut arguments = Vec::new();
    if !tokens.take(")") {
        loop {
            arguments.push(expression(tokens, 0, depth)?);
            if tokens.take("as") {
                // The type of a cast.
                while !matches!(tokens.peek(), None | Some(Token::Symbol(")"))) {
                    tokens.next();
                }
            }
            if !tokens.take(",") {
                break;
            }
        }
        tokens.expect(")")?;
    }
    Ok(Expression::Call(function, arguments))
}

/// Splink writes "the closest pair of two lists" as lambdas over both. An example has one value a side, so that the
/// measure within is the answer.
fn closest_of_lists(tokens: &mut Tokens) -> Result<Expression, String> {
    let (mut open, mut columns, mut measure) = (1_usize, Vec::new(), None);
    while open > 0 {
        match tokens.next() {
            Some(Token::Symbol("(")) => open += 1,
            Some(Token::Symbol(")")) => open -= 1,
            Some(Token::Name(name)) => columns.push(column(&name)?),
            Some(Token::Word(word)) if is_measure(&word) => measure = Some(word),
            Some(Token::Word(word)) => columns.extend(column(&word)),
            Some(_) => {}
            None => return Err("it ends too early".to_owned()),
        }
    }
    match measure {
        Some(measure) if columns.len() == 2 => Ok(Expression::Call(measure, columns)),
        _ => Err("a function of lists is not understood".to_owned()),
    }
}

fn is_measure(function: &str) -> bool {
    similarity(function, "", "").is_some()
}

/// The measures of two texts.
fn similarity(function: &str, left: &str, right: &str) -> Option<f64> {
    Some(match function {
        "levenshtein" | "editdist3" | "levenshtein_distance" => {
            strsim::levenshtein(left, right) as f64
        }
        "damerau_levenshtein" => strsim::damerau_levenshtein(left, right) as f64,
        "jaro_winkler_similarity" | "jaro_winkler" | "jaro_winkler_sim" => {
            jaro_winkler(left, right)
        }
        "jaro_similarity" | "jaro" | "jaro_sim" => strsim::jaro(left, right),
        "jaccard" | "jaccard_sim" => {
            let letters = |text: &str| text.chars().collect::<BTreeSet<char>>();
            let (left, right) = (letters(left), letters(right));
            let all = left.union(&right).count().max(1);
            left.intersection(&right).count() as f64 / all as f64
        }
        _ => return None,
    })
}

impl Expression {
    fn collect_columns<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        match self {
            Self::Literal(_) => {}
            Self::Column(name, _) => drop(found.insert(name)),
            Self::Call(_, arguments) => {
                for argument in arguments {
                    argument.collect_columns(found);
                }
            }
            Self::Operation(left, _, right) => {
                left.collect_columns(found);
                right.collect_columns(found);
            }
            Self::Not(inner) | Self::IsNull(inner) => inner.collect_columns(found),
        }
    }

    fn asks_for_missing(&self) -> bool {
        match self {
            Self::IsNull(_) => true,
            Self::Operation(left, _, right) => left.asks_for_missing() || right.asks_for_missing(),
            Self::Literal(_) | Self::Column(..) | Self::Call(..) | Self::Not(_) => false,
        }
    }

    fn evaluate(&self, value: &dyn Fn(&str, Side) -> Option<String>) -> Result<Value, String> {
        Ok(match self {
            Self::Literal(literal) => literal.clone(),
            Self::Column(name, side) => match value(name, *side) {
                Some(text) if text.is_empty() => Value::Null,
                Some(text) => Value::Text(text),
                None => return Err(format!("nothing is known of the column {name}")),
            },
            Self::Call(function, arguments) => {
                let arguments: Vec<Value> = arguments
                    .iter()
                    .map(|argument| argument.evaluate(value))
                    .collect::<Result<_, _>>()?;
                answer(function, &arguments)?
            }
            Self::Operation(left, Operator::Or, right) => {
                decided_by(true, left.evaluate(value), right.evaluate(value))?
            }
            Self::Operation(left, Operator::And, right) => {
                decided_by(false, left.evaluate(value), right.evaluate(value))?
            }
            Self::Operation(left, operator, right) => {
                operate(left.evaluate(value)?, *operator, right.evaluate(value)?)?
            }
            Self::Not(inner) => match inner.evaluate(value)? {
                Value::Truth(truth) => Value::Truth(!truth),
                _ => Value::Null,
            },
            Self::IsNull(inner) => Value::Truth(inner.evaluate(value)? == Value::Null),
        })
    }
}

/// `OR` (decided by what is true) and `AND` (by what is false). What is not understood does not matter where the other
/// side decides.
fn decided_by(
    truth: bool,
    left: Result<Value, String>,
    right: Result<Value, String>,
) -> Result<Value, String> {
    let decides = |side: &Result<Value, String>| *side == Ok(Value::Truth(truth));
    if decides(&left) || decides(&right) {
        return Ok(Value::Truth(truth));
    }
    let (left, right) = (left?, right?);
    Ok(if left == Value::Null || right == Value::Null {
        Value::Null
    } else {
        Value::Truth(!truth)
    })
}

fn operate(left: Value, operator: Operator, right: Value) -> Result<Value, String> {
    use std::cmp::Ordering;
    let order = match (&left, &right) {
        (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
        (Value::Number(left), Value::Number(right)) => {
            let number = match operator {
                Operator::Plus => Some(left + right),
                Operator::Minus => Some(left - right),
                Operator::Times => Some(left * right),
                Operator::By => Some(left / right),
                _ => None,
            };
            if let Some(number) = number {
                return Ok(Value::Number(number));
            }
            left.partial_cmp(right)
        }
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Truth(left), Value::Truth(right)) => Some(left.cmp(right)),
        _ => None,
    };
    let Some(order) = order else {
        return Err("values of two kinds are compared".to_owned());
    };
    Ok(Value::Truth(match operator {
        Operator::Equal => order == Ordering::Equal,
        Operator::NotEqual => order != Ordering::Equal,
        Operator::Less => order == Ordering::Less,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::Greater => order == Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        _ => return Err("a calculation with texts is not understood".to_owned()),
    }))
}

/// What a function answers. Except where it is about missing values, a missing argument gives a missing answer.
fn answer(function: &str, arguments: &[Value]) -> Result<Value, String> {
    use Value::{Null, Number, Text, Truth};
    match (function, arguments) {
        ("coalesce" | "ifnull", [first, rest @ ..]) => {
            let known = std::iter::once(first)
                .chain(rest)
                .find(|value| **value != Null);
            return Ok(known.unwrap_or(&Null).clone());
        }
        ("nullif", [value, other]) => {
            return Ok(if value == other { Null } else { value.clone() });
        }
        _ if arguments.contains(&Null) => return Ok(Null),
        _ => {}
    }
    let answered = match (function, arguments) {
        (_, [Text(left), Text(right)]) if is_measure(function) => {
            similarity(function, left, right).map(Number)
        }
        ("cast" | "try_cast", [value]) => Some(value.clone()),
        ("lower" | "lcase", [Text(text)]) => Some(Text(text.to_lowercase())),
        ("upper" | "ucase", [Text(text)]) => Some(Text(text.to_uppercase())),
        ("trim", [Text(text)]) => Some(Text(text.trim().to_owned())),
        ("length" | "len" | "char_length", [Text(text)]) => {
            Some(Number(text.chars().count() as f64))
        }
        ("concat", texts) => {
            let texts = texts.iter().map(|value| match value {
                Text(text) => Some(text.as_str()),
                _ => None,
            });
            texts.collect::<Option<String>>().map(Text)
        }
        ("left", [Text(text), Number(count)]) => {
            Some(Text(text.chars().take(*count as usize).collect()))
        }
        ("right", [Text(text), Number(count)]) => {
            let skipped = text.chars().count().saturating_sub(*count as usize);
            Some(Text(text.chars().skip(skipped).collect()))
        }
        ("substr" | "substring", [Text(text), Number(from)]) => {
            let from = (*from as usize).saturating_sub(1);
            Some(Text(text.chars().skip(from).collect()))
        }
        ("substr" | "substring", [Text(text), Number(from), Number(count)]) => {
            let from = (*from as usize).saturating_sub(1);
            Some(Text(
                text.chars().skip(from).take(*count as usize).collect(),
            ))
        }
        ("split_part", [Text(text), Text(separator), Number(part)]) => {
            let index = (*part as usize).saturating_sub(1);
            Some(Text(
                text.split(separator.as_str())
                    .nth(index)
                    .unwrap_or_default()
                    .to_owned(),
            ))
        }
        ("regexp_extract", [Text(text), Text(pattern)]) => Some(Text(extract(text, pattern, 0)?)),
        ("regexp_extract", [Text(text), Text(pattern), Number(group)]) => {
            Some(Text(extract(text, pattern, *group as usize)?))
        }
        ("abs", [Number(number)]) => Some(Number(number.abs())),
        ("floor", [Number(number)]) => Some(Number(number.floor())),
        (
            "try_strptime" | "strptime" | "to_date" | "to_timestamp" | "try_to_timestamp"
            | "try_to_date",
            [Text(text), ..],
        ) => Some(if date::days(text).is_some() {
            Text(text.clone())
        } else {
            Null
        }),
        ("epoch" | "unix_timestamp", [Text(text)]) => {
            date::days(text).map(|days| Number(days * date::SECONDS_OF_A_DAY))
        }
        ("datediff" | "date_diff", [Text(left), Text(right)]) => {
            date::between("day", right, left).map(Number)
        }
        ("datediff" | "date_diff", [Text(unit), Text(left), Text(right)]) => {
            date::between(unit, left, right).map(Number)
        }
        ("list_intersect" | "array_intersect", [left, right]) => {
            Some(Number(f64::from(u8::from(left == right))))
        }
        ("array_length" | "len" | "size" | "cardinality", [Number(count)]) => Some(Number(*count)),
        ("list_has_any" | "arrays_overlap" | "list_contains" | "array_contains", [left, right]) => {
            Some(Truth(left == right))
        }
        _ => None,
    };
    answered.ok_or_else(|| format!("the function {function} is not understood"))
}

/// What the group of a regular expression matches, empty where nothing does.
fn extract(text: &str, pattern: &str, group: usize) -> Result<String, String> {
    let expression = regex::RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|_| format!("the pattern '{pattern}' is not understood"))?;
    let found = expression
        .captures(text)
        .and_then(|groups| Some(groups.get(group)?.as_str().to_owned()));
    Ok(found.unwrap_or_default())
}
