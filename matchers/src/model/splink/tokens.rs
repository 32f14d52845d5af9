//! The words of a condition.

use std::collections::VecDeque;
use std::fmt;

/// A word of SQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Without quotes, in lower case: a keyword, a function or a column.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// Anything else.
    Symbol(&'static str),
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: &[&str] = &[
    "<=", ">=", "<>", "!=", "==", "::", "->", "=", "<", ">", "+", "-", "*", "/", "(", ")", ",",
    "[", "]",
];

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Text(text) => {
                write!(formatter, "\"{text}\"")
            }
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Symbol(symbol) => write!(formatter, "\"{symbol}\""),
        }
    }
}

/// Takes SQL apart.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '`' => {
                let (name, length) = quoted(rest, first)?;
                (Token::Name(name), length)
            }
            '\'' => {
                let (text, length) = quoted(rest, first)?;
                (Token::Text(text), length)
            }
            _ if first.is_ascii_digit() => {
                let digits = |character: char| !character.is_ascii_digit() && character != '.';
                let length = rest.find(digits).unwrap_or(rest.len());
                let number = rest[..length].parse();
                let number = number.map_err(|_| format!("{} is no number", &rest[..length]))?;
                (Token::Number(number), length)
            }
            _ if first.is_alphabetic() || first == '_' => {
                let part = |character: char| !character.is_alphanumeric() && character != '_';
                let length = rest.find(part).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_lowercase()), length)
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let symbol = symbol.ok_or_else(|| format!("\"{first}\" is not understood"))?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

/// What stands between two quotes, and how many bytes that takes with them. A quote within is written twice or, as
/// Spark has it, after a backslash.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut inner = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        if character == '\\' && next == Some(quote) || character == quote && next == Some(quote) {
            inner.push(quote);
            characters.next();
        } else if character == quote {
            return Ok((inner, at + quote.len_utf8()));
        } else {
            inner.push(character);
        }
    }
    Err(format!("a {quote} is not closed"))
}

/// Words that are still to be read.
pub(super) struct Tokens(VecDeque<Token>);

impl Tokens {
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens.into())
    }

    pub fn next(&mut self) -> Option<Token> {
        self.0.pop_front()
    }

    pub fn peek(&self) -> Option<&Token> {
        self.0.front()
    }

    /// Takes the keyword or symbol if it comes next.
    pub fn take(&mut self, expected: &str) -> bool {
        let comes = match self.peek() {
            Some(Token::Word(word)) => word == expected,
            Some(Token::Symbol(symbol)) => *symbol == expected,
            _ => false,
        };
        if comes {
            self.0.pop_front();
        }
        comes
    }

    pub fn expect(&mut self, expected: &str) -> Result<(), String> {
        if self.take(expected) {
            return Ok(());
        }
        match self.peek() {
            Some(token) => Err(format!("{token} stands where \"{expected}\" should")),
            None => Err("it ends too early".to_owned()),
        }
    }
}
