//! Reading a filter: words with their columns, then a descent with one function for each level of binding.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::{Field, Filter, FilterError, MAX_DEPTH, MAX_LENGTH, MAX_TERMS, Operator, Value};

/// The names of one attribute path.
const MAX_PATH: usize = 8;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A bare word: a keyword, a field, a value.
    Word(String),
    /// A quoted text, and whether it ended with an unescaped `*`.
    Quoted(String, bool),
    Operator(Operator),
    Open,
    Close,
    Has,
    Minus,
    End,
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Quoted(..) => "a quoted text".to_owned(),
            Self::Operator(operator) => format!("'{operator}'"),
            Self::Open => "'('".to_owned(),
            Self::Close => "')'".to_owned(),
            Self::Has => "':'".to_owned(),
            Self::Minus => "'-'".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

fn wrong<T>(column: usize, problem: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError { column, problem: problem.into() })
}

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_LENGTH {
        return wrong(1, format!("the filter has {} bytes, at most {MAX_LENGTH} are allowed", text.len()));
    }
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), terms: 0 };
    let filter = parser.all_of(0)?;
    match parser.next() {
        (Token::End, _) => Ok(filter),
        (Token::Close, column) => wrong(column, "there is a ')' without a '('"),
        (token, column) => wrong(column, format!("expected AND or OR, found {}", token.describe())),
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, FilterError> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let token = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '"' | '\'' => quoted(&chars, &mut at)?,
            '(' | ')' | ':' | '=' | '<' | '>' | '!' => symbol(&chars, &mut at)?,
            '-' if !chars.get(at + 1).is_some_and(char::is_ascii_digit) => {
                at += 1;
                Token::Minus
            }
            c if is_word(c) => {
                while chars.get(at).is_some_and(|c| is_word(*c)) {
                    at += 1;
                }
                Token::Word(chars[start..at].iter().collect())
            }
            c => return wrong(start + 1, format!("{c:?} has no meaning here; put texts in double quotes")),
        };
        found.push((token, start + 1));
    }
    found.push((Token::End, chars.len() + 1));
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+' | '/' | '*')
}

fn symbol(chars: &[char], at: &mut usize) -> Result<Token, FilterError> {
    let equals = chars.get(*at + 1) == Some(&'=');
    let (token, length) = match (chars[*at], equals) {
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        (':', _) => (Token::Has, 1),
        ('=', false) => (Token::Operator(Operator::Equal), 1),
        ('<', false) => (Token::Operator(Operator::Less), 1),
        ('>', false) => (Token::Operator(Operator::Greater), 1),
        ('<', true) => (Token::Operator(Operator::LessOrEqual), 2),
        ('>', true) => (Token::Operator(Operator::GreaterOrEqual), 2),
        ('!', true) => (Token::Operator(Operator::NotEqual), 2),
        ('=', true) => return wrong(*at + 1, "write one = to compare"),
        (c, _) => return wrong(*at + 1, format!("{c:?} has no meaning here; write != or NOT")),
    };
    *at += length;
    Ok(token)
}

fn quoted(chars: &[char], at: &mut usize) -> Result<Token, FilterError> {
    let (start, quote) = (*at, chars[*at]);
    let mut text = String::new();
    let mut star = false;
    *at += 1;
    loop {
        match (chars.get(*at), chars.get(*at + 1)) {
            (None, _) => return wrong(start + 1, "the quoted text has no end"),
            (Some(c), _) if *c == quote => break,
            (Some('\\'), Some(escaped)) => {
                if !matches!(escaped, '\\' | '"' | '\'' | '*') {
                    return wrong(*at + 1, "a backslash stands before a quote, a backslash or a *");
                }
                text.push(*escaped);
                star = false;
                *at += 2;
                continue;
            }
            (Some(c), _) => {
                text.push(*c);
                star = *c == '*';
            }
        }
        *at += 1;
    }
    *at += 1;
    if star {
        text.pop();
    }
    Ok(Token::Quoted(text, star))
}

struct Parser {
    tokens: Peekable<IntoIter<(Token, usize)>>,
    terms: usize,
}

impl Parser {
    fn next(&mut self) -> (Token, usize) {
        self.tokens.next().unwrap_or((Token::End, 0))
    }

    fn column(&mut self) -> usize {
        self.tokens.peek().map_or(0, |(_, column)| *column)
    }

    /// Takes the next token when it is this keyword.
    fn keyword(&mut self, keyword: &str) -> bool {
        self.tokens.next_if(|(token, _)| matches!(token, Token::Word(word) if word == keyword)).is_some()
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|(token, _)| token == wanted).is_some()
    }

    fn all_of(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.any_of(depth)?];
        while self.keyword("AND") {
            parts.push(self.any_of(depth)?);
        }
        Ok(joined(parts, Filter::And))
    }

    fn any_of(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.term(depth)?];
        while self.keyword("OR") {
            parts.push(self.term(depth)?);
        }
        Ok(joined(parts, Filter::Or))
    }

    fn term(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let column = self.column();
        if depth > MAX_DEPTH {
            return wrong(column, format!("the filter nests deeper than {MAX_DEPTH} levels"));
        }
        if self.keyword("NOT") || self.takes(&Token::Minus) {
            return Ok(Filter::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.takes(&Token::Open) {
            let inner = self.all_of(depth + 1)?;
            return match self.next() {
                (Token::Close, _) => Ok(inner),
                (Token::End, _) => wrong(column, "this '(' has no ')'"),
                (token, at) => wrong(at, format!("expected AND, OR or ')', found {}", token.describe())),
            };
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return wrong(column, format!("the filter has more than {MAX_TERMS} comparisons"));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, FilterError> {
        let (token, column) = self.next();
        let Token::Word(word) = token else {
            return wrong(column, format!("expected a field, found {}", token.describe()));
        };
        if word == "has" && self.takes(&Token::Open) {
            return self.has_address();
        }
        let field = field(&word, column)?;
        match self.next() {
            (Token::Operator(operator), at) => self.compared(field, operator, at),
            (Token::Has, at) => match (self.next(), &field) {
                ((Token::Word(star), _), Field::Attribute(_)) if star == "*" => Ok(Filter::Present(field)),
                ((Token::Word(star), _), _) if star == "*" => {
                    wrong(at, "':*' is for attributes; compare this field with = instead")
                }
                _ => wrong(at, "write attributes.NAME:* to ask whether an attribute is there, or = to compare"),
            },
            (token, at) => {
                wrong(at, format!("expected =, !=, <, <=, >, >= or :* after {word}, found {}", token.describe()))
            }
        }
    }

    fn has_address(&mut self) -> Result<Filter, FilterError> {
        let (token, column) = self.next();
        let kind = match &token {
            Token::Word(word) => word.parse().ok(),
            _ => None,
        };
        let Some(kind) = kind else {
            return wrong(column, "has() takes a kind of address: phone, email or whatsapp_user");
        };
        match self.next() {
            (Token::Close, _) => Ok(Filter::HasAddress(kind)),
            (token, at) => wrong(at, format!("expected ')' after has({kind}, found {}", token.describe())),
        }
    }

    fn compared(&mut self, field: Field, operator: Operator, at: usize) -> Result<Filter, FilterError> {
        let (token, column) = self.next();
        let value = match token {
            Token::Quoted(text, false) => Value::Text(text),
            Token::Quoted(text, true) => Value::Prefix(text),
            Token::Word(word) if !matches!(word.as_str(), "AND" | "OR" | "NOT") => bare(&word, &field),
            token => return wrong(column, format!("expected a value after '{operator}', found {}", token.describe())),
        };
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        match &value {
            Value::Prefix(_) if ordered => wrong(column, "a text that ends with * goes with = and != only"),
            Value::Bool(_) if ordered => wrong(at, "true and false go with = and != only"),
            _ => Ok(Filter::Compare { field, operator, value }),
        }
    }
}

fn joined(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn field(word: &str, column: usize) -> Result<Field, FilterError> {
    match word {
        "external_id" => Ok(Field::ExternalId),
        "display_name" => Ok(Field::DisplayName),
        "locale" => Ok(Field::Locale),
        "time_zone" => Ok(Field::TimeZone),
        _ => match word.strip_prefix("attributes.") {
            Some(path) => attribute(path, column),
            None => wrong(
                column,
                format!(
                    "{word:?} is not a field; fields are external_id, display_name, locale, time_zone, attributes.NAME, has(KIND)"
                ),
            ),
        },
    }
}

fn attribute(path: &str, column: usize) -> Result<Field, FilterError> {
    let names: Vec<String> = path.split('.').map(str::to_owned).collect();
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if names.len() > MAX_PATH || names.iter().any(|name| name.is_empty() || !name.chars().all(allowed)) {
        return wrong(
            column,
            format!("an attribute is 1 to {MAX_PATH} names of letters, digits, _ and -, joined by dots"),
        );
    }
    Ok(Field::Attribute(names))
}

/// A value without quotes: a number or truth value where the field can hold one, else a word.
fn bare(word: &str, field: &Field) -> Value {
    let attribute = matches!(field, Field::Attribute(_));
    let number = word.parse::<f64>().ok().filter(|n| n.is_finite() && word.contains(|c: char| c.is_ascii_digit()));
    match (word, number) {
        ("true", _) if attribute => Value::Bool(true),
        ("false", _) if attribute => Value::Bool(false),
        (_, Some(number)) if attribute => Value::Number(number),
        _ => match word.strip_suffix('*') {
            Some(prefix) => Value::Prefix(prefix.to_owned()),
            None => Value::Text(word.to_owned()),
        },
    }
}
