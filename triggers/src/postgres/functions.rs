//! The bodies of a capture's trigger functions: what runs in the user's transaction, and so must be cheap and must not fail.
//!
//! Columns are read by name from `to_jsonb(row)`: a column that was renamed or dropped is a missing key, never an error of the
//! user's write. `n.*` is written where a column named like the alias would otherwise be taken for the row.

use super::names::{LOCK_CLASS, LockPurpose, quote_literal, text_array};
use super::watch::Watch;
use super::{CaptureSchema, Table};
use crate::{CaptureFault, GapReason, Operation};

/// `jsonb_build_object` takes a hundred arguments.
const PAIRS: usize = 50;

/// What all bodies of one watch share.
pub(crate) struct Bodies<'a> {
    schema: &'a CaptureSchema,
    watch: &'a Watch,
    kept: Vec<String>,
    key: &'a [String],
}

impl<'a> Bodies<'a> {
    pub(crate) fn new(schema: &'a CaptureSchema, watch: &'a Watch, table: &'a Table) -> Self {
        Self { schema, watch, kept: watch.kept(table), key: &table.primary_key }
    }

    /// The body for row triggers, which serves every operation.
    pub(crate) fn row(&self) -> String {
        let (outbox, id) = (self.schema.own("outbox"), self.watch.id);
        let limit = self.schema.max_row_bytes;
        let cut = |doc: &str, record: &str| {
            format!(
                "    {doc} := to_jsonb({record});\n    {doc} := {};\n    if pg_column_size({doc}) > {limit} then\n      \
                 {doc} := {};\n      fault := '{}';\n    end if;\n",
                project(doc, &self.kept),
                keys(doc, self.key),
                CaptureFault::RowTooLarge,
            )
        };
        let work = format!(
            "  if tg_op <> 'DELETE' then\n{}  end if;\n  if tg_op <> 'INSERT' then\n{}  end if;\n  \
             insert into {outbox} (watch, op, new_row, old_row, fault) values ({id}, tg_op, new_doc, old_doc, fault);\n{}",
            cut("new_doc", "new"),
            cut("old_doc", "old"),
            self.wake("  "),
        );
        self.wrap("declare\n  new_doc jsonb;\n  old_doc jsonb;\n  fault text;\n", &work)
    }

    /// The body for the statement trigger of one operation.
    pub(crate) fn statement(&self, operation: Operation) -> String {
        let (outbox, id) = (self.schema.own("outbox"), self.watch.id);
        let (columns, values, rows) = match operation {
            Operation::Insert => {
                ("new_row", self.kept_or_cut("r.new_doc"), self.documents("new_doc", "new_rows", false))
            }
            Operation::Delete => {
                ("old_row", self.kept_or_cut("r.old_doc"), self.documents("old_doc", "old_rows", false))
            }
            Operation::Update => (
                "new_row, old_row",
                format!("{}, {}", self.kept_or_cut("r.new_doc"), self.kept_or_cut("r.old_doc")),
                // Both transition tables hold the rows in the order of their update: the n-th old row became the n-th new one.
                format!(
                    "(select n.place, n.new_doc, o.old_doc\n      from {} n join {} o on o.place = n.place\n      \
                     order by n.place)",
                    self.documents("new_doc", "new_rows", true),
                    self.documents("old_doc", "old_rows", true),
                ),
            ),
        };
        let large = |doc: &str| format!("pg_column_size({doc}) > {}", self.schema.max_row_bytes);
        let too_large = match operation {
            Operation::Insert => large("r.new_doc"),
            Operation::Delete => large("r.old_doc"),
            Operation::Update => format!("{} or {}", large("r.new_doc"), large("r.old_doc")),
        };
        let work = format!(
            "  insert into {outbox} (watch, op, {columns}, fault)\n  select {id}, '{operation}', {values},\n    \
             case when {too_large} then '{}' end\n  from {rows} r;\n  if found then\n{}  end if;\n",
            CaptureFault::RowTooLarge,
            self.wake("    "),
        );
        self.wrap("", &work)
    }

    /// The rows of a transition table as documents, numbered if they are to be paired; `offset 0` keeps Postgres from building
    /// each document twice.
    fn documents(&self, doc: &str, rows: &str, numbered: bool) -> String {
        let (number, place) = if numbered { ("row_number() over () as place, ", "t.place, ") } else { ("", "") };
        format!(
            "(select {place}{} as {doc}\n        from (select {number}to_jsonb(n.*) as doc from {rows} n offset 0) t\n        \
             offset 0)",
            project("t.doc", &self.kept)
        )
    }

    fn kept_or_cut(&self, doc: &str) -> String {
        format!(
            "case when pg_column_size({doc}) > {} then {} else {doc} end",
            self.schema.max_row_bytes,
            keys(doc, self.key)
        )
    }

    /// The sleep handshake. A shared lock that is granted means that the consumer is awake, and keeps it from falling asleep
    /// before this transaction's end; a refused one means that it sleeps.
    fn wake(&self, indent: &str) -> String {
        if !self.schema.notify {
            return format!("{indent}perform pg_try_advisory_xact_lock_shared({});\n", self.sleep_lock());
        }
        format!(
            "{indent}if not pg_try_advisory_xact_lock_shared({}) then\n{indent}  perform pg_notify({}, '');\n{indent}end if;\n",
            self.sleep_lock(),
            quote_literal(&self.schema.name),
        )
    }

    fn sleep_lock(&self) -> String {
        format!("{LOCK_CLASS}, {}", self.schema.lock(LockPurpose::Sleep))
    }

    /// The limit of the outbox before the work, and, unless the watch is strict, the net under it.
    ///
    /// Counting would cost more than capturing, so that only a file that is large enough is looked into, and then only now
    /// and then; who finds it full marks a gap, and as long as that stands nobody captures.
    fn wrap(&self, declare: &str, work: &str) -> String {
        let (id, note) = (self.watch.id, self.schema.own("note_gap"));
        let limit = format!(
            "  if (pg_relation_size({gap}) > 0 and {stopped}())\n    or (pg_relation_size({outbox}) > {gate}{sometimes} and {full}()) \
             then\n    perform {note}({id}, '{reason}', null);\n    return null;\n  end if;\n",
            gap = quote_literal(&self.schema.own("gap")),
            stopped = self.schema.own("is_stopped"),
            outbox = quote_literal(&self.schema.own("outbox")),
            gate = self.schema.gate_bytes(),
            sometimes = match self.schema.look_each() {
                1 => String::new(),
                calls => format!(" and date_part('microseconds', clock_timestamp())::int % {calls} = 0"),
            },
            full = self.schema.own("is_full"),
            reason = GapReason::OutboxFull,
        );
        let net = if self.watch.strict {
            String::new()
        } else {
            format!(
                "exception\n  when transaction_rollback then\n    raise;\n  when others then\n    begin\n      \
                 perform {note}({id}, '{}', left(sqlstate || ' ' || sqlerrm, 300));\n    exception when others then\n      \
                 raise warning 'capture of watch {id} failed: %', sqlerrm;\n    end;\n    return null;\n",
                GapReason::CaptureFailed,
            )
        };
        format!("{declare}begin\n{limit}{work}  return null;\n{net}end")
    }
}

/// The kept columns of a document; those that do not exist any more are left out, so that they can be told from nulls.
pub(crate) fn project(doc: &str, kept: &[String]) -> String {
    if kept.is_empty() {
        return doc.to_owned();
    }
    let object = |names: &[String]| {
        let pairs = names.iter().map(|name| format!("{0}, {doc}->{0}", quote_literal(name))).collect::<Vec<_>>();
        format!("jsonb_build_object({})", pairs.join(", "))
    };
    let whole = kept.chunks(PAIRS).map(object).collect::<Vec<_>>().join(" || ");
    let names = text_array(kept);
    format!(
        "case when {doc} ?& {names} then {whole}\n      else (select coalesce(jsonb_object_agg(k.name, {doc}->k.name), '{{}}') \
         from unnest({names}) as k (name) where {doc} ? k.name) end"
    )
}

/// What is kept of a row that is too large: its primary key.
fn keys(doc: &str, key: &[String]) -> String {
    if key.is_empty() { "'{}'::jsonb".to_owned() } else { project(doc, key) }
}
