//! The distance between messages to one person, and how many people were written to first within a day. Asked just before the
//! mark, in machine time; what is refused waits in its chunk.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::pacing::pair;

use super::{Conn, Result};

/// Whom a channel may write to now, and when the others may be asked about again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Addresses that may be written to now.
    pub now: Vec<i64>,
    /// When the next of the others may be, in machine time; none where all may.
    pub next_at: Option<DateTime<Utc>>,
}

/// Admits addresses of one channel, each at most once in a call: those whose pair allowance stands at most `headroom` ahead.
/// The allowance is taken with the answer.
///
/// # Errors
/// What storage says.
pub async fn admit(conn: &mut Conn, channel_id: i32, addresses: &[i64], headroom: TimeDelta) -> Result<Admitted> {
    let headroom_secs = headroom.as_seconds_f64();
    let every_secs = pair::EVERY.as_seconds_f64();
    let admitted = sqlx::query_scalar!(
        r#"insert into pair_pace as p (channel_id, address_id, full_at)
           select $1, x.id, clock_timestamp() + make_interval(secs => $4) from unnest($2::bigint[]) as x(id) order by x.id
           on conflict (channel_id, address_id) do update
              set full_at = greatest(p.full_at, clock_timestamp()) + make_interval(secs => $4)
            where p.full_at <= clock_timestamp() + make_interval(secs => $3)
           returning p.address_id"#,
        channel_id,
        addresses,
        headroom_secs,
        every_secs
    )
    .fetch_all(&mut *conn)
    .await?;
    let refused: Vec<i64> = addresses.iter().copied().filter(|id| !admitted.contains(id)).collect();
    if refused.is_empty() {
        return Ok(Admitted { now: admitted, next_at: None });
    }
    let next_at = sqlx::query_scalar!(
        r#"select min(p.full_at) - make_interval(secs => $3) from unnest($2::bigint[]) as x(id)
            cross join lateral (select y.full_at from pair_pace y where y.channel_id = $1 and y.address_id = x.id offset 0) p"#,
        channel_id,
        &refused,
        headroom_secs
    )
    .fetch_one(conn)
    .await?;
    Ok(Admitted { now: admitted, next_at })
}

/// Counts people against the day of a channel, as far as `limit` allows: those among `addresses` whom it has not counted within
/// 24 hours. Whom it has counted, and `open` ones who wrote to us themselves, cost nothing. They stand in `pair_pace` already.
///
/// # Errors
/// What storage says.
pub async fn count(conn: &mut Conn, channel_id: i32, addresses: &[i64], open: &[i64], limit: i32) -> Result<Admitted> {
    let now = super::pace::now(&mut *conn).await?;
    let hour = pair::hour_of(now);
    // One writer a channel at a time: the row of this hour is the lock.
    sqlx::query!(
        "insert into channel_day (channel_id, hour, n) values ($1, $2, 0) on conflict do nothing",
        channel_id,
        hour
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("select n from channel_day where channel_id = $1 and hour = $2 for update", channel_id, hour)
        .fetch_one(&mut *conn)
        .await?;
    let used = today(&mut *conn, &[channel_id], now).await?.remove(&channel_id).unwrap_or_default();
    let known: Vec<i64> = sqlx::query_scalar!(
        r#"select x.id as "id!" from unnest($2::bigint[]) as x(id)
            cross join lateral (select y.counted_at from pair_pace y where y.channel_id = $1 and y.address_id = x.id offset 0) p
            where p.counted_at > $3"#,
        channel_id,
        addresses,
        now - pair::DAY
    )
    .fetch_all(&mut *conn)
    .await?;
    let free = |id: &i64| known.contains(id) || open.contains(id);
    let left = usize::try_from(pair::left_today(Some(limit), used.n).unwrap_or_default()).unwrap_or_default();
    let new: Vec<i64> = addresses.iter().copied().filter(|id| !free(id)).take(left).collect();
    if !new.is_empty() {
        sqlx::query!(
            r#"with l as (select p.address_id from unnest($2::bigint[]) as x(id)
                           cross join lateral (select y.address_id from pair_pace y
                                                where y.channel_id = $1 and y.address_id = x.id for update) p),
               u as (update pair_pace p set counted_at = $3 from l where p.channel_id = $1 and p.address_id = l.address_id)
               update channel_day set n = n + cardinality($2::bigint[]) where channel_id = $1 and hour = $4"#,
            channel_id,
            &new,
            now,
            hour
        )
        .execute(conn)
        .await?;
    }
    let admitted: Vec<i64> = addresses.iter().copied().filter(|id| free(id) || new.contains(id)).collect();
    let all = admitted.len() == addresses.len();
    let next_at = (!all).then(|| now + pair::until_free(used.oldest, now));
    Ok(Admitted { now: admitted, next_at })
}

/// What a channel has used of its day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Today {
    /// People who were written to first.
    pub n: i64,
    /// The first hour with any of them.
    pub oldest: Option<DateTime<Utc>>,
}

/// What channels have used of their day.
///
/// # Errors
/// What storage says.
pub async fn today(conn: &mut Conn, channels: &[i32], now: DateTime<Utc>) -> Result<HashMap<i32, Today>> {
    let rows = sqlx::query!(
        r#"select channel_id, sum(n)::bigint as "n!", min(hour) filter (where n > 0) as oldest from channel_day
            where channel_id = any($1) and hour > $2 group by channel_id"#,
        channels,
        now - pair::DAY - TimeDelta::hours(1)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.channel_id, Today { n: r.n, oldest: r.oldest })).collect())
}
