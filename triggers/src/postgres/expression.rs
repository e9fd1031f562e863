//! A guard for SQL conditions that users write: one expression, closed in itself, that cannot end the statement around it.
//!
//! This is no parser: Postgres judges the meaning. It makes sure that whatever stands in the parentheses we put around it
//! also ends there, in the statement that is run and in the text that a database administrator reviews.

use super::Error;

/// The longest condition, in bytes.
const LONGEST: usize = 4000;

/// Refuses what could leave its parentheses: a semicolon, a comment, an unclosed quote or parenthesis, a zero byte.
/// The expression is read as with `standard_conforming_strings = on`.
///
/// # Errors
/// [`Error::BadExpression`] with the character at which it was refused.
pub fn check_expression(text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(refused("it is empty", 1));
    }
    if text.len() > LONGEST {
        return Err(refused("it is longer than 4000 bytes", LONGEST));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut open = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '\0' => return Err(refused("it contains a zero byte", at + 1)),
            ';' => return Err(refused("a semicolon would end the statement", at + 1)),
            '-' if next == Some('-') => return Err(refused("comments are not allowed here", at + 1)),
            '/' if next == Some('*') => return Err(refused("comments are not allowed here", at + 1)),
            '(' => open.push(at),
            ')' if open.pop().is_none() => return Err(refused("a parenthesis is closed that was not opened", at + 1)),
            '\'' => {
                let escapes = at > 0 && matches!(chars[at - 1], 'e' | 'E') && !word_before(&chars, at - 1);
                at = end_of_quoted(&chars, at, escapes).ok_or_else(|| refused("a quote is not closed", at + 1))?;
            }
            '"' => at = end_of_quoted(&chars, at, false).ok_or_else(|| refused("a quote is not closed", at + 1))?,
            // A dollar inside a word belongs to the word; anywhere else it may open a quote.
            '$' if !word_before(&chars, at) && !next.is_some_and(|c| c.is_ascii_digit()) => {
                at = end_of_dollar(&chars, at).ok_or_else(|| refused("a dollar quote is not closed", at + 1))?;
            }
            _ => {}
        }
        at += 1;
    }
    open.pop().map_or(Ok(()), |at| Err(refused("a parenthesis is not closed", at + 1)))
}

fn refused(message: &'static str, position: usize) -> Error {
    Error::BadExpression { message, position }
}

/// Whether the character before `at` continues an identifier.
fn word_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || matches!(chars[at - 1], '_' | '$') || !chars[at - 1].is_ascii())
}

/// The index of the closing quote; a doubled quote stays inside, and with `escapes` a backslash protects what follows.
fn end_of_quoted(chars: &[char], start: usize, escapes: bool) -> Option<usize> {
    let quote = chars[start];
    let mut at = start + 1;
    while at < chars.len() {
        if chars[at] == '\0' {
            return None;
        }
        let doubled = chars[at] == quote && chars.get(at + 1) == Some(&quote);
        if doubled || (escapes && chars[at] == '\\') {
            at += 2;
        } else if chars[at] == quote {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// The index of the last character of a dollar-quoted text that opens at `start`.
fn end_of_dollar(chars: &[char], start: usize) -> Option<usize> {
    let length = chars[start + 1..].iter().position(|c| *c == '$')? + 2;
    let tag = &chars[start..start + length];
    if !tag[1..length - 1].iter().all(|c| c.is_alphanumeric() || *c == '_') {
        return None;
    }
    (start + length..=chars.len().checked_sub(length)?)
        .find(|at| chars[*at..].starts_with(tag))
        .map(|at| at + length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_conditions_pass() {
        for text in [
            "new.status = 'open'",
            "new.\"Odd (name\" is not null and (new.a > 1 or old.b < 2)",
            "new.note like '%;--%' and new.x ~ '^\\d+$'",
            "new.note = E'it\\'s; (' and new.a - -1 > 0",
            "new.note = $$it's (;$$ or new.a$b = $t$--$t$",
        ] {
            assert!(check_expression(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_could_leave_its_parentheses_is_refused_at_its_character() {
        for (text, at) in [
            ("", 1),
            ("true); drop table t", 5),
            ("true; drop table t", 5),
            ("(true", 1),
            ("new.a = 'x", 9),
            ("new.a = E'x\\'", 10),
            ("new.\"a", 5),
            ("new.a = 1 -- x", 11),
            ("new.a = 1 /* x", 11),
            ("new.a = $$x", 9),
            ("new.a = $t$x$$", 9),
            ("new.a = '\0'", 9),
        ] {
            match check_expression(text) {
                Err(Error::BadExpression { position, .. }) => assert_eq!(position, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
