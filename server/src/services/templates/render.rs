//! A template as a person would get it, without sending: what is missing and what may go wrong is part of the answer.

use domain::{
    channel::ChannelType,
    message::Content,
    sms::{self, Segments},
    template::{Compiled, RenderError},
};
use serde_json::{Map, Value};

use super::{CONTACT, Definition, Reference, contact_value, get_version, name_of};
use crate::services::{
    Context, Error, Result, Violation,
    contacts::{self, ContactName},
    error::all_right,
};

/// What is rendered.
#[derive(Debug, Clone)]
pub enum Source {
    /// A stored version.
    Stored(Reference),
    /// A version that is not stored yet.
    Inline(Box<Definition>),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is rendered.
    pub source: Source,
    /// On which channel type.
    pub channel_type: ChannelType,
    /// In which language; empty: the contact's, else the default one.
    pub language: String,
    /// The values of variables.
    pub variables: Map<String, Value>,
    /// Whom it is written to.
    pub contact: Option<ContactName>,
    /// Whether examples stand in for values that are not given.
    pub use_examples: bool,
}

/// How it looks.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The version that was rendered; empty for an inline one.
    pub version: String,
    /// The language that was chosen.
    pub language: String,
    /// What is said; none when something stands in the way.
    pub content: Option<Content>,
    /// How it is split, for short messages.
    pub segments: Option<Segments>,
    /// The required variables that have no value.
    pub missing: Vec<String>,
    /// What stands in the way, as (field, words).
    pub problems: Vec<(String, String)>,
}

/// Renders.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`] for an inline version, or for the reason CONTENT_MISSING.
pub async fn render(context: &Context, mut question: Question) -> Result<Preview> {
    let (definition, version, template) = match question.source.clone() {
        Source::Inline(definition) => (definition.with_contact(), String::new(), String::new()),
        Source::Stored(reference) => {
            let stored = get_version(context, &reference).await?;
            let name = format!("{}/versions/{}", name_of(&stored.row.slug), stored.row.number);
            (stored.definition, name, name_of(&reference.slug))
        }
    };
    all_right(definition.violations("template_version"))?;
    if let Some(name) = &question.contact {
        let contact = contacts::get(context, name).await?;
        question.variables.insert(CONTACT.to_owned(), contact_value(&contact));
        if question.language.is_empty() {
            question.language = contact.locale;
        }
    }
    if question.use_examples {
        fill_with_examples(&definition, &mut question.variables);
    }
    let compiled = definition.compile()?;
    if !compiled.channel_types().contains(&question.channel_type) {
        return Err(no_content(&template, question.channel_type));
    }
    Ok(Preview { version, ..preview(&compiled, &question) })
}

fn fill_with_examples(definition: &Definition, variables: &mut Map<String, Value>) {
    for variable in &definition.version.variables {
        if let Some(example) = &variable.example {
            variables.entry(variable.name.clone()).or_insert_with(|| example.clone());
        }
    }
}

fn preview(compiled: &Compiled, question: &Question) -> Preview {
    let given = |name: &str| question.variables.get(name).is_some_and(|value| !value.is_null());
    let required = compiled.required_variables(question.channel_type).into_iter();
    let missing: Vec<String> = required.filter(|name| !given(name)).map(str::to_owned).collect();
    if !missing.is_empty() {
        return Preview { missing, ..Preview::default() };
    }
    let locales: Vec<&str> = Some(question.language.as_str()).filter(|l| !l.is_empty()).into_iter().collect();
    match compiled.render(question.channel_type, &locales, &question.variables) {
        Ok(rendered) => Preview {
            segments: (question.channel_type == ChannelType::Sms)
                .then(|| sms::segments(&rendered.content.plain_text())),
            language: rendered.language,
            content: Some(rendered.content),
            ..Preview::default()
        },
        Err(RenderError::MissingVariable(name)) => Preview { missing: vec![name], ..Preview::default() },
        Err(error) => Preview { problems: vec![problem(&error)], ..Preview::default() },
    }
}

fn problem(error: &RenderError) -> (String, String) {
    match error {
        RenderError::TooLong { field, limit, actual, unit } => {
            (format!("content.{field}"), format!("has {actual} {unit} with these values, at most {limit} are allowed"))
        }
        RenderError::Failed { field, reason } => (format!("content.{field}"), reason.clone()),
        RenderError::MissingVariable(_) | RenderError::NoContent(_) | RenderError::NoLanguage { .. } => {
            ("language".to_owned(), error.to_string())
        }
    }
}

fn no_content(template: &str, channel_type: ChannelType) -> Error {
    let words = format!("is {channel_type}, for which the template has no content");
    let violation = Violation::new("channel_type", words).because("CONTENT_MISSING");
    Error::Invalid(vec![violation.with("template", template).with("channel_type", channel_type.as_str())])
}
