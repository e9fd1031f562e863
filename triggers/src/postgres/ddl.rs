//! The SQL of a capture, as text: what a database administrator reviews is what an installation runs.
//!
//! Pure: no connection, no clock. Everything lives in one schema of its own; the only thing on the user's table are its triggers.
//! The functions' bodies are in `functions`; running the statements is `install`.

use super::functions::Bodies;
use super::names::{LOCK_CLASS, LockPurpose, quote_identifier, quote_literal, text_array};
use super::watch::{Form, Watch};
use super::{CaptureSchema, Error, Table};
use crate::{GapReason, Operation, WatchId};

/// One statement, with what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Why it is there; a comment in the rendered text.
    pub note: String,
    /// The statement without its semicolon.
    pub sql: String,
    /// If it holds the user's condition: for which operation, and the characters before it.
    pub(crate) condition: Option<(Operation, usize)>,
}

impl Statement {
    fn new(note: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { note: note.into(), sql: sql.into(), condition: None }
    }
}

/// The text of an installation, for review or for `psql`: exactly the statements that [`super::install`] runs.
///
/// # Errors
/// What [`Watch::check`] and [`CaptureSchema::check`] refuse.
pub fn render_install(schema: &CaptureSchema, watch: &Watch, table: &Table) -> Result<String, Error> {
    Ok(render(&install_statements(schema, watch, table)?))
}

/// The text of a removal: exactly the statements that [`super::uninstall`] runs.
///
/// # Errors
/// What [`CaptureSchema::check`] refuses.
pub fn render_uninstall(schema: &CaptureSchema, watch: WatchId) -> Result<String, Error> {
    Ok(render(&uninstall_statements(schema, watch)?))
}

fn render(statements: &[Statement]) -> String {
    let body: String = statements.iter().map(|s| format!("-- {}\n{};\n\n", s.note, s.sql)).collect();
    format!("begin;\n\n{body}commit;\n")
}

/// The statements of an installation, to be run in one transaction.
///
/// # Errors
/// What [`Watch::check`] and [`CaptureSchema::check`] refuse.
pub fn install_statements(schema: &CaptureSchema, watch: &Watch, table: &Table) -> Result<Vec<Statement>, Error> {
    schema.check()?;
    watch.check(table)?;
    let mut statements = settings(schema);
    statements.extend(shared_objects(schema));
    statements.extend(functions(schema, watch, table));
    let names = watch.operations.iter().map(|operation| trigger_name(schema, watch.id, *operation)).collect::<Vec<_>>();
    let definition = serde_json::to_string(watch)
        .map_err(|error| Error::Invalid { field: "watch", problem: format!("cannot be written as JSON: {error}") })?;
    statements.push(Statement::new(
        "What is installed, so that a missing or disabled trigger is noticed",
        format!(
            "insert into {} (id, relation, triggers, columns, definition)\nvalues ({}, {}::regclass, {}, {}, {}::jsonb)",
            schema.own("watch"),
            watch.id,
            quote_literal(&watch.table.quoted()),
            text_array(&names),
            text_array(&watch.kept(table)),
            quote_literal(&definition),
        ),
    ));
    statements.extend(watch.operations.iter().map(|operation| trigger(schema, watch, table, *operation)));
    Ok(statements)
}

/// The statements of a removal, to be run in one transaction. Rows of the watch that were not taken yet are discarded.
///
/// # Errors
/// What [`CaptureSchema::check`] refuses.
pub fn uninstall_statements(schema: &CaptureSchema, watch: WatchId) -> Result<Vec<Statement>, Error> {
    schema.check()?;
    let mut statements = settings(schema);
    statements.extend(drop_functions(schema, watch));
    let own = |name: &str| schema.own(name);
    let body = format!(
        "begin\n  if to_regclass({registry_text}) is null then\n    return;\n  end if;\n  delete from {registry} where id = {watch};\n  \
         if exists (select from {registry}) then\n    delete from {outbox} where watch = {watch};\n    \
         delete from {gap} where watch = {watch};\n  else\n    \
         drop function {is_full}(), {is_stopped}();\n    drop function {note_gap}(bigint, text, text);\n    \
         drop table {outbox}, {gap}, {registry}, {about};\n    drop schema {schema};\n  end if;\nend",
        registry_text = quote_literal(&own("watch")),
        registry = own("watch"),
        outbox = own("outbox"),
        gap = own("gap"),
        is_full = own("is_full"),
        is_stopped = own("is_stopped"),
        note_gap = own("note_gap"),
        about = own("about"),
        schema = quote_identifier(&schema.name),
    );
    statements.push(Statement::new(
        "The watch's rows; and with the last watch everything else. Not by cascade: what others put here would stop it",
        format!("do {}", dollar_quoted(&body)),
    ));
    Ok(statements)
}

/// The statements that take a watch's capture off its table and keep its rows: what comes before installing it anew.
pub(crate) fn detach_statements(schema: &CaptureSchema, watch: WatchId) -> Result<Vec<Statement>, Error> {
    schema.check()?;
    let mut statements = settings(schema);
    statements.extend(drop_functions(schema, watch));
    let registry = schema.own("watch");
    let body = format!(
        "begin\n  if to_regclass({}) is not null then\n    delete from {registry} where id = {watch};\n  end if;\nend",
        quote_literal(&registry)
    );
    statements.push(Statement::new("The old definition", format!("do {}", dollar_quoted(&body))));
    Ok(statements)
}

fn drop_functions(schema: &CaptureSchema, watch: WatchId) -> impl Iterator<Item = Statement> {
    ["row", "insert", "update", "delete"]
        .map(|suffix| {
            Statement::new(
                "With the function go the triggers that call it, wherever their table is now",
                format!("drop function if exists {}() cascade", schema.own(&format!("watch_{watch}_{suffix}"))),
            )
        })
        .into_iter()
}

/// The name of the trigger of one operation on the user's table.
#[must_use]
pub fn trigger_name(schema: &CaptureSchema, watch: WatchId, operation: Operation) -> String {
    format!("{}_{watch}_{}", schema.name, operation.as_str().to_lowercase())
}

fn settings(schema: &CaptureSchema) -> Vec<Statement> {
    vec![
        Statement::new("The quoting below relies on it", "set local standard_conforming_strings = on"),
        Statement::new(
            "Writers queue behind a lock that is waited for: give up soon instead",
            format!("set local lock_timeout = '{}ms'", schema.lock_timeout_ms),
        ),
        Statement::new(
            "One installation at a time",
            format!("select pg_advisory_xact_lock({LOCK_CLASS}, {})", schema.lock(LockPurpose::Install)),
        ),
    ]
}

/// What the captures of one database share.
fn shared_objects(schema: &CaptureSchema) -> Vec<Statement> {
    let own = |name: &str| schema.own(name);
    let name = quote_identifier(&schema.name);
    let create_schema = format!(
        "begin\n  if to_regnamespace({}) is null then\n    create schema {name};\n    \
         comment on schema {name} is 'Row captures of Switchboard; it is removed with the last watch';\n  end if;\nend",
        quote_literal(&name)
    );
    let path = "set search_path = pg_catalog, pg_temp";
    vec![
        Statement::new("A schema of our own", format!("do {}", dollar_quoted(&create_schema))),
        Statement::new("Nobody else has business in it", format!("revoke all on schema {name} from public")),
        Statement::new(
            "Captured rows, insert-only. seq is taken while the row's lock is held: it is the order of writes to one row",
            format!(
                "create table if not exists {} (\n  seq bigint generated always as identity (cache 1),\n  \
                 xid xid8 not null default pg_current_xact_id(),\n  watch bigint not null,\n  op text not null,\n  \
                 captured_at timestamptz not null default clock_timestamp(),\n  new_row jsonb,\n  old_row jsonb,\n  fault text\n)",
                own("outbox")
            ),
        ),
        Statement::new(
            "The consumer reads by transaction: what became visible since its last snapshot",
            format!("create index if not exists outbox_xid on {} (xid)", own("outbox")),
        ),
        Statement::new(
            "Marks where rows may be missing",
            format!(
                "create table if not exists {} (\n  id uuid not null default gen_random_uuid() primary key,\n  \
                 watch bigint not null,\n  reason text not null,\n  detail text,\n  \
                 since timestamptz not null default clock_timestamp(),\n  until timestamptz\n)",
                own("gap")
            ),
        ),
        Statement::new(
            "What is installed",
            format!(
                "create table if not exists {} (\n  id bigint not null primary key,\n  relation regclass not null,\n  \
                 triggers text[] not null,\n  columns text[] not null,\n  definition jsonb not null,\n  \
                 installed_at timestamptz not null default clock_timestamp()\n)",
                own("watch")
            ),
        ),
        Statement::new(
            "One row: in which life of which cluster the outbox was written, and how far it was drained",
            format!(
                "create table if not exists {} (\n  one boolean not null default true primary key check (one),\n  \
                 generation uuid not null default gen_random_uuid(),\n  system_identifier text not null,\n  \
                 floor bigint not null default 0\n)",
                own("about")
            ),
        ),
        Statement::new(
            "The cluster's identity: after a restore elsewhere its transaction ids mean nothing",
            format!(
                "insert into {} (system_identifier) select system_identifier::text from pg_control_system()\n\
                 on conflict do nothing",
                own("about")
            ),
        ),
        Statement::new(
            "Whether the outbox has reached its limit; asked only when its file is large enough for that",
            format!(
                "create or replace function {}() returns boolean language plpgsql volatile {path} as {}",
                own("is_full"),
                dollar_quoted(&format!(
                    "\nbegin\n  return (select q.last_value - a.floor > {rows}\n      or (q.last_value - a.floor > 10000 and \
                     pg_table_size({outbox}) > {bytes})\n    from {seq} q cross join {about} a);\nend\n",
                    rows = schema.max_rows,
                    bytes = schema.max_bytes,
                    outbox = quote_literal(&own("outbox")),
                    seq = own("outbox_seq_seq"),
                    about = own("about"),
                ))
            ),
        ),
        Statement::new(
            "Whether somebody found the outbox full and it was not drained since",
            format!(
                "create or replace function {}() returns boolean language plpgsql volatile {path} as {}",
                own("is_stopped"),
                dollar_quoted(&format!(
                    "\nbegin\n  return exists (select from {} g where g.reason = '{}' and g.until is null);\nend\n",
                    own("gap"),
                    GapReason::OutboxFull,
                ))
            ),
        ),
        Statement::new(
            "Marks a gap unless one is open. Without a unique index: writers must never wait for each other here",
            format!(
                "create or replace function {}(gap_watch bigint, gap_reason text, gap_detail text) returns void\n\
                 language sql volatile {path} as {}",
                own("note_gap"),
                dollar_quoted(&format!(
                    "\n  insert into {gap} (watch, reason, detail)\n  select gap_watch, gap_reason, gap_detail\n  where not exists \
                     (select from {gap} g\n    where g.watch = gap_watch and g.reason = gap_reason and g.until is null)\n",
                    gap = own("gap")
                ))
            ),
        ),
        Statement::new(
            "Owner only, as the schema",
            format!("revoke all on function {}(), {}(bigint, text, text) from public", own("is_full"), own("note_gap")),
        ),
    ]
}

/// The trigger functions of one watch. They run as their owner, so that writers need no right to the outbox.
fn functions(schema: &CaptureSchema, watch: &Watch, table: &Table) -> Vec<Statement> {
    let bodies = Bodies::new(schema, watch, table);
    let mut statements = Vec::new();
    let mut function = |suffix: &str, settings: &str, body: &str| {
        let name = schema.own(&format!("watch_{}_{suffix}", watch.id));
        statements.push(Statement::new(
            format!("Captures rows of {}", one_line(&table.name.quoted())),
            format!(
                "create function {name}() returns trigger language plpgsql security definer\n\
                 set search_path = pg_catalog, pg_temp{settings} as {}",
                dollar_quoted(&format!("\n{body}\n"))
            ),
        ));
        statements.push(Statement::new("Owner only", format!("revoke all on function {name}() from public")));
    };
    if watch.operations.iter().any(|operation| watch.form(*operation, table) == Form::Row) {
        function("row", "", &bodies.row());
    }
    for operation in watch.operations.iter().filter(|operation| watch.form(**operation, table) == Form::Statement) {
        // The plan is kept from its first, perhaps tiny, statement: a nested loop over a later large one would be quadratic.
        let settings = if *operation == Operation::Update { " set enable_nestloop = off" } else { "" };
        function(&operation.as_str().to_lowercase(), settings, &bodies.statement(*operation));
    }
    statements
}

/// The trigger of one operation; `AFTER`, so that it sees what was really written.
fn trigger(schema: &CaptureSchema, watch: &Watch, table: &Table, operation: Operation) -> Statement {
    let name = quote_identifier(&trigger_name(schema, watch.id, operation));
    let on = watch.table.quoted();
    let note = format!("{operation} on {}; its lock is held until this transaction ends", one_line(&on));
    let function = |suffix: &str| schema.own(&format!("watch_{}_{suffix}", watch.id));
    if watch.form(operation, table) == Form::Statement {
        let tables = match operation {
            Operation::Insert => "new table as new_rows",
            Operation::Update => "old table as old_rows new table as new_rows",
            Operation::Delete => "old table as old_rows",
        };
        let suffix = operation.as_str().to_lowercase();
        return Statement::new(
            note,
            format!(
                "create trigger {name} after {operation} on {on}\nreferencing {tables} for each statement execute function {}()",
                function(&suffix)
            ),
        );
    }
    let named = operation == Operation::Update && !watch.update_of.is_empty();
    let columns = watch.update_of.iter().map(|column| quote_identifier(column)).collect::<Vec<_>>().join(", ");
    let of = if named { format!(" of {columns}") } else { String::new() };
    let head = format!("create trigger {name} after {operation}{of} on {on} for each row");
    let call = format!("execute function {}()", function("row"));
    let changed = if named && watch.only_changes { Some(changed(watch, table)) } else { None };
    let (before, condition) = match (&changed, &watch.condition) {
        (None, None) => return Statement::new(note, format!("{head}\n{call}")),
        (Some(changed), None) => return Statement::new(note, format!("{head}\nwhen ({changed})\n{call}")),
        (None, Some(condition)) => (format!("{head}\nwhen ((\n"), condition),
        (Some(changed), Some(condition)) => (format!("{head}\nwhen (({changed}) and (\n"), condition),
    };
    let sql = format!("{before}{condition}\n))\n{call}");
    Statement { note, condition: Some((operation, before.chars().count())), sql }
}

/// Whether one of the named columns got another value. Types without an order are compared as text.
fn changed(watch: &Watch, table: &Table) -> String {
    let comparison = |name: &String| {
        let column = quote_identifier(name);
        let comparable = table.columns.iter().any(|known| known.name == *name && known.comparable);
        let cast = if comparable { "" } else { "::text" };
        format!("old.{column}{cast} is distinct from new.{column}{cast}")
    };
    watch.update_of.iter().map(comparison).collect::<Vec<_>>().join(" or ")
}

/// A name for a comment: a line break in it would end the comment.
fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// Dollar quotes with a tag that the text does not contain.
fn dollar_quoted(text: &str) -> String {
    let mut tag = "$capture$".to_owned();
    let mut number = 0_u32;
    while text.contains(&tag) {
        number += 1;
        tag = format!("$capture{number}$");
    }
    format!("{tag}{text}{tag}")
}
