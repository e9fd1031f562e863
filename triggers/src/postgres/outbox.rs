//! The statements of a consumer on the outbox: what became visible between two snapshots, its deletion, and its state.
//!
//! "Became visible since `taken`" is: the transaction is at or above `taken`'s xmax, or was in its list of open ones. Read in
//! the same statement as `pg_current_snapshot()`, the rows that Postgres shows are exactly those visible in that snapshot.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::{CaptureSchema, Error, TriggerFault, TriggerProblem};
use crate::{CapturedEvent, Epoch, Gap, Position, Snapshot, WatchId};

/// Rows deleted by one statement.
const SWEEP: u64 = 5000;

/// Rows that one held cursor sorts at most: a statement of a million rows is not sorted anew for each page.
pub(crate) const HELD: u32 = 100_000;

const COLUMNS: &str = "seq, watch, op, captured_at, new_row, old_row, fault";

/// The statements for one capture schema, written once.
pub(crate) struct Outbox {
    identity: String,
    fresh: String,
    inside: String,
    sweep: String,
    table: String,
    about: String,
    floor: String,
    state: String,
    gaps: String,
    gap: String,
    faults: String,
}

/// A row of the outbox.
pub(crate) struct Captured {
    /// Its place.
    pub seq: i64,
    /// What it says.
    pub event: CapturedEvent,
}

/// Whether the outbox is filling, as the capture sees it.
pub(crate) struct OutboxState {
    /// The highest number given out.
    pub last: i64,
    /// How many numbers were given out since those known to be taken.
    pub waiting: i64,
    /// Whether capture has stopped.
    pub full: bool,
}

impl Outbox {
    pub(crate) fn new(schema: &CaptureSchema) -> Self {
        let own = |name: &str| schema.own(name);
        let (outbox, about, gap, watch, seq) =
            (own("outbox"), own("about"), own("gap"), own("watch"), own("outbox_seq_seq"));
        // The casts go through text: a parameter of type xid8 has no binary form here.
        let since = "(xid >= $1::text::xid8 or xid = any($2::text[]::xid8[]))";
        let until = "xid < $3::text::xid8 and xid <> all($4::text[]::xid8[])";
        Self {
            identity: format!(
                "select a.generation, a.system_identifier as written, c.system_identifier::text as here,
                    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as timeline, pg_current_snapshot()::text as snapshot
                 from {about} a cross join pg_control_system() c"
            ),
            fresh: format!(
                "with now as materialized (select pg_current_snapshot()::text as target)
                 select now.target, o.* from now left join lateral
                   (select {COLUMNS} from {outbox} where {since} order by seq limit $3) o on true order by o.seq"
            ),
            inside: format!("select {COLUMNS} from {outbox} where {since} and {until} and seq > $5 order by seq limit $6"),
            sweep: format!(
                "delete from {outbox} where ctid = any (array(
                   select ctid from {outbox} where {since} and {until} limit {SWEEP}))"
            ),
            floor: format!("update {about} set floor = $1 where floor < $1"),
            state: format!(
                "select q.last_value as last, q.last_value - a.floor as waiting, {}() as full from {seq} q cross join {about} a",
                own("is_full")
            ),
            gaps: format!("select id, watch, reason, detail, since, until from {gap} order by since limit 100"),
            faults: format!(
                "select w.id, t.name, case when g.oid is null then 'missing' else 'disabled' end as problem
                 from {watch} w cross join unnest(w.triggers) as t (name)
                 left join pg_trigger g on g.tgrelid = w.relation and g.tgname = t.name
                 where g.oid is null or g.tgenabled in ('D', 'R')
                 union all
                 select w.id, c.name, 'column' from {watch} w cross join unnest(w.columns) as c (name)
                 where exists (select from pg_class r where r.oid = w.relation) and not exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = c.name and not a.attisdropped)
                 order by 1, 2"
            ),
            table: outbox,
            about,
            gap,
        }
    }

    /// In which life of which cluster the outbox is, and a snapshot of now; `None` if nothing is installed. Rows that were
    /// restored from another cluster get a transaction id of this one first: theirs may lie in this one's future.
    pub(crate) async fn identity(&self, conn: &mut PgConnection) -> Result<Option<(Epoch, Snapshot)>, Error> {
        let installed: bool =
            sqlx::query_scalar("select to_regclass($1) is not null").bind(&self.about).fetch_one(&mut *conn).await?;
        if !installed {
            return Ok(None);
        }
        let row = sqlx::query(AssertSqlSafe(self.identity.clone())).fetch_one(&mut *conn).await?;
        let (written, here): (String, String) = (row.try_get("written")?, row.try_get("here")?);
        if written != here {
            self.adopt(conn, &here).await?;
        }
        let epoch = Epoch {
            system_identifier: here,
            timeline: row.try_get("timeline")?,
            generation: row.try_get::<Uuid, _>("generation")?,
        };
        Ok(Some((epoch, snapshot(&row, "snapshot")?)))
    }

    /// Makes restored rows rows of this cluster, in one statement.
    async fn adopt(&self, conn: &mut PgConnection, here: &str) -> Result<(), Error> {
        let sql = format!(
            "with adopted as (update {} set xid = pg_current_xact_id()) update {} set system_identifier = $1",
            self.table, self.about
        );
        sqlx::query(AssertSqlSafe(sql)).bind(here).execute(conn).await?;
        Ok(())
    }

    /// The snapshot of now, and the first rows that became visible since `taken`, at most `page`.
    pub(crate) async fn fresh(
        &self,
        conn: &mut PgConnection,
        taken: &Snapshot,
        page: u32,
    ) -> Result<(Snapshot, Vec<Captured>), Error> {
        let (xmax, open) = bounds(taken);
        let rows = sqlx::query(AssertSqlSafe(self.fresh.clone()))
            .bind(xmax)
            .bind(open)
            .bind(i64::from(page))
            .fetch_all(conn)
            .await?;
        let first = rows.first().ok_or(Error::Unexpected(sqlx::Error::RowNotFound))?;
        let target = snapshot(first, "target")?;
        if first.try_get::<Option<i64>, _>("seq")?.is_none() {
            return Ok((target, Vec::new()));
        }
        Ok((target, rows.iter().map(captured).collect::<Result<_, _>>()?))
    }

    /// The rows after a position, at most `page`, in one statement.
    pub(crate) async fn inside(
        &self,
        conn: &mut PgConnection,
        taken: &Snapshot,
        at: &Position,
        page: u32,
    ) -> Result<Vec<Captured>, Error> {
        let ((xmax, open), (end, out)) = (bounds(taken), bounds(&at.target));
        let query = sqlx::query(AssertSqlSafe(self.inside.clone()));
        let query = query.bind(xmax).bind(open).bind(end).bind(out).bind(at.after).bind(i64::from(page));
        query.fetch_all(conn).await?.iter().map(captured).collect()
    }

    /// Sorts the rows after a position once, at most [`HELD`], into a cursor that outlives its transaction: nothing holds back
    /// the source's vacuum while pages of it are stored.
    pub(crate) async fn hold(&self, conn: &mut PgConnection, taken: &Snapshot, at: &Position) -> Result<(), Error> {
        let list = |xids: &[u64]| {
            let quoted = xids.iter().map(|xid| format!("'{xid}'")).collect::<Vec<_>>().join(", ");
            format!("array[{quoted}]::xid8[]")
        };
        // A cursor takes no parameters. Everything here is a number that was parsed as one.
        let sql = format!(
            "declare switchboard_page no scroll cursor with hold for select {COLUMNS} from {}
             where (xid >= '{}' or xid = any({})) and xid < '{}' and xid <> all({}) and seq > {} order by seq limit {HELD}",
            self.table,
            taken.xmax(),
            list(taken.open()),
            at.target.xmax(),
            list(at.target.open()),
            at.after,
        );
        sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(conn).await?;
        Ok(())
    }

    /// The next rows of the held cursor.
    pub(crate) async fn fetch(&self, conn: &mut PgConnection, page: u32) -> Result<Vec<Captured>, Error> {
        let sql = format!("fetch forward {page} from switchboard_page");
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(conn).await?;
        rows.iter().map(captured).collect()
    }

    /// Lets go of the held cursor.
    pub(crate) async fn release(&self, conn: &mut PgConnection) -> Result<(), Error> {
        sqlx::query("close switchboard_page").persistent(false).execute(conn).await?;
        Ok(())
    }

    /// Deletes some rows that became visible between two snapshots; says whether there may be more.
    pub(crate) async fn sweep(
        &self,
        conn: &mut PgConnection,
        from: &Snapshot,
        taken: &Snapshot,
    ) -> Result<bool, Error> {
        let ((xmax, open), (end, out)) = (bounds(from), bounds(taken));
        let query = sqlx::query(AssertSqlSafe(self.sweep.clone())).bind(xmax).bind(open).bind(end).bind(out);
        Ok(query.execute(conn).await?.rows_affected() >= SWEEP)
    }

    /// Records up to which number the outbox was taken, for the limit.
    pub(crate) async fn raise_floor(&self, conn: &mut PgConnection, floor: i64) -> Result<(), Error> {
        sqlx::query(AssertSqlSafe(self.floor.clone())).bind(floor).execute(conn).await?;
        Ok(())
    }

    /// How full the outbox is.
    pub(crate) async fn state(&self, conn: &mut PgConnection) -> Result<OutboxState, Error> {
        let row = sqlx::query(AssertSqlSafe(self.state.clone())).fetch_one(conn).await?;
        Ok(OutboxState { last: row.try_get("last")?, waiting: row.try_get("waiting")?, full: row.try_get("full")? })
    }

    /// The gap marks, oldest first; those whose cause is over end now.
    pub(crate) async fn gaps(&self, conn: &mut PgConnection, full: bool) -> Result<Vec<Gap>, Error> {
        let sql = format!(
            "update {} set until = clock_timestamp() where until is null and (reason <> 'OUTBOX_FULL' or not $1)",
            self.gap
        );
        let rows = sqlx::query(AssertSqlSafe(self.gaps.clone())).fetch_all(&mut *conn).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query(AssertSqlSafe(sql)).bind(full).execute(&mut *conn).await?;
        let rows = sqlx::query(AssertSqlSafe(self.gaps.clone())).fetch_all(conn).await?;
        rows.iter().map(gap).collect()
    }

    /// Forgets gap marks that have ended and were noted.
    pub(crate) async fn forget_gaps(&self, conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), Error> {
        let sql = format!("delete from {} where id = any($1) and until is not null", self.gap);
        sqlx::query(AssertSqlSafe(sql)).bind(ids).execute(conn).await?;
        Ok(())
    }

    /// Triggers and columns that are not as they were installed.
    pub(crate) async fn faults(&self, conn: &mut PgConnection) -> Result<Vec<TriggerFault>, Error> {
        let rows = sqlx::query(AssertSqlSafe(self.faults.clone())).fetch_all(conn).await?;
        let fault = |row: &PgRow| {
            Ok(TriggerFault {
                watch: WatchId(row.try_get("id")?),
                name: row.try_get("name")?,
                problem: match row.try_get::<&str, _>("problem")? {
                    "missing" => TriggerProblem::Missing,
                    "disabled" => TriggerProblem::Disabled,
                    _ => TriggerProblem::ColumnMissing,
                },
            })
        };
        rows.iter().map(fault).collect()
    }
}

/// A snapshot's xmax and open transactions, as parameters.
fn bounds(snapshot: &Snapshot) -> (String, Vec<String>) {
    (snapshot.xmax().to_string(), snapshot.open().iter().map(ToString::to_string).collect())
}

fn snapshot(row: &PgRow, column: &str) -> Result<Snapshot, Error> {
    row.try_get::<&str, _>(column)?.parse().map_err(decode)
}

fn captured(row: &PgRow) -> Result<Captured, Error> {
    let (seq, captured_at): (i64, DateTime<Utc>) = (row.try_get("seq")?, row.try_get("captured_at")?);
    let event = CapturedEvent {
        id: CapturedEvent::id_of(captured_at, seq),
        watch: WatchId(row.try_get("watch")?),
        operation: row.try_get::<&str, _>("op")?.parse().map_err(decode)?,
        captured_at,
        new: row.try_get("new_row")?,
        old: row.try_get("old_row")?,
        fault: row.try_get::<Option<&str>, _>("fault")?.map(str::parse).transpose().map_err(decode)?,
    };
    Ok(Captured { seq, event })
}

fn gap(row: &PgRow) -> Result<Gap, Error> {
    Ok(Gap {
        id: row.try_get("id")?,
        watch: WatchId(row.try_get("watch")?),
        reason: row.try_get::<&str, _>("reason")?.parse().map_err(decode)?,
        detail: row.try_get("detail")?,
        since: row.try_get("since")?,
        until: row.try_get("until")?,
    })
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unexpected(sqlx::Error::Decode(Box::new(error)))
}
