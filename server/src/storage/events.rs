//! Events: what transactions wrote is numbered after commit by one sequencer, and folded into the progress of campaigns.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// Numbers what became visible, in the order in which it was written under its locks, and folds it into progress. Only the
/// sequencer's leader may call it, inside a transaction. Says how many rows were numbered.
///
/// # Errors
/// What storage says.
pub async fn sequence(conn: &mut Conn, limit: i64) -> Result<i64> {
    let numbered = sqlx::query_scalar!(
        r#"with b as (delete from event_out where id in (select id from event_out order by id limit $1) returning *),
           total as (select coalesce(sum(n), 0)::bigint as n from b),
           c as (update event_counter set next_number = next_number + total.n from total
                 returning next_number - total.n as first_number),
           e as (
             insert into event (number, kind, type, campaign_id, channel_id, step, from_state, to_state, reason, n, ids,
                                subject, data, at)
             select c.first_number + sum(b.n) over (order by b.id) - b.n, b.kind, b.type, b.campaign_id, b.channel_id, b.step,
                    b.from_state, b.to_state, b.reason, b.n, b.ids, b.subject, b.data, b.at
               from b cross join c),
           -- A notification is counted by its state alone, a delivery by channel and step too; why one ended is counted once.
           moved as (
             select campaign_id, kind, case when kind = 'delivery' then coalesce(channel_id, 0) else 0 end as channel_id,
                    case when kind = 'delivery' then coalesce(step, -1) else -1 end as step, x.state, x.reason, x.n
               from b cross join lateral (values (to_state, '', n::bigint), (from_state, '', -n::bigint),
                                                 (case when kind = 'notification' and from_state is distinct from to_state
                                                       then to_state end, reason, n::bigint)) as x(state, reason, n)
              where campaign_id is not null and kind in ('notification', 'delivery') and x.state is not null
                and x.reason is not null),
           f as (
             insert into progress (campaign_id, kind, channel_id, step, state, reason, n)
             select campaign_id, kind, channel_id, step, state, reason, sum(n)::bigint
               from moved group by 1, 2, 3, 4, 5, 6 having sum(n) <> 0 order by 1, 2, 3, 4, 5, 6
             on conflict (campaign_id, kind, channel_id, step, state, reason)
             do update set n = progress.n + excluded.n)
           select count(*) as "n!" from b"#,
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok(numbered)
}

/// One numbered row: n entities that moved alike.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// The first of its numbers.
    pub number: i64,
    /// What it speaks of.
    pub kind: String,
    /// What happened.
    pub r#type: String,
    /// The campaign.
    pub campaign_id: Option<i64>,
    /// The channel.
    pub channel_id: Option<i32>,
    /// The step.
    pub step: Option<i16>,
    /// Where they stood.
    pub from_state: Option<String>,
    /// Where they stand.
    pub to_state: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// How many.
    pub n: i32,
    /// Which.
    pub ids: Vec<Uuid>,
    /// The resource, where it is one without a UUID.
    pub subject: Option<String>,
    /// What else is to be said.
    pub data: Option<serde_json::Value>,
    /// When, in business time.
    pub at: DateTime<Utc>,
}

impl EventRow {
    /// Leaves of it only what has numbers above `after`, up to `upto`.
    pub fn cut(&mut self, after: i64, upto: i64) {
        let skipped = (after + 1 - self.number).clamp(0, i64::from(self.n));
        let kept = (upto + 1 - self.number).clamp(0, i64::from(self.n)) - skipped;
        let (skip, keep) = (usize::try_from(skipped).unwrap_or(0), usize::try_from(kept).unwrap_or(0));
        if skip > 0 || keep < self.ids.len() {
            self.ids = self.ids.iter().skip(skip).take(keep).copied().collect();
        }
        self.number += skipped;
        self.n = i32::try_from(kept).unwrap_or(0);
    }
}

/// Rows that hold numbers above `after`, in order.
///
/// # Errors
/// What storage says.
pub async fn after(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<EventRow>> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"select number, kind, type, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, subject, data, at
             from event
            where number >= coalesce((select max(number) from event where number <= $1), 0) and number + n > $1 + 1
            order by number limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The last number that was given, and the first that is still kept.
///
/// # Errors
/// What storage says.
pub async fn bounds(conn: &mut Conn) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select (select next_number - 1 from event_counter) as "last!",
                  coalesce((select min(number) from event), (select next_number from event_counter)) as "first!""#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.last, row.first))
}

/// One event that stands alone: of a campaign, a trigger, a channel, a contact.
///
/// # Errors
/// What storage says.
pub async fn say(
    conn: &mut Conn,
    kind: &str,
    r#type: &str,
    subject: &str,
    to_state: Option<&str>,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into event_out (kind, type, subject, to_state, reason, at) values ($1, $2, $3, $4, $5, $6)",
        kind,
        r#type,
        subject,
        to_state,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
