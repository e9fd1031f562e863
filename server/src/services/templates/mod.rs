//! Templates: written in versions that never change, checked before they are stored, and shown as a person would get them
//! ([`render`]).

pub mod render;

use std::{collections::BTreeMap, fmt};

use domain::template::{Compiled, TemplateVersion, Variable};
use serde::{Deserialize, Serialize};

use super::{Context, Error, Result, Violation, contacts::Contact, error::all_right, etag, work::Work};
pub use crate::storage::templates::{TemplateRow, VersionRow};
use crate::storage::{self, Conn, templates};

/// The one variable that every template may use without declaring it: who is written to.
pub const CONTACT: &str = "contact";

/// What one version of a template says, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The contents and their variables.
    pub version: TemplateVersion,
    /// Why it was made.
    #[serde(default)]
    pub change_note: String,
    /// What variables mean, by name.
    #[serde(default)]
    pub descriptions: BTreeMap<String, String>,
    /// What providers must be told besides, one entry for each content.
    #[serde(default)]
    pub provider_parameters: Vec<BTreeMap<String, String>>,
}

/// A template by its slug, in its newest version or a given one: `welcome`, `welcome/versions/3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The slug.
    pub slug: String,
    /// The number of the version; 0 for the newest.
    pub number: i32,
}

impl Reference {
    /// Reads what [`Reference`] shows.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once("/versions/").and_then(|(slug, number)| Some((slug, number.parse().ok()?))) {
            Some((slug, number)) => Self { slug: slug.to_owned(), number },
            None => Self { slug: text.to_owned(), number: 0 },
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => f.write_str(&self.slug),
            number => write!(f, "{}/versions/{number}", self.slug),
        }
    }
}

impl Definition {
    /// Declares [`CONTACT`] where a content uses it, so that the rules of templates know it.
    #[must_use]
    pub fn with_contact(mut self) -> Self {
        let declared = self.version.variables.iter().any(|v| v.name == CONTACT);
        if !declared && self.uses_contact() {
            let example =
                serde_json::json!({"name": "Asha Rao", "locale": "en", "external_id": "42", "attributes": {}});
            let variable =
                Variable { name: CONTACT.to_owned(), required: false, default: None, example: Some(example) };
            self.version.variables.push(variable);
        }
        self
    }

    /// Whether it says who is written to: stored versions declare what they use.
    #[must_use]
    pub fn says_contact(&self) -> bool {
        self.version.variables.iter().any(|v| v.name == CONTACT) || self.uses_contact()
    }

    fn uses_contact(&self) -> bool {
        let Ok(compiled) = Compiled::new(&self.version) else { return false };
        let mut types = compiled.channel_types().into_iter();
        types.any(|channel_type| compiled.required_variables(channel_type).contains(CONTACT))
    }

    /// Makes the version ready to render.
    ///
    /// # Errors
    /// [`Error::Storage`] when what was stored does not compile any more, which only an older version of ours can have written.
    pub fn compile(&self) -> Result<Compiled> {
        Compiled::new(&self.version).map_err(|found| {
            let words = found.first().map(ToString::to_string).unwrap_or_default();
            Error::Storage(storage::Error::Corrupt(format!("a template version does not compile: {words}")))
        })
    }
}

/// A template with its newest version.
#[derive(Debug, Clone)]
pub struct Template {
    /// What stands of the template.
    pub row: TemplateRow,
    /// Its newest version; none while there is none.
    pub latest: Option<Version>,
}

/// One version.
#[derive(Debug, Clone)]
pub struct Version {
    /// What stands of the version.
    pub row: VersionRow,
    /// What it says.
    pub definition: Definition,
}

/// A template to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Its first version.
    pub first: Option<Definition>,
}

/// What is to be written of a template; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The name of a template in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("templates/{slug}")
}

/// What a template sees of the person whom it is written to, as its variable [`CONTACT`].
#[must_use]
pub fn contact_value(contact: &Contact) -> serde_json::Value {
    serde_json::json!({
        "name": contact.display_name,
        "locale": contact.locale,
        "external_id": contact.external_id.as_deref().unwrap_or_default(),
        "attributes": contact.attributes,
    })
}

/// Creates a template, with its first version if one is given.
///
/// # Errors
/// [`Error::Invalid`] for the version, [`Error::AlreadyExists`].
pub async fn create(work: &mut Work, new: New) -> Result<Template> {
    let first = new.first.map(Definition::with_contact);
    if let Some(first) = &first {
        all_right(first.violations("initial_version"))?;
    }
    if templates::find(work.conn(), &new.slug).await?.is_some() {
        return Err(Error::AlreadyExists(name_of(&new.slug)));
    }
    let now = work.now();
    let id = templates::insert(work.conn(), &new.slug, &new.display_name, &new.description, now).await?;
    if let Some(first) = &first {
        let document = serde_json::to_value(first).map_err(storage::Error::from)?;
        templates::add_version(work.conn(), id, &document, now).await?;
    }
    one(work.conn(), &new.slug).await
}

/// One template with its newest version.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Template> {
    one(&mut *context.lists.conn().await?, slug).await
}

/// A page of templates, by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<Template>> {
    let conn = &mut *context.lists.conn().await?;
    let rows = templates::list(conn, after, limit).await?;
    let slugs: Vec<&str> = rows.iter().map(|t| t.slug.as_str()).collect();
    let mut latest = BTreeMap::new();
    for (slug, _, row) in templates::resolve(conn, &slugs, &vec![0; slugs.len()]).await? {
        latest.insert(slug, read(row)?);
    }
    Ok(rows.into_iter().map(|row| Template { latest: latest.remove(&row.slug), row }).collect())
}

/// Changes the names of a template.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Template> {
    let row = locked(work.conn(), slug, etag).await?;
    let display_name = change.display_name.unwrap_or_else(|| row.display_name.clone());
    let description = change.description.unwrap_or_else(|| row.description.clone());
    if (&display_name, &description) != (&row.display_name, &row.description) {
        let now = work.now();
        templates::update(work.conn(), row.id, &display_name, &description, now).await?;
    }
    one(work.conn(), slug).await
}

/// Deletes a template that nothing needs; what is pinned to its versions goes on.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let row = locked(work.conn(), slug, etag).await?;
    if let Some(used_by) = templates::used_by(work.conn(), slug).await? {
        return Err(Error::InUse { name: name_of(slug), used_by });
    }
    let now = work.now();
    Ok(templates::delete(work.conn(), row.id, now).await?)
}

/// Adds a version, which is the newest from then on.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn add_version(work: &mut Work, slug: &str, definition: Definition, etag: &str) -> Result<Version> {
    let definition = definition.with_contact();
    all_right(definition.violations("template_version"))?;
    let row = locked(work.conn(), slug, etag).await?;
    let (document, now) = (serde_json::to_value(&definition).map_err(storage::Error::from)?, work.now());
    let number = templates::add_version(work.conn(), row.id, &document, now).await?;
    version(work.conn(), &Reference { slug: slug.to_owned(), number }).await
}

/// One version.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_version(context: &Context, reference: &Reference) -> Result<Version> {
    version(&mut *context.lists.conn().await?, reference).await
}

/// A page of the versions of a template, the newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_versions(context: &Context, slug: &str, below: i32, limit: i64) -> Result<Vec<Version>> {
    let conn = &mut *context.lists.conn().await?;
    let row = templates::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name_of(slug)))?;
    templates::list_versions(conn, row.id, below, limit).await?.into_iter().map(read).collect()
}

async fn version(conn: &mut Conn, reference: &Reference) -> Result<Version> {
    let found = templates::resolve(conn, &[&reference.slug], &[reference.number]).await?.pop();
    read(found.ok_or_else(|| Error::NotFound(format!("templates/{reference}")))?.2)
}

fn read(row: VersionRow) -> Result<Version> {
    let definition = serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?;
    Ok(Version { row, definition })
}

async fn one(conn: &mut Conn, slug: &str) -> Result<Template> {
    let row = templates::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name_of(slug)))?;
    let newest = templates::resolve(conn, &[slug], &[0]).await?.pop();
    Ok(Template { row, latest: newest.map(|(_, _, row)| read(row)).transpose()? })
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<TemplateRow> {
    templates::lock(conn, slug).await?;
    let row = templates::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name_of(slug)))?;
    etag::check(&name_of(slug), etag, row.version)?;
    Ok(row)
}

impl Definition {
    /// Everything that is wrong with it, beneath `path`, in the words of the contract.
    fn violations(&self, path: &str) -> Vec<Violation> {
        let found = self.version.validate().into_iter();
        found
            .map(|found| {
                let field = found.field.replacen(".body", ".content", 1);
                Violation::new(field, found.description).because("TEMPLATE_INVALID").inside(path)
            })
            .collect()
    }
}
