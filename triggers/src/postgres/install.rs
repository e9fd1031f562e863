//! Runs the statements of [`super::ddl`]: installs, replaces, checks and removes the capture of one watch.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::ddl::{self, Statement};
use super::{CaptureSchema, Error, Table, Watch, catalogue};
use crate::WatchId;

/// Installs the capture of a watch in one transaction. Installing the same definition again changes nothing.
///
/// # Errors
/// What the catalogue and [`Watch::check`] refuse; [`Error::AlreadyInstalled`] if the watch is there with another definition;
/// [`Error::BadCondition`] with Postgres's words; [`Error::Busy`] if the table's lock was not free in time.
pub async fn install(conn: &mut PgConnection, schema: &CaptureSchema, watch: &Watch) -> Result<Table, Error> {
    let table = prepare(conn, schema, watch).await?;
    match installed_definition(conn, schema, watch.id).await? {
        Some(definition) if is_same(&definition, watch) => return Ok(table),
        Some(_) => return Err(Error::AlreadyInstalled(watch.id.0)),
        None => {}
    }
    run(conn, schema, &ddl::install_statements(schema, watch, &table)?, Some(watch), true).await?;
    Ok(table)
}

/// Puts a new definition of a watch in place of the old one, in one transaction: no row falls between the two, and rows
/// that the old capture wrote are still taken.
///
/// # Errors
/// As for [`install`], without `AlreadyInstalled`.
pub async fn replace(conn: &mut PgConnection, schema: &CaptureSchema, watch: &Watch) -> Result<Table, Error> {
    let table = prepare(conn, schema, watch).await?;
    let mut statements = ddl::detach_statements(schema, watch.id)?;
    statements.extend(ddl::install_statements(schema, watch, &table)?);
    run(conn, schema, &statements, Some(watch), true).await?;
    Ok(table)
}

/// Installs and rolls back: everything that an installation would say, nothing of what it would leave. The table's lock is
/// taken for the moment of the trial.
///
/// # Errors
/// As for [`install`].
pub async fn check(conn: &mut PgConnection, schema: &CaptureSchema, watch: &Watch) -> Result<Table, Error> {
    let table = prepare(conn, schema, watch).await?;
    let mut statements = ddl::detach_statements(schema, watch.id)?;
    statements.extend(ddl::install_statements(schema, watch, &table)?);
    run(conn, schema, &statements, Some(watch), false).await?;
    Ok(table)
}

/// Removes the capture of a watch, and with the last one the whole schema: no trace is left. A watch that is not there is no
/// error. Rows that nobody took yet are discarded.
///
/// # Errors
/// [`Error::Busy`] if writers were in the way for too long, or a refusal of Postgres.
pub async fn uninstall(conn: &mut PgConnection, schema: &CaptureSchema, watch: WatchId) -> Result<(), Error> {
    run(conn, schema, &ddl::uninstall_statements(schema, watch)?, None, true).await
}

/// Takes the capture of a watch off its table; rows that nobody took yet stay and are still taken. [`uninstall`] removes the
/// rest once [`has_rows`] says no.
///
/// # Errors
/// [`Error::Busy`] if writers were in the way for too long, or a refusal of Postgres.
pub async fn detach(conn: &mut PgConnection, schema: &CaptureSchema, watch: WatchId) -> Result<(), Error> {
    run(conn, schema, &ddl::detach_statements(schema, watch)?, None, true).await
}

/// Whether rows of a watch lie in the outbox, taken or not.
///
/// # Errors
/// A connection's error.
pub async fn has_rows(conn: &mut PgConnection, schema: &CaptureSchema, watch: WatchId) -> Result<bool, Error> {
    let outbox = schema.own("outbox");
    if !exists(conn, &outbox).await? {
        return Ok(false);
    }
    let sql = format!("select exists (select from {outbox} where watch = $1)");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(watch.0).persistent(false).fetch_one(conn).await?)
}

/// Every capture that is installed, with its definition; none where an older version wrote one that cannot be read.
///
/// # Errors
/// A connection's error.
pub async fn installed(
    conn: &mut PgConnection,
    schema: &CaptureSchema,
) -> Result<Vec<(WatchId, Option<Watch>)>, Error> {
    let registry = schema.own("watch");
    if !exists(conn, &registry).await? {
        return Ok(Vec::new());
    }
    let sql = format!("select id, definition from {registry} order by id");
    let rows: Vec<(i64, serde_json::Value)> =
        sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id, definition)| (WatchId(id), serde_json::from_value(definition).ok())).collect())
}

/// Whether the capture of a watch is installed, in any definition.
///
/// # Errors
/// A connection's error.
pub async fn is_installed(conn: &mut PgConnection, schema: &CaptureSchema, watch: WatchId) -> Result<bool, Error> {
    Ok(installed_definition(conn, schema, watch).await?.is_some())
}

/// The checks that need the catalogue, in the order in which their answers help most.
async fn prepare(conn: &mut PgConnection, schema: &CaptureSchema, watch: &Watch) -> Result<Table, Error> {
    schema.check()?;
    catalogue::server(conn).await?;
    let table = catalogue::describe(conn, &watch.table).await?;
    watch.check(&table)?;
    catalogue::check_privileges(conn, schema, &watch.table).await?;
    Ok(table)
}

async fn installed_definition(
    conn: &mut PgConnection,
    schema: &CaptureSchema,
    watch: WatchId,
) -> Result<Option<serde_json::Value>, Error> {
    let registry = schema.own("watch");
    if !exists(conn, &registry).await? {
        return Ok(None);
    }
    let sql = format!("select definition from {registry} where id = $1");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(watch.0).persistent(false).fetch_optional(conn).await?)
}

async fn exists(conn: &mut PgConnection, table: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(conn).await?)
}

fn is_same(definition: &serde_json::Value, watch: &Watch) -> bool {
    serde_json::from_value::<Watch>(definition.clone()).is_ok_and(|installed| installed == *watch)
}

/// Runs the statements in one transaction, one by one: a statement that holds user's SQL is never run as a script.
async fn run(
    conn: &mut PgConnection,
    schema: &CaptureSchema,
    statements: &[Statement],
    installed: Option<&Watch>,
    keep: bool,
) -> Result<(), Error> {
    let mut transaction = conn.begin().await?;
    for statement in statements {
        let query = sqlx::query(AssertSqlSafe(statement.sql.clone())).persistent(false);
        if let Err(error) = query.execute(&mut *transaction).await {
            return Err(explain(schema, statement, error));
        }
    }
    if let Some(watch) = installed.filter(|watch| watch.condition.is_some()) {
        refuse_volatile(&mut transaction, schema, watch).await?;
    }
    if keep {
        transaction.commit().await?
    } else {
        transaction.rollback().await?
    }
    Ok(())
}

/// Refuses a condition that calls volatile functions, as Postgres has parsed it: chance would decide which rows are captured, a dry
/// run would say something else, and such a function may write in the transaction of whoever writes the row.
async fn refuse_volatile(conn: &mut PgConnection, schema: &CaptureSchema, watch: &Watch) -> Result<(), Error> {
    // The functions of operators too: the parsed condition names both kinds by their oid.
    let sql = "select distinct t.tgname::text, p.oid::regprocedure::text
                 from pg_trigger t
                      cross join lateral regexp_matches(t.tgqual::text, ':(?:op)?funcid ([0-9]+)', 'g') as found
                      join pg_proc p on p.oid = found[1]::oid
                where t.tgrelid = $1::regclass and t.tgname = any($2) and p.provolatile = 'v' order by 1, 2";
    let names: Vec<_> = watch.operations.iter().map(|one| ddl::trigger_name(schema, watch.id, *one)).collect();
    let query = sqlx::query_as::<_, (String, String)>(sql).bind(watch.table.quoted()).bind(&names).persistent(false);
    let found = query.fetch_all(conn).await?;
    let Some((trigger, _)) = found.first() else { return Ok(()) };
    let of_trigger = |operation: &&crate::Operation| ddl::trigger_name(schema, watch.id, **operation) == *trigger;
    let Some(operation) = watch.operations.iter().find(of_trigger).copied() else { return Ok(()) };
    let calls: Vec<_> = found.iter().filter(|(name, _)| name == trigger).map(|(_, call)| call.as_str()).collect();
    let message =
        format!("it calls volatile functions ({}), so that chance would decide what is captured", calls.join(", "));
    Err(Error::BadCondition { operation, message, position: None })
}

/// Turns Postgres's refusal of one statement into what its reader can act upon.
fn explain(schema: &CaptureSchema, statement: &Statement, error: sqlx::Error) -> Error {
    match (Error::from(error), statement.condition) {
        (Error::Refused { code, .. }, _) if code == "55P03" => Error::Busy { wait_ms: schema.lock_timeout_ms },
        (Error::Refused { message, position, .. }, Some((operation, before))) => Error::BadCondition {
            operation,
            message,
            position: position.and_then(|at| at.checked_sub(before)).filter(|at| *at > 0),
        },
        (error, _) => error,
    }
}
