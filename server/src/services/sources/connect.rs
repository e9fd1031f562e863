//! From a stored source to a connection: the URL is looked up at each use, so that a rotated secret needs no restart.

use std::str::FromStr;

use ::triggers::{SourceId, postgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{CONNECT, DEFAULT_OUTBOX_LIMIT, SourceRow, outside, settings};
use crate::{
    channels::settings::{ProcessSecrets, SecretSource},
    services::{Context, Error, Result},
};

/// The largest row that is captured whole, in bytes.
const MAX_ROW_BYTES: u32 = 64 << 10;

/// The source as the capturing crate wants it.
///
/// # Errors
/// SECRET_MISSING when the URL is not where the settings say, SOURCE_UNAVAILABLE when it is none.
pub fn open(context: &Context, row: &SourceRow) -> Result<postgres::Source> {
    let settings = settings(row)?;
    let options = match (row.own, &settings.url_env, &settings.url_file) {
        (true, _, _) => context.lists.pool().connect_options().as_ref().clone(),
        (false, Some(variable), _) => {
            let found = ProcessSecrets.variable(variable).filter(|url| !url.trim().is_empty());
            let words = || format!("the environment variable {variable} of the server is not set");
            options(&row.slug, &found.ok_or_else(|| secret_missing("url_env", words()))?)?
        }
        (false, None, Some(path)) => {
            let read = ProcessSecrets.file(path);
            let url = read.map_err(|e| {
                secret_missing("url_file", format!("the file {path} of the server cannot be read: {e}"))
            })?;
            options(&row.slug, &url)?
        }
        (false, None, None) => {
            return Err(secret_missing("connection", "the source does not say where it is".to_owned()));
        }
    };
    let schema = postgres::CaptureSchema {
        name: row.capture_schema.clone(),
        max_rows: settings.outbox_limit.unwrap_or(DEFAULT_OUTBOX_LIMIT),
        max_row_bytes: MAX_ROW_BYTES,
        ..postgres::CaptureSchema::default()
    };
    Ok(postgres::Source { id: SourceId(row.id.into()), options, schema })
}

/// The source, and a connection to it.
///
/// # Errors
/// As [`open`], and what [`outside`] says of the connection.
pub async fn connect(context: &Context, row: &SourceRow) -> Result<(postgres::Source, PgConnection)> {
    let source = open(context, row)?;
    let slow = || unavailable(&row.slug, "it did not answer within 10 seconds");
    let connected = tokio::time::timeout(CONNECT, source.connect()).await.map_err(|_| slow())?;
    let conn = connected.map_err(|error| outside(&row.slug, error))?;
    Ok((source, conn))
}

/// The words of a URL that cannot be read are left out: they may hold the password.
fn options(slug: &str, url: &str) -> Result<PgConnectOptions> {
    PgConnectOptions::from_str(url.trim())
        .map_err(|_| unavailable(slug, "its URL is not one of the form postgres://user@host:5432/database"))
}

fn secret_missing(setting: &str, message: String) -> Error {
    Error::SecretMissing { setting: setting.to_owned(), message }
}

fn unavailable(slug: &str, why: &str) -> Error {
    Error::Outside { reason: "SOURCE_UNAVAILABLE", message: format!("sources/{slug} cannot be used: {why}") }
}
