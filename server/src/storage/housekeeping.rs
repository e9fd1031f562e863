//! Removing what is old, in bounded batches; making room for what comes; counting what waits and what a person should look at.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::AssertSqlSafe;

use super::{Conn, Result};

/// Rows that one statement removes at most.
pub const BATCH: i64 = 5_000;
/// Counting what waits ends here.
const COUNTED: i64 = 10_000;

/// Kinds of rows that are removed when they are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers to request ids.
    Request,
    /// Providers' message ids.
    ProviderRef,
    /// Ids of people's messages.
    InboundRef,
    /// Numbered events.
    Event,
    /// Ids of commands.
    Command,
    /// Receipts that belong to nothing of ours.
    Orphan,
    /// Bodies of webhooks that stand in no day's partition.
    WebhookBody,
    /// Distances that nobody asks about any more, and who was counted on a day that is over.
    PairPace,
    /// Hours of the days of channels.
    ChannelDay,
    /// Tokens of contacts that hold no longer.
    ContactToken,
    /// What controllers did.
    ControllerRun,
    /// What web chats show.
    WebChatLine,
    /// Batches of events that webhooks did not take.
    DeadLetter,
    /// Ends of tickets that nobody ordered.
    ParkedTicket,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Request,
        Self::ProviderRef,
        Self::InboundRef,
        Self::Event,
        Self::Command,
        Self::Orphan,
        Self::WebhookBody,
        Self::PairPace,
        Self::ChannelDay,
        Self::ContactToken,
        Self::ControllerRun,
        Self::WebChatLine,
        Self::DeadLetter,
        Self::ParkedTicket,
    ];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::ProviderRef => "provider_ref",
            Self::InboundRef => "inbound_ref",
            Self::Event => "event",
            Self::Command => "command",
            Self::Orphan => "orphan",
            Self::WebhookBody => "webhook_body",
            Self::PairPace => "pair_pace",
            Self::ChannelDay => "channel_day",
            Self::ContactToken => "contact_token",
            Self::ControllerRun => "controller_run",
            Self::WebChatLine => "web_chat_line",
            Self::DeadLetter => "dead_letter",
            Self::ParkedTicket => "parked_ticket",
        }
    }
}

/// Removes a batch of rows that are older than `before`. Says how many.
///
/// Events are looked at from the oldest number on, so that an hour without old ones costs one small read; the newest is kept,
/// so that numbering is seen to have begun.
///
/// # Errors
/// What storage says.
pub async fn remove_old(conn: &mut Conn, kind: Kind, before: DateTime<Utc>) -> Result<u64> {
    let done = match kind {
        Kind::Request => sqlx::query!(
            r#"delete from request where ctid = any (array(select ctid from request where created_at < $1 limit $2))"#,
            before,
            BATCH
        )
        .execute(conn)
        .await?,
        Kind::ProviderRef => {
            sqlx::query!(
                r#"delete from provider_ref
                    where ctid = any (array(select ctid from provider_ref where created_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::InboundRef => {
            sqlx::query!(
                r#"delete from inbound_ref
                    where ctid = any (array(select ctid from inbound_ref where received_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::Event => {
            sqlx::query!(
                r#"delete from event
                    where number = any (array(select x.number
                            from (select number, at from event order by number limit $2) x
                           where x.at < $1 and x.number < (select max(number) from event)))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::Command => {
            sqlx::query!(
                r#"delete from command_seen
                    where ctid = any (array(select ctid from command_seen where seen_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::Orphan => {
            sqlx::query!(
                r#"delete from receipt_orphan
                    where ctid = any (array(select ctid from receipt_orphan where given_up_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::PairPace => {
            sqlx::query!(
                r#"delete from pair_pace where ctid = any (array(
                     select ctid from pair_pace where full_at < $1 and counted_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::ChannelDay => {
            sqlx::query!(
                r#"delete from channel_day where ctid = any (array(select ctid from channel_day where hour < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::ContactToken => {
            sqlx::query!(
                r#"delete from contact_token
                    where token = any (array(select token from contact_token where expires_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::ControllerRun => return super::controllers::inbox::forget(conn, before, BATCH).await,
        Kind::WebChatLine => {
            sqlx::query!(
                r#"delete from web_chat_line
                    where ctid = any (array(select ctid from web_chat_line where stored_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::DeadLetter => {
            sqlx::query!(
                r#"delete from webhook_dead_letter
                    where id = any (array(select id from webhook_dead_letter where died_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::ParkedTicket => {
            sqlx::query!(
                r#"delete from parked_ticket
                    where ctid = any (array(select ctid from parked_ticket where parked_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
        Kind::WebhookBody => {
            sqlx::query!(
                r#"delete from webhook_body_default
                    where ctid = any (array(select ctid from webhook_body_default where received_at < $1 limit $2))"#,
                before,
                BATCH
            )
            .execute(conn)
            .await?
        }
    };
    Ok(done.rows_affected())
}

/// The prefix of the names of a day's partition of webhooks' bodies; the day follows as `20261120`.
const BODY_PARTITION: &str = "webhook_body_p";

/// The days that have a partition for webhooks' bodies.
///
/// # Errors
/// What storage says.
pub async fn body_days(conn: &mut Conn) -> Result<Vec<NaiveDate>> {
    let names = sqlx::query_scalar!(
        r#"select c.relname::text as "name!" from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'webhook_body'::regclass order by 1"#
    )
    .fetch_all(conn)
    .await?;
    let day = |name: &String| NaiveDate::parse_from_str(name.strip_prefix(BODY_PARTITION)?, "%Y%m%d").ok();
    Ok(names.iter().filter_map(day).collect())
}

/// Makes the partition of one day.
///
/// # Errors
/// What storage says; [`super::Error::Refused`] when bodies of that day stand in the default partition already.
pub async fn make_body_day(conn: &mut Conn, day: NaiveDate) -> Result<()> {
    let (from, to) = (day, day + Days::new(1));
    // A name of digits and two dates: nothing of a caller's.
    let sql = format!(
        "create table if not exists {} partition of webhook_body for values from ('{from}T00:00:00Z') to ('{to}T00:00:00Z')",
        partition(day)
    );
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Drops the partition of one day with all its bodies.
///
/// # Errors
/// What storage says.
pub async fn drop_body_day(conn: &mut Conn, day: NaiveDate) -> Result<()> {
    sqlx::query(AssertSqlSafe(format!("drop table if exists {}", partition(day)))).execute(conn).await?;
    Ok(())
}

fn partition(day: NaiveDate) -> String {
    format!("{BODY_PARTITION}{}", day.format("%Y%m%d"))
}

/// Waits at most two seconds for locks in this transaction: writers would queue up behind a change of the schema that waits.
///
/// # Errors
/// What storage says.
pub async fn wait_briefly(conn: &mut Conn) -> Result<()> {
    sqlx::query!("set local lock_timeout = '2s'").execute(conn).await?;
    Ok(())
}

/// How many rows wait; each count ends at ten thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Chunks that are not published.
    pub chunks: i64,
    /// Receipts that are not merged.
    pub receipts: i64,
    /// Messages of people that are not taken up.
    pub inbound: i64,
    /// Events without a number.
    pub events: i64,
    /// Firings that are not decided.
    pub firings: i64,
}

/// Counts what waits.
///
/// # Errors
/// What storage says.
pub async fn waiting(conn: &mut Conn) -> Result<Waiting> {
    let waiting = sqlx::query_as!(
        Waiting,
        r#"select (select count(*) from (select from dispatch where published_at is null limit $1) x) as "chunks!",
                  (select count(*) from (select from receipt_inbox limit $1) x) as "receipts!",
                  (select count(*) from (select from inbound_inbox where parked_at is null limit $1) x) as "inbound!",
                  (select count(*) from (select from event_out limit $1) x) as "events!",
                  (select count(*) from (select from firing where state = 'pending' limit $1) x) as "firings!""#,
        COUNTED
    )
    .fetch_one(conn)
    .await?;
    Ok(waiting)
}

/// What a person should look at; each count ends at ten thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Troubles {
    /// Receipts that belong to no attempt of ours.
    pub orphans: i64,
    /// Messages of people that could not be taken up.
    pub parked_inbound: i64,
    /// Chunks whose workers were lost more than once.
    pub lost_chunks: i64,
    /// Firings that failed.
    pub failed_firings: i64,
    /// Rows that could not be mapped to a person.
    pub unmappable_firings: i64,
    /// Webhooks of subscribers that fail, or were disabled because they did.
    pub failing_webhooks: i64,
    /// Batches of events that webhooks did not take.
    pub dead_letters: i64,
}

/// Counts what a person should look at.
///
/// # Errors
/// What storage says.
pub async fn troubles(conn: &mut Conn) -> Result<Troubles> {
    let troubles = sqlx::query_as!(
        Troubles,
        r#"select (select count(*) from (select from receipt_orphan limit $1) x) as "orphans!",
                  (select count(*) from (select from inbound_inbox where parked_at is not null limit $1) x) as "parked_inbound!",
                  (select count(*) from (select from dispatch where tries > 1 limit $1) x) as "lost_chunks!",
                  (select count(*) from (select from firing where state = 'failed' limit $1) x) as "failed_firings!",
                  (select count(*) from (select from firing where state = 'unmappable' limit $1) x) as "unmappable_firings!",
                  (select count(*) from webhook where state = 'failing'
                      or (state = 'disabled' and state_reason <> 'disabled by a person')) as "failing_webhooks!",
                  (select count(*) from (select from webhook_dead_letter where replayed_at is null limit $1) x) as "dead_letters!""#,
        COUNTED
    )
    .fetch_one(conn)
    .await?;
    Ok(troubles)
}

/// The key of this name that all processes share; made from `fresh` when there is none.
///
/// # Errors
/// What storage says.
pub async fn deployment_key(conn: &mut Conn, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
    sqlx::query!("insert into deployment_key (name, value) values ($1, $2) on conflict do nothing", name, fresh)
        .execute(&mut *conn)
        .await?;
    let value = sqlx::query_scalar!("select value from deployment_key where name = $1", name).fetch_one(conn).await?;
    Ok(value)
}
