//! Controllers: kept in versions that never change, checked in the world as it stands. [`running`] takes the intents that wait and
//! carries out what is decided; [`outside`] lets a process of the business decide; `scene` is what both see.

pub mod acting;
pub mod outside;
pub mod running;
mod scene;

use domain::controller::{Action, ControllerVersion};

use super::{Context, Error, Result, Violation, error::all_right, etag, work::Work};
pub use crate::storage::controllers::{
    ControllerRow, Frame,
    inbox::{Run, Wanted},
};
use crate::{
    storage::{self, Conn, controllers},
    wake::Topic,
};

/// A controller in one of its versions.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What stands of it.
    pub row: ControllerRow,
    /// What the version says.
    pub version: ControllerVersion,
}

/// A controller to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What it has besides its versions.
    pub frame: Frame,
    /// Its first version.
    pub version: ControllerVersion,
}

/// What is to be written of a controller; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether intents are kept from it.
    pub disabled: Option<bool>,
    /// The slugs of its channels.
    pub channels: Option<Vec<String>>,
    /// How long a process of the business may decide, in seconds; `Some(None)`: the rules decide at once.
    pub answer_secs: Option<Option<i32>>,
    /// Whose turn it is among several.
    pub position: Option<i16>,
    /// Its opening hours.
    pub hours: Option<Vec<domain::controller::Hours>>,
    /// Its rules.
    pub rules: Option<Vec<domain::controller::Rule>>,
}

/// The name of a controller in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("controllers/{slug}")
}

/// Creates a controller with its version 1.
///
/// # Errors
/// [`Error::Invalid`], [`Error::AlreadyExists`].
pub async fn create(work: &mut Work, new: New) -> Result<Stored> {
    all_right(violations(work.conn(), &new.version, &new.frame.channels, "controller").await?)?;
    if controllers::find(work.conn(), &new.slug, 0).await?.is_some() {
        return Err(Error::AlreadyExists(name_of(&new.slug)));
    }
    let now = work.now();
    let id = controllers::insert(work.conn(), &new.slug, &new.frame, now).await?;
    let document = serde_json::to_value(&new.version).map_err(storage::Error::from)?;
    controllers::add_version(work.conn(), id, &document, now).await?;
    work.wake(Topic::Controllers);
    find(work.conn(), &new.slug, 0).await
}

/// A controller in a version, 0 for its newest.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str, number: i32) -> Result<Stored> {
    find(&mut *context.lists.conn().await?, slug, number).await
}

/// A page of controllers by slug, each in its newest version.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<Stored>> {
    let rows = controllers::list(&mut *context.lists.conn().await?, after, limit).await?;
    rows.into_iter().map(read).collect()
}

/// A page of the versions of a controller, the newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_versions(context: &Context, slug: &str, below: i32, limit: i64) -> Result<Vec<Stored>> {
    let conn = &mut *context.lists.conn().await?;
    find(conn, slug, 0).await?;
    controllers::list_versions(conn, slug, below, limit).await?.into_iter().map(read).collect()
}

/// A page of what controllers did, the newest first.
///
/// # Errors
/// What storage says.
pub async fn runs(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<Run>> {
    Ok(controllers::inbox::runs(&mut *context.lists.conn().await?, wanted, limit).await?)
}

/// Changes a controller; other rules or hours make a new version.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Stored> {
    let before = locked(work.conn(), slug, etag).await?;
    let (row, now) = (&before.row, work.now());
    let version = ControllerVersion {
        hours: change.hours.unwrap_or_else(|| before.version.hours.clone()),
        rules: change.rules.unwrap_or_else(|| before.version.rules.clone()),
    };
    let old = Frame {
        display_name: row.display_name.clone(),
        description: row.description.clone(),
        enabled: row.enabled,
        channels: row.channels.clone(),
        answer_secs: row.answer_secs,
        position: row.position,
    };
    let frame = Frame {
        display_name: change.display_name.unwrap_or_else(|| old.display_name.clone()),
        description: change.description.unwrap_or_else(|| old.description.clone()),
        enabled: change.disabled.map_or(old.enabled, |disabled| !disabled),
        channels: change.channels.unwrap_or_else(|| old.channels.clone()),
        answer_secs: change.answer_secs.unwrap_or(old.answer_secs),
        position: change.position.unwrap_or(old.position),
    };
    all_right(violations(work.conn(), &version, &frame.channels, "controller").await?)?;
    if version != before.version {
        let document = serde_json::to_value(&version).map_err(storage::Error::from)?;
        controllers::add_version(work.conn(), row.id, &document, now).await?;
    }
    if frame != old {
        controllers::update(work.conn(), row.id, &frame, now).await?;
    }
    work.wake(Topic::Controllers);
    find(work.conn(), slug, 0).await
}

/// Deletes a controller and forgets what waits for it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let before = locked(work.conn(), slug, etag).await?;
    let now = work.now();
    Ok(controllers::delete(work.conn(), before.row.id, now).await?)
}

/// Everything that is wrong with a controller that is not stored.
///
/// # Errors
/// What storage says.
pub async fn validate(context: &Context, version: &ControllerVersion, channels: &[String]) -> Result<Vec<Violation>> {
    violations(&mut *context.lists.conn().await?, version, channels, "").await
}

/// Everything that is wrong with a version in the world as it stands, beneath `path`.
async fn violations(
    conn: &mut Conn,
    version: &ControllerVersion,
    channels: &[String],
    path: &str,
) -> Result<Vec<Violation>> {
    let mut found: Vec<Violation> = version.validate().into_iter().map(Violation::from).collect();
    let named = references(version, channels);
    let slugs = |collection: &str| {
        named.iter().filter(|(_, of, _)| *of == collection).map(|(_, _, slug)| slug.clone()).collect::<Vec<_>>()
    };
    let (no_channel, no_template) = controllers::missing(conn, &slugs("channels"), &slugs("templates")).await?;
    for (field, collection, slug) in &named {
        let missing = if *collection == "channels" { &no_channel } else { &no_template };
        if missing.contains(slug) {
            let words = format!("there is no {collection}/{slug}");
            let violation = Violation::new(field.clone(), words).because("REFERENCE_NOT_FOUND");
            found.push(violation.with("field", field.clone()));
        }
    }
    Ok(found.into_iter().map(|violation| violation.inside(path)).collect())
}

/// What a version names: the field, the collection, the slug.
fn references(version: &ControllerVersion, channels: &[String]) -> Vec<(String, &'static str, String)> {
    let mut named: Vec<(String, &'static str, String)> = Vec::new();
    named.extend(channels.iter().enumerate().map(|(at, slug)| (format!("channels[{at}]"), "channels", slug.clone())));
    for (at, rule) in version.rules.iter().enumerate() {
        for (i, action) in rule.actions.iter().enumerate() {
            let path = format!("rules[{at}].actions[{i}]");
            if let Some(channel) = acting::channel_of(action) {
                named.push((format!("{path}.channel"), "channels", channel.to_owned()));
            }
            if let Action::SendTemplate { template, .. } = action {
                named.push((format!("{path}.template"), "templates", template.clone()));
            }
        }
    }
    named
}

async fn find(conn: &mut Conn, slug: &str, number: i32) -> Result<Stored> {
    let row = controllers::find(conn, slug, number).await?;
    read(row.ok_or_else(|| Error::NotFound(name_of(slug)))?)
}

fn read(row: ControllerRow) -> Result<Stored> {
    let version = serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?;
    Ok(Stored { row, version })
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<Stored> {
    controllers::lock(conn, slug).await?;
    let stored = find(conn, slug, 0).await?;
    etag::check(&name_of(slug), etag, stored.row.version)?;
    Ok(stored)
}
