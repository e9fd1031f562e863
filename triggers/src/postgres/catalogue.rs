//! Reads a Postgres: its version and identity, a table's kind, columns and key, and what its role may do.
//!
//! Nothing is changed here. Every refusal says what would make it work.

use serde::Serialize;
use sqlx::PgConnection;
use sqlx::Row;

use super::names::{TableName, quote_identifier};
use super::{CaptureSchema, Error, MissingPrivilege};

/// The oldest server with `xid8` and `pg_current_xact_id`.
const OLDEST: i32 = 130_000;

/// A server, as seen by the role that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// As people write it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The database.
    pub database: String,
    /// The connected role.
    pub role: String,
    /// The cluster's identity: another after dump and restore.
    pub system_identifier: String,
    /// Whether prepared transactions are possible here. They cannot carry `NOTIFY`, so that a capture that notifies would fail
    /// them while the consumer sleeps: set `CaptureSchema::notify` to false if they are used.
    pub prepared_transactions: bool,
}

/// The kinds of table that can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TableKind {
    /// A table on its own.
    Ordinary,
    /// The parent of partitions; present and future partitions are watched with it.
    Partitioned,
    /// One partition.
    Partition,
    /// A member of an inheritance tree. Its children are other tables: a write into a child is not captured.
    Inherited,
}

impl TableKind {
    /// Whether rows may be written through another table's name.
    pub(crate) const fn is_tree(self) -> bool {
        match self {
            Self::Ordinary => false,
            Self::Partitioned | Self::Partition | Self::Inherited => true,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name, case kept.
    pub name: String,
    /// Its type as SQL writes it: `character varying(20)`.
    pub type_name: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether its type has an order of its own, so that two values can be compared as they are.
    pub comparable: bool,
}

/// A table that can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Its kind.
    pub kind: TableKind,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The columns of its primary key in order; empty if it has none.
    pub primary_key: Vec<String>,
    /// Rows by the planner's estimate; `None` if it was never analysed.
    pub estimated_rows: Option<u64>,
}

impl Table {
    /// Checks that the table has these columns.
    ///
    /// # Errors
    /// [`Error::NoSuchColumns`] with all that are missing.
    pub fn require<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
        let missing: Vec<String> =
            names.into_iter().filter(|name| self.columns.iter().all(|c| c.name != **name)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let existing = self.columns.iter().map(|column| column.name.clone()).collect();
        Err(Error::NoSuchColumns { table: self.name.clone(), missing, existing })
    }
}

/// Reads the server's identity.
///
/// # Errors
/// [`Error::TooOld`], [`Error::Standby`], or a connection's error.
pub async fn server(conn: &mut PgConnection) -> Result<Server, Error> {
    let row = sqlx::query(
        "select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
            current_database()::text as database, current_user::text as role, pg_is_in_recovery() as standby,
            (select system_identifier::text from pg_control_system()) as system_identifier,
            current_setting('max_prepared_transactions')::int > 0 as prepared",
    )
    .fetch_one(conn)
    .await?;
    let version: String = row.try_get("version")?;
    if row.try_get::<i32, _>("number")? < OLDEST {
        return Err(Error::TooOld(version));
    }
    if row.try_get("standby")? {
        return Err(Error::Standby);
    }
    Ok(Server {
        version,
        database: row.try_get("database")?,
        role: row.try_get("role")?,
        system_identifier: row.try_get("system_identifier")?,
        prepared_transactions: row.try_get("prepared")?,
    })
}

/// Reads a table.
///
/// # Errors
/// [`Error::NoSuchTable`], [`Error::NotATable`] for a view and the like, or a connection's error.
pub async fn describe(conn: &mut PgConnection, name: &TableName) -> Result<Table, Error> {
    name.check()?;
    let row = sqlx::query(
        "select c.oid, c.relkind::text as relkind, c.relpersistence::text as persistence, c.relispartition,
            c.relhassubclass or exists (select from pg_inherits i where i.inhrelid = c.oid) as inherits,
            n.nspname like 'pg\\_%' or n.nspname = 'information_schema' as of_postgres, c.reltuples::float8 as estimate
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = $2 and c.relkind <> 'i' and has_schema_privilege(n.oid, 'USAGE')",
    )
    .bind(&name.schema)
    .bind(&name.name)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        let role = sqlx::query_scalar("select current_user::text").fetch_one(conn).await?;
        return Err(Error::NoSuchTable { table: name.clone(), role });
    };
    let refused = |kind, instead| Err(Error::NotATable { table: name.clone(), kind, instead });
    if row.try_get("of_postgres")? {
        return refused("a table of Postgres itself", "a table of your own");
    }
    if row.try_get::<String, _>("persistence")? == "t" {
        return refused("a temporary table", "a permanent table");
    }
    let tables_behind = "the tables behind it";
    let kind = match row.try_get::<String, _>("relkind")?.as_str() {
        "r" if row.try_get("relispartition")? => TableKind::Partition,
        "r" if row.try_get("inherits")? => TableKind::Inherited,
        "r" => TableKind::Ordinary,
        "p" => TableKind::Partitioned,
        "v" => return refused("a view", tables_behind),
        "m" => return refused("a materialized view", tables_behind),
        "f" => return refused("a foreign table", "the table in its own database, as another source"),
        "S" => return refused("a sequence", "the table that it numbers"),
        _ => return refused("no table", "a table"),
    };
    let oid: sqlx::postgres::types::Oid = row.try_get("oid")?;
    let estimate: f64 = row.try_get("estimate")?;
    Ok(Table {
        name: name.clone(),
        kind,
        columns: columns(conn, oid).await?,
        primary_key: primary_key(conn, oid).await?,
        estimated_rows: whole(estimate),
    })
}

/// The planner's estimate as a number of rows; -1 says that there is none.
fn whole(estimate: f64) -> Option<u64> {
    (estimate >= 0.0).then(|| format!("{estimate:.0}").parse().ok()).flatten()
}

async fn columns(conn: &mut PgConnection, table: sqlx::postgres::types::Oid) -> Result<Vec<Column>, Error> {
    let rows = sqlx::query(
        "select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type_name, not a.attnotnull as nullable,
            t.typtype in ('e', 'r', 'm') or t.typcategory in ('B', 'D', 'N', 'S', 'T', 'I', 'V')
                or a.atttypid = 'uuid'::regtype or a.atttypid = 'bytea'::regtype or a.atttypid = 'jsonb'::regtype as comparable
         from pg_attribute a join pg_type t on t.oid = a.atttypid
         where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(table)
    .fetch_all(conn)
    .await?;
    let column = |row: &sqlx::postgres::PgRow| {
        Ok(Column {
            name: row.try_get("name")?,
            type_name: row.try_get("type_name")?,
            nullable: row.try_get("nullable")?,
            comparable: row.try_get("comparable")?,
        })
    };
    rows.iter().map(column).collect()
}

async fn primary_key(conn: &mut PgConnection, table: sqlx::postgres::types::Oid) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(
        "select a.attname::text from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
         where i.indrelid = $1 and i.indisprimary order by k.place",
    )
    .bind(table)
    .fetch_all(conn)
    .await?)
}

/// Checks that the role may install a capture on the table, and names everything that is missing.
///
/// # Errors
/// [`Error::MissingPrivileges`], or a connection's error.
pub async fn check_privileges(conn: &mut PgConnection, schema: &CaptureSchema, table: &TableName) -> Result<(), Error> {
    let row = sqlx::query(
        "select current_user::text as role, current_database()::text as database,
            has_table_privilege($1, 'TRIGGER') as may_trigger,
            has_database_privilege(current_database(), 'CREATE') as may_create,
            (select pg_has_role(n.nspowner, 'USAGE') from pg_namespace n where n.nspname = $2) as owns_schema,
            (select pg_get_userbyid(n.nspowner)::text from pg_namespace n where n.nspname = $2) as owner",
    )
    .bind(table.quoted())
    .bind(&schema.name)
    .fetch_one(conn)
    .await?;
    let (role, database): (String, String) = (row.try_get("role")?, row.try_get("database")?);
    let to = quote_identifier(&role);
    let mut missing = Vec::new();
    if !row.try_get::<bool, _>("may_trigger")? {
        missing.push(MissingPrivilege {
            privilege: format!("TRIGGER on table {table}"),
            grant: format!("grant trigger on table {table} to {to}"),
        });
    }
    match row.try_get::<Option<bool>, _>("owns_schema")? {
        Some(true) => {}
        Some(false) => {
            let owner = quote_identifier(&row.try_get::<String, _>("owner")?);
            missing.push(MissingPrivilege {
                privilege: format!("ownership of schema {}", quote_identifier(&schema.name)),
                grant: format!("grant {owner} to {to}"),
            });
        }
        None if row.try_get("may_create")? => {}
        None => missing.push(MissingPrivilege {
            privilege: format!("CREATE on database {}", quote_identifier(&database)),
            grant: format!("grant create on database {} to {to}", quote_identifier(&database)),
        }),
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingPrivileges { role, missing }) }
}
