//! Rendering: a version is compiled once and then says what is to be said to one person after the other.
//!
//! A string without variables is copied; the others are templates of one engine that the version owns. Nothing is looked up
//! outside the version and the variables that are handed in.

use std::collections::{BTreeSet, HashMap};

use minijinja::{Environment, Value};
use serde_json::Map;

use super::limits::{self, Breach};
use super::{Body, TemplateVersion, Variable, engine};
use crate::channel::ChannelType;
use crate::locale::Locale;
use crate::message::Content;
use crate::violation::Violation;

/// A template version that is ready to render. Build it once and share it; it is immutable.
#[derive(Debug)]
pub struct Compiled {
    env: Environment<'static>,
    variables: HashMap<String, Variable>,
    default_language: String,
    contents: Vec<CompiledContent>,
}

#[derive(Debug)]
struct CompiledContent {
    channel_type: ChannelType,
    language: String,
    body: Body<Piece>,
    /// The names that its strings look up.
    used: BTreeSet<String>,
}

/// One string of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Nothing to render.
    Plain(String),
    /// The name of a template in the engine.
    Named(String),
}

/// What a template says to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The content, within the limits of the channel type.
    pub content: Content,
    /// The language that was chosen.
    pub language: String,
}

/// Why a template says nothing to one person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A required variable is missing or null; carries its name.
    #[error("variable {0} is required and missing")]
    MissingVariable(String),
    /// The template has nothing for this channel type.
    #[error("the template has no content for {0}")]
    NoContent(ChannelType),
    /// Neither the wanted languages nor the default one are among the contents of this channel type.
    #[error("the template has no {channel_type} content in any of: {}", .wanted.join(", "))]
    NoLanguage {
        /// The channel type.
        channel_type: ChannelType,
        /// What was looked for, in order.
        wanted: Vec<String>,
    },
    /// With these values a field is longer than the channel type allows.
    #[error("{field} has {actual} {unit}, at most {limit} are allowed")]
    TooLong {
        /// The path of the field inside the body.
        field: String,
        /// The most that is allowed.
        limit: usize,
        /// How much there is.
        actual: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// Rendering failed, or gave something that cannot be sent; says where and why, without values.
    #[error("{field}: {reason}")]
    Failed {
        /// The path of the field inside the body.
        field: String,
        /// The reason.
        reason: String,
    },
}

impl Compiled {
    /// Compiles a version. A version that passed [`TemplateVersion::validate`] always compiles.
    ///
    /// # Errors
    /// Every string that is no template, with its line.
    pub fn new(version: &TemplateVersion) -> Result<Self, Vec<Violation>> {
        let mut compiler = Compiler { env: engine::environment(), violations: Vec::new(), next: 0 };
        let contents = version.contents.iter().enumerate().map(|(i, content)| {
            let mut used = BTreeSet::new();
            let path = format!("contents[{i}].body");
            let body = compiler.body(&path, &content.body, &mut used);
            CompiledContent { channel_type: content.channel_type, language: content.language.clone(), body, used }
        });
        let contents = contents.collect();
        if !compiler.violations.is_empty() {
            return Err(compiler.violations);
        }
        let variables = version.variables.iter().map(|v| (v.name.clone(), v.clone())).collect();
        Ok(Self { env: compiler.env, variables, default_language: version.default_language.clone(), contents })
    }

    /// Renders the content of a channel type in the best language for a person.
    ///
    /// `locales` are the person's languages, the preferred first. Each is tried as it is, then more general (`hi-IN`, `hi`),
    /// then the default language of the template. Variables that the template does not declare are ignored.
    ///
    /// # Errors
    /// See [`RenderError`]; none of them carries a value of a variable.
    pub fn render(
        &self,
        channel_type: ChannelType,
        locales: &[&str],
        variables: &Map<String, serde_json::Value>,
    ) -> Result<Rendered, RenderError> {
        let content = self.choose(channel_type, locales)?;
        let context = self.context(&content.used, variables)?;
        let body =
            content.body.try_map(&mut |field, piece| self.piece(piece, &context).map_err(|e| failed(field, &e)))?;
        let content_of_body = limits::fit(channel_type, Content::from(body));
        match limits::check(channel_type, &content_of_body).into_iter().next() {
            None => Ok(Rendered { content: content_of_body, language: content.language.clone() }),
            Some(Breach::TooLong { field, limit, actual, unit }) => {
                Err(RenderError::TooLong { field, limit, actual, unit })
            }
            Some(Breach::Wrong(violation)) => {
                Err(RenderError::Failed { field: violation.field, reason: violation.description })
            }
        }
    }

    /// The variables that must be given to render any content of a channel type: required, without a default, and used.
    #[must_use]
    pub fn required_variables(&self, channel_type: ChannelType) -> BTreeSet<&str> {
        let contents = self.contents.iter().filter(|c| c.channel_type == channel_type);
        let used = contents.flat_map(|c| c.used.iter().map(String::as_str));
        used.filter(|name| self.variables.get(*name).is_none_or(Variable::must_be_given)).collect()
    }

    /// The channel types that the template has something for, in order and once each.
    #[must_use]
    pub fn channel_types(&self) -> BTreeSet<ChannelType> {
        self.contents.iter().map(|c| c.channel_type).collect()
    }

    fn choose(&self, channel_type: ChannelType, locales: &[&str]) -> Result<&CompiledContent, RenderError> {
        let of_type = || self.contents.iter().filter(|c| c.channel_type == channel_type);
        if of_type().next().is_none() {
            return Err(RenderError::NoContent(channel_type));
        }
        let mut wanted = Vec::new();
        for locale in locales.iter().copied().chain([self.default_language.as_str()]) {
            // A contact's language may be old data that is no tag; the next one is tried then.
            let Ok(locale) = Locale::parse(locale) else { continue };
            for tag in locale.chain() {
                if let Some(content) = of_type().find(|c| c.language == tag) {
                    return Ok(content);
                }
                wanted.push(tag.to_owned());
            }
        }
        wanted.dedup();
        Err(RenderError::NoLanguage { channel_type, wanted })
    }

    /// The values of the names that a content uses: as given, else the default, else nothing for what is optional.
    fn context(&self, used: &BTreeSet<String>, given: &Map<String, serde_json::Value>) -> Result<Value, RenderError> {
        let mut values = Vec::with_capacity(used.len());
        for name in used {
            let declared = self.variables.get(name);
            let given = given.get(name).filter(|v| !v.is_null());
            let value = match given.or_else(|| declared.and_then(|v| v.default.as_ref())) {
                Some(value) => engine::value(value),
                None if declared.is_some_and(|v| !v.required) => Value::from(()),
                None => return Err(RenderError::MissingVariable(name.clone())),
            };
            values.push((name.as_str(), value));
        }
        Ok(Value::from_pairs(values))
    }

    fn piece(&self, piece: &Piece, context: &Value) -> Result<String, minijinja::Error> {
        match piece {
            Piece::Plain(text) => Ok(text.clone()),
            Piece::Named(name) => engine::render(&self.env, name, context),
        }
    }

    /// For validation: the names that a content uses, by its index.
    pub(super) fn used(&self, content: usize) -> Option<&BTreeSet<String>> {
        self.contents.get(content).map(|c| &c.used)
    }

    /// For validation: one content with these values, before its limits are asked.
    pub(super) fn draft(&self, content: usize, values: &Value) -> Option<Result<Content, (String, minijinja::Error)>> {
        let body = &self.contents.get(content)?.body;
        let body = body.try_map(&mut |field, piece| self.piece(piece, values).map_err(|e| (field.to_owned(), e)));
        Some(body.map(Content::from))
    }
}

impl Variable {
    /// Whether a send must bring a value: required, and without a default that stands for it.
    #[must_use]
    pub fn must_be_given(&self) -> bool {
        self.required && self.default.is_none()
    }
}

fn failed(field: &str, error: &minijinja::Error) -> RenderError {
    RenderError::Failed { field: field.to_owned(), reason: engine::describe(error) }
}

struct Compiler {
    env: Environment<'static>,
    violations: Vec<Violation>,
    next: usize,
}

impl Compiler {
    fn body(&mut self, path: &str, body: &Body, used: &mut BTreeSet<String>) -> Body<Piece> {
        let mapped: Result<_, std::convert::Infallible> =
            body.try_map(&mut |field, source| Ok(self.piece(&format!("{path}.{field}"), field, source, used)));
        match mapped {
            Ok(body) => body,
            Err(never) => match never {},
        }
    }

    /// Compiles one string; one that cannot be compiled is noted, and stands as empty until the caller refuses the whole.
    fn piece(&mut self, path: &str, field: &str, source: &str, used: &mut BTreeSet<String>) -> Piece {
        if source.len() > engine::MAX_SOURCE_BYTES {
            let limit = engine::MAX_SOURCE_BYTES;
            self.violations
                .push(Violation::new(path, format!("has {} bytes, at most {limit} are allowed", source.len())));
            return Piece::Plain(String::new());
        }
        if !engine::is_dynamic(source) {
            return Piece::Plain(source.to_owned());
        }
        self.next += 1;
        let name = format!("{}.{}", self.next, if field == "html" { "html" } else { "text" });
        if let Err(error) = self.env.add_template_owned(name.clone(), source.to_owned()) {
            self.violations.push(Violation::new(path, engine::describe(&error)));
            return Piece::Plain(String::new());
        }
        if let Ok(template) = self.env.get_template(&name) {
            let names = template.undeclared_variables(false);
            used.extend(names.into_iter().filter(|n| !engine::GLOBALS.contains(&n.as_str())));
        }
        Piece::Named(name)
    }
}
