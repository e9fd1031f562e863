//! Audiences: who is meant by a name. A list holds its members, a filter means contacts when it is read, a query means rows
//! of a source, who become contacts. Reading them page by page stands in [`reading`], queries in [`sql`].

pub mod preview;
pub mod reading;
pub mod sql;

use domain::filter::Filter;
use serde::{Deserialize, Serialize};

use super::{
    Context, Error, Result,
    contacts::{self, ContactName},
    error::all_right,
    etag,
    work::Work,
};
pub use crate::storage::audiences::AudienceRow;
use crate::storage::{
    self, Conn,
    audiences::{self, AudienceWrite},
};
pub use sql::Query;

/// The most contacts that are put on a list, or taken off, at once.
pub const MAX_MEMBERS: usize = 1000;

/// Who is in an audience, as it is stored.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, never a list of them")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Definition {
    /// Contacts that were added one by one.
    List,
    /// Contacts that a filter lets through.
    Filter {
        /// The filter; empty: all contacts.
        filter: String,
    },
    /// Rows that a query returns.
    Sql(Query),
}

impl Definition {
    /// Its kind, as it is stored beside it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Filter { .. } => "filter",
            Self::Sql(_) => "sql",
        }
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// [`Error::Storage`] when another version of ours wrote it.
    pub fn read(row: &AudienceRow) -> Result<Self> {
        Ok(serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?)
    }
}

/// An audience to be written.
#[derive(Debug, Clone)]
pub struct NewAudience {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Who is in it.
    pub definition: Definition,
}

/// What is written of an audience; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who is in it.
    pub definition: Option<Definition>,
}

/// The name of an audience.
#[must_use]
pub fn name(slug: &str) -> String {
    format!("audiences/{slug}")
}

/// Creates an audience; a query is described by its source first.
///
/// # Errors
/// [`Error::AlreadyExists`], [`Error::Invalid`], and what the source says of a query.
pub async fn create(context: &Context, work: &mut Work, new: &NewAudience) -> Result<AudienceRow> {
    check(context, &new.definition).await?;
    if audiences::kind(work.conn(), &new.slug).await?.is_some() {
        return Err(Error::AlreadyExists(name(&new.slug)));
    }
    let (now, definition) = (work.now(), stored(&new.definition)?);
    let write =
        AudienceWrite { display_name: &new.display_name, description: &new.description, definition: &definition };
    audiences::insert(work.conn(), &new.slug, new.definition.kind(), &write, now).await?;
    find(work.conn(), &new.slug).await
}

/// One audience.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<AudienceRow> {
    find(&mut *context.lists.conn().await?, slug).await
}

/// A page of audiences, by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: Option<&str>, limit: i64) -> Result<Vec<AudienceRow>> {
    Ok(audiences::page(&mut *context.lists.conn().await?, None, after, limit).await?)
}

/// Changes an audience; its kind stays. Campaigns that run keep who they found.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], AUDIENCE_KIND_WRONG, and as [`create`].
pub async fn update(context: &Context, work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<AudienceRow> {
    let before = locked(work.conn(), slug, etag).await?;
    let definition = match change.definition {
        Some(new) if new.kind() != before.kind => return Err(wrong_kind(&before, "and cannot become another one")),
        Some(new) => {
            check(context, &new).await?;
            stored(&new)?
        }
        None => before.definition.clone(),
    };
    let write = AudienceWrite {
        display_name: change.display_name.as_deref().unwrap_or(&before.display_name),
        description: change.description.as_deref().unwrap_or(&before.description),
        definition: &definition,
    };
    let now = work.now();
    audiences::update(work.conn(), before.id, &write, now).await?;
    find(work.conn(), slug).await
}

/// Deletes an audience; its contacts stay.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let audience = locked(work.conn(), slug, etag).await?;
    match audiences::used_by(work.conn(), audience.id, slug).await? {
        Some(used_by) => Err(Error::InUse { name: name(slug), used_by }),
        None => Ok(audiences::delete(work.conn(), audience.id).await?),
    }
}

/// Puts contacts on a list. Says how many were new, and how many are on it now.
///
/// # Errors
/// [`Error::NotFound`], AUDIENCE_KIND_WRONG, [`Error::BatchTooLarge`], [`Error::ReferenceNotFound`] for a contact that does
/// not exist.
pub async fn add(work: &mut Work, slug: &str, members: &[ContactName]) -> Result<(u64, i64)> {
    let audience = list_of(work.conn(), slug, members).await?;
    let ids = contacts::keys(work.conn(), members).await?;
    let missing = members.iter().zip(&ids).position(|(_, id)| id.is_none());
    if let Some((index, name)) = missing.and_then(|i| Some((i, members.get(i)?))) {
        return Err(Error::ReferenceNotFound { field: format!("contacts[{index}]"), name: name.to_string() });
    }
    let ids: Vec<i64> = ids.into_iter().flatten().collect();
    let added = audiences::add(work.conn(), audience.id, &ids).await?;
    Ok((added, find(work.conn(), slug).await?.members))
}

/// Takes contacts off a list. Says how many were on it, and how many are on it now.
///
/// # Errors
/// [`Error::NotFound`], AUDIENCE_KIND_WRONG, [`Error::BatchTooLarge`].
pub async fn remove(work: &mut Work, slug: &str, members: &[ContactName]) -> Result<(u64, i64)> {
    let audience = list_of(work.conn(), slug, members).await?;
    let ids: Vec<i64> = contacts::keys(work.conn(), members).await?.into_iter().flatten().collect();
    let removed = audiences::remove(work.conn(), audience.id, &ids).await?;
    Ok((removed, find(work.conn(), slug).await?.members))
}

/// Finds everything that is wrong with a definition; a query is described by its source.
///
/// # Errors
/// See [`create`].
pub async fn check(context: &Context, definition: &Definition) -> Result<()> {
    match definition {
        Definition::List => Ok(()),
        Definition::Filter { filter } => parse(filter).map(drop),
        Definition::Sql(query) => sql::check(context, query).await,
    }
}

/// Reads a filter.
fn parse(filter: &str) -> Result<Filter> {
    contacts::filter(filter).map_err(|violation| Error::Invalid(vec![violation]))
}

async fn list_of(conn: &mut Conn, slug: &str, members: &[ContactName]) -> Result<AudienceRow> {
    if members.len() > MAX_MEMBERS {
        return Err(Error::BatchTooLarge { limit: MAX_MEMBERS });
    }
    if members.is_empty() {
        all_right(vec![super::Violation::new("contacts", "is empty")])?;
    }
    let audience = locked(conn, slug, "").await?;
    if audience.kind == "list" {
        Ok(audience)
    } else {
        Err(wrong_kind(&audience, "only audiences of kind list have members that are added and removed"))
    }
}

fn wrong_kind(audience: &AudienceRow, what: &str) -> Error {
    let message = format!("{} is of kind {}: {what}", name(&audience.slug), audience.kind);
    Error::WrongState { reason: "AUDIENCE_KIND_WRONG", message }
}

fn stored(definition: &Definition) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(definition).map_err(storage::Error::from)?)
}

async fn find(conn: &mut Conn, slug: &str) -> Result<AudienceRow> {
    audiences::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))
}

async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<AudienceRow> {
    let row = audiences::lock(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))?;
    etag::check(&name(slug), etag, row.version)?;
    Ok(row)
}
