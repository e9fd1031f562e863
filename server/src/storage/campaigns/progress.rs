//! How far a campaign is: the fold of its events, and what was not folded yet, read in one statement so that nothing is
//! counted twice or missed.

use chrono::{DateTime, TimeDelta, Utc};

use super::{super::Conn, Result};

/// How many of a campaign's notifications or deliveries stand somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountRow {
    /// `notification` or `delivery`.
    pub kind: String,
    /// The channel of deliveries; 0 where none was chosen.
    pub channel_id: i32,
    /// The step of deliveries, from 0; -1 for notifications.
    pub step: i16,
    /// The state.
    pub state: String,
    /// Why they ended there; empty: however they came there.
    pub reason: String,
    /// How many, above 0.
    pub n: i64,
}

/// The counts of a campaign.
///
/// # Errors
/// What storage says.
pub async fn counts(conn: &mut Conn, campaign_id: i64) -> Result<Vec<CountRow>> {
    let rows = sqlx::query_as!(
        CountRow,
        r#"select x.kind as "kind!", x.channel_id as "channel_id!", x.step as "step!", x.state as "state!",
                  x.reason as "reason!", sum(x.n)::bigint as "n!"
             from (
               select kind, channel_id, step, state, reason, n from progress where campaign_id = $1
               union all
               select b.kind, case when b.kind = 'delivery' then coalesce(b.channel_id, 0) else 0 end,
                      case when b.kind = 'delivery' then coalesce(b.step, -1) else -1 end::smallint, m.state, m.reason, m.n
                 from event_out b
                cross join lateral (values (b.to_state, '', b.n::bigint), (b.from_state, '', -b.n::bigint),
                                           (case when b.kind = 'notification' and b.from_state is distinct from b.to_state
                                                 then b.to_state end, b.reason, b.n::bigint)) as m(state, reason, n)
                where b.campaign_id = $1 and b.kind in ('notification', 'delivery') and m.state is not null
                  and m.reason is not null) x
            group by 1, 2, 3, 4, 5 having sum(x.n) > 0 order by 1, 3, 2, 4, 5"#,
        campaign_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What stands beside the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside {
    /// Recipients of whom evidence or an answer came too late.
    pub late: i64,
    /// Deliveries that were begun within the window.
    pub begun: i64,
    /// The last event number that was given.
    pub last_number: i64,
}

/// Events that are looked at for the present rate, at most.
const LOOK_BACK: i64 = 5_000;

/// What stands beside the counts of a campaign; `window` is that of the present rate.
///
/// # Errors
/// What storage says.
pub async fn aside(conn: &mut Conn, campaign_id: i64, now: DateTime<Utc>, window: TimeDelta) -> Result<Aside> {
    let row = sqlx::query!(
        r#"with begun as (
             select n from (select * from event order by number desc limit $3) e
              where e.campaign_id = $1 and e.at > $2 and e.kind = 'delivery' and e.from_state = 'queued'
                and e.to_state in ('unknown', 'sent', 'failed', 'delivered', 'read')
             union all
             select n from event_out e
              where e.campaign_id = $1 and e.at > $2 and e.kind = 'delivery' and e.from_state = 'queued'
                and e.to_state in ('unknown', 'sent', 'failed', 'delivered', 'read'))
           select (select count(*) from notification where campaign_id = $1 and late) as "late!",
                  (select coalesce(sum(n), 0)::bigint from begun) as "begun!",
                  (select next_number - 1 from event_counter) as "last_number!""#,
        campaign_id,
        now - window,
        LOOK_BACK
    )
    .fetch_one(conn)
    .await?;
    Ok(Aside { late: row.late, begun: row.begun, last_number: row.last_number })
}
