//! What is wrong with a source, all at once: whether it answers, whose cluster it is, whether every capture may be and is in
//! place, and what its consumer last said.

use std::{collections::HashSet, time::Duration};

use ::triggers::{WatchId, postgres};
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::{SourceRow, connect, get, health};
use crate::{
    services::{Context, Error, Result, Violation, triggers::TableWatch},
    storage,
};

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The version of its Postgres; empty when it cannot be reached.
    pub server_version: String,
    /// How long one round trip took.
    pub latency: Option<Duration>,
    /// Everything that is wrong.
    pub problems: Vec<Violation>,
}

/// Checks a source.
///
/// # Errors
/// [`Error::NotFound`]; what storage says. What is wrong with the source is in the answer.
pub async fn check(context: &Context, slug: &str) -> Result<Checked> {
    let row = get(context, slug).await?;
    let mut checked = Checked::default();
    match connect(context, &row).await {
        Err(Error::Outside { reason, message }) => {
            checked.problems.push(Violation::new("connection", message).because(reason));
        }
        Err(error) => return Err(error),
        Ok((source, mut conn)) => {
            identity(&row, &mut conn, &mut checked).await;
            captures(context, &row, &source.schema, &mut conn, &mut checked).await?;
        }
    }
    if let Some(health) = health(&row).filter(|health| !health.last_error.is_empty()) {
        checked.problems.push(Violation::new("", health.last_error).because("SOURCE_UNAVAILABLE"));
    }
    Ok(checked)
}

async fn identity(row: &SourceRow, conn: &mut PgConnection, checked: &mut Checked) {
    let asked = Instant::now();
    match postgres::catalogue::server(conn).await {
        Ok(server) => {
            checked.latency = Some(asked.elapsed());
            checked.server_version = server.version.split(' ').next().unwrap_or_default().to_owned();
            if row.system_identifier.as_ref().is_some_and(|known| *known != server.system_identifier) {
                let words = "is another cluster than before (restored from a dump, or moved): rows that waited there are read again";
                checked.problems.push(Violation::new("connection", words).because("SOURCE_UNAVAILABLE"));
            }
            if server.prepared_transactions {
                let words = "allows prepared transactions (max_prepared_transactions): a writer that prepares one while the consumer sleeps is refused, because it cannot carry NOTIFY";
                checked.problems.push(Violation::new("connection", words));
            }
        }
        Err(error) => {
            checked.problems.push(Violation::new("connection", error.to_string()).because("SOURCE_UNAVAILABLE"));
        }
    }
}

async fn captures(
    context: &Context,
    row: &SourceRow,
    schema: &postgres::CaptureSchema,
    conn: &mut PgConnection,
    checked: &mut Checked,
) -> Result<()> {
    let triggers = storage::triggers::of_source(&mut *context.lists.conn().await?, row.id).await?;
    let installed = postgres::installed(conn, schema).await;
    let installed: HashSet<WatchId> = match installed {
        Ok(installed) => installed.into_iter().map(|(id, _)| id).collect(),
        Err(error) => {
            checked.problems.push(Violation::new("connection", error.to_string()).because("SOURCE_UNAVAILABLE"));
            return Ok(());
        }
    };
    for trigger in triggers.iter().filter(|trigger| trigger.enabled) {
        let name = format!("triggers/{}", trigger.slug);
        if !installed.contains(&WatchId(trigger.id)) {
            let words = "its capture is not in place; it is put there within a minute, or by EnableTrigger";
            checked.problems.push(Violation::new(&name, words).because("NOT_VALID"));
        }
        let table = TableWatch::read(trigger)?.table_name();
        if let Err(error) = postgres::catalogue::check_privileges(conn, schema, &table).await {
            checked.problems.push(Violation::new(&name, error.to_string()).because("PRIVILEGE_MISSING"));
        }
        if let Some(failure) = &trigger.failure {
            checked.problems.push(Violation::new(&name, failure.clone()).because("NOT_VALID"));
        }
    }
    Ok(())
}
