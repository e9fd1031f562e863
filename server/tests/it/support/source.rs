//! Reads our own sources as tokens, for the tests that hold the walls and the plans of our SQL. It knows as much of Rust as
//! they ask for: comments, strings, identifiers, paths with their groups, and in which inline module something stands.

use std::path::{Path, PathBuf};

/// One token, with the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// The text of a string literal, escapes untouched.
    Text(String),
    /// A number, a character or a lifetime: nothing that a test asks for.
    Other,
    /// `::`.
    PathSeparator,
    /// Any other sign.
    Sign(char),
}

impl Token {
    /// The identifier, where it is one.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this sign.
    pub fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server's crate lies in the workspace")
}

/// Every file below `folder` (relative to the root) whose name ends in `ending`, in order; build output is left out.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry of a folder").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            match path.is_dir() {
                true if name == "target" || name.starts_with('.') => {}
                true => open.push(path),
                false if name.ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// The path of a file as a person writes it: from the root, with slashes.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The tokens of a source text; comments are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < text.len() {
        let (began, began_line) = (at, line);
        let kind = match text[at] {
            c if c.is_whitespace() => {
                at += 1;
                None
            }
            '/' if text.get(at + 1) == Some(&'/') => {
                while at < text.len() && text[at] != '\n' {
                    at += 1;
                }
                None
            }
            '/' if text.get(at + 1) == Some(&'*') => {
                at = after_comment(&text, at);
                None
            }
            '"' => Some(string(&text, &mut at)),
            '\'' => {
                at = after_character(&text, at);
                Some(Kind::Other)
            }
            c if c.is_alphabetic() || c == '_' => Some(word_or_string(&text, &mut at)),
            c if c.is_ascii_digit() => {
                while at < text.len() && (text[at].is_alphanumeric() || text[at] == '_') {
                    at += 1;
                }
                Some(Kind::Other)
            }
            ':' if text.get(at + 1) == Some(&':') => {
                at += 2;
                Some(Kind::PathSeparator)
            }
            sign => {
                at += 1;
                Some(Kind::Sign(sign))
            }
        };
        line += text[began..at].iter().filter(|c| **c == '\n').count();
        found.extend(kind.map(|kind| Token { line: began_line, kind }));
    }
    found
}

fn after_comment(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A character literal or a lifetime.
fn after_character(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => (at + 3..text.len()).find(|i| text[*i] == '\'').map_or(text.len(), |i| i + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => {
            let name = |i: &usize| text[*i].is_alphanumeric() || text[*i] == '_';
            (at + 1..text.len()).find(|i| !name(i)).unwrap_or(text.len())
        }
    }
}

fn string(text: &[char], at: &mut usize) -> Kind {
    let began = *at + 1;
    *at = began;
    while *at < text.len() && text[*at] != '"' {
        *at += if text[*at] == '\\' { 2 } else { 1 };
    }
    let end = (*at).min(text.len());
    *at = (end + 1).min(text.len());
    Kind::Text(text[began.min(end)..end].iter().collect())
}

fn word_or_string(text: &[char], at: &mut usize) -> Kind {
    let began = *at;
    while *at < text.len() && (text[*at].is_alphanumeric() || text[*at] == '_') {
        *at += 1;
    }
    let word: String = text[began..*at].iter().collect();
    let hashes = text[*at..].iter().take_while(|c| **c == '#').count();
    let quoted = text.get(*at + hashes) == Some(&'"');
    match word.as_str() {
        "r" | "br" | "cr" if quoted => {
            let began = *at + hashes + 1;
            let closes =
                |i: &usize| text[*i] == '"' && text[*i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
            let end = (began..text.len()).find(closes).unwrap_or(text.len());
            *at = (end + 1 + hashes).min(text.len());
            Kind::Text(text[began..end].iter().collect())
        }
        "b" | "c" if quoted && hashes == 0 => string(text, at),
        _ => Kind::Word(word),
    }
}

/// A path that a source names, in full: each leaf of a group is a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    /// Its parts; a glob ends with `*`.
    pub parts: Vec<String>,
    /// The inline modules around it, such as `tests`.
    pub inside: Vec<String>,
}

/// Every path of two parts or more that a source names, in imports and in expressions.
pub fn paths(tokens: &[Token]) -> Vec<Named> {
    let (mut found, mut at) = (Vec::new(), 0);
    let (mut depth, mut modules): (usize, Vec<(usize, String)>) = (0, Vec::new());
    while at < tokens.len() {
        let token = &tokens[at];
        match &token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                depth = depth.saturating_sub(1);
                modules.retain(|(opened, _)| *opened <= depth);
            }
            Kind::Word(word) if word == "mod" && tokens.get(at + 2).is_some_and(|t| t.is('{')) => {
                let name = tokens[at + 1].word().unwrap_or_default();
                modules.push((depth + 1, name.to_owned()));
            }
            Kind::Word(_) if at == 0 || tokens[at - 1].kind != Kind::PathSeparator => {
                let inside: Vec<String> = modules.iter().map(|(_, name)| name.clone()).collect();
                let next = path(tokens, at, &[], &inside, &mut found);
                at = next.max(at + 1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found.retain(|named| named.parts.len() > 1);
    found
}

/// Reads one path from `at` on, below `prefix`. Says where it ends.
fn path(tokens: &[Token], mut at: usize, prefix: &[String], inside: &[String], found: &mut Vec<Named>) -> usize {
    let (mut parts, line) = (prefix.to_vec(), tokens[at].line);
    let named = |parts: Vec<String>| Named { line, parts, inside: inside.to_vec() };
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) => parts.push(word.clone()),
            Kind::Sign('*') if parts.len() > prefix.len() || !prefix.is_empty() => parts.push("*".to_owned()),
            Kind::Sign('{') => {
                at += 1;
                while at < tokens.len() && !tokens[at].is('}') {
                    at = match tokens[at].kind {
                        Kind::Word(_) | Kind::Sign('*') => path(tokens, at, &parts, inside, found),
                        _ => at + 1,
                    };
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|t| t.kind != Kind::PathSeparator) {
            break;
        }
        at += 1;
    }
    // `use a::b as c` names a::b alone; a turbofish leaves the path where it is.
    if tokens.get(at).and_then(Token::word) == Some("as") && !prefix.is_empty() {
        at += 2;
    }
    found.push(named(parts));
    at
}

/// The string literals in the body of a function of a source: the texts of its queries.
pub fn texts_of(tokens: &[Token], function: &str) -> Option<Vec<String>> {
    let named = |pair: &[Token]| pair[0].word() == Some("fn") && pair[1].word() == Some(function);
    let began = tokens.windows(2).position(named)?;
    let (mut depth, mut texts) = (0usize, Vec::new());
    for token in &tokens[began..] {
        match &token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(texts);
                }
            }
            Kind::Text(text) if depth > 0 => texts.push(text.clone()),
            _ => {}
        }
    }
    None
}
