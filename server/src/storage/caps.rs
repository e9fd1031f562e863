//! Frequency caps as rows, and how many messages addresses have had.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{caps::Cap, channel::ChannelType};
use sqlx::postgres::types::PgInterval;

use super::{Conn, Error, Result};

/// A cap as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapRow {
    /// Its key.
    pub id: i64,
    /// What it says.
    pub cap: Cap,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Caps in the order of their keys, after a key.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<CapRow>> {
    let rows = sqlx::query!(
        r#"select id, channel_type, purpose, messages, (extract(epoch from period) * 1000)::bigint as "millis!", version,
                  created_at, updated_at
             from frequency_cap where id > $1 order by id limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let channel_type = if r.channel_type == "*" { None } else { Some(r.channel_type.parse()?) };
            let cap = Cap {
                channel_type,
                purpose: r.purpose,
                messages: r.messages,
                period: TimeDelta::milliseconds(r.millis),
            };
            Ok(CapRow { id: r.id, cap, version: r.version, created_at: r.created_at, updated_at: r.updated_at })
        })
        .collect()
}

/// Sets the cap of a channel type and purpose. Says its key.
///
/// # Errors
/// What storage says.
pub async fn set(conn: &mut Conn, cap: &Cap, now: DateTime<Utc>) -> Result<i64> {
    let period = PgInterval { months: 0, days: 0, microseconds: cap.period.num_microseconds().unwrap_or(i64::MAX) };
    let id = sqlx::query_scalar!(
        r#"insert into frequency_cap (channel_type, purpose, messages, period, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $5)
           on conflict (channel_type, purpose) do update
              set messages = excluded.messages, period = excluded.period, version = frequency_cap.version + 1,
                  updated_at = excluded.updated_at
           returning id"#,
        cap.channel_type.map_or("*", ChannelType::as_str),
        cap.purpose,
        cap.messages,
        period,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// The version of a cap, whose row is locked.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: i64) -> Result<Option<i32>> {
    Ok(sqlx::query_scalar!("select version from frequency_cap where id = $1 for update", id)
        .fetch_optional(conn)
        .await?)
}

/// Takes a cap away.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from frequency_cap where id = $1", id).execute(conn).await?;
    Ok(())
}

/// How many messages addresses have had that caps count: (address, place of the cap, channel type) -> messages. Counting ends
/// at what a cap allows. The addresses are locked, so that two who plan at once do not both find room for the last message.
///
/// # Errors
/// What storage says.
pub async fn had(
    conn: &mut Conn,
    caps: &[Cap],
    addresses: &[i64],
    now: DateTime<Utc>,
) -> Result<HashMap<(i64, usize, ChannelType), i64>> {
    sqlx::query!("select id from address where id = any($1) order by id for no key update", addresses)
        .fetch_all(&mut *conn)
        .await?;
    let types: Vec<&str> = caps.iter().map(|c| c.channel_type.map_or("*", ChannelType::as_str)).collect();
    let purposes: Vec<&str> = caps.iter().map(|c| c.purpose.as_str()).collect();
    let since: Vec<DateTime<Utc>> = caps.iter().map(|c| now - c.period).collect();
    let periods: Vec<f64> = caps.iter().map(|c| c.period.as_seconds_f64()).collect();
    // Ids are of machine time and bound the walk through the index, with a day to spare; what counts is business time.
    let rows = sqlx::query!(
        r#"select a.id as "address_id!", c.place as "place!", x.channel_type as "channel_type!", count(*) as "n!"
             from unnest($1::bigint[]) as a(id)
            cross join unnest($2::text[], $3::text[], $4::timestamptz[], $5::double precision[]) with ordinality
                       as c(channel_type, purpose, since, secs, place)
            cross join lateral (
                  select h.channel_type, n.purpose from delivery d
                   cross join lateral (select y.channel_type from channel y where y.id = d.channel_id offset 0) h
                   cross join lateral (select y.purpose from notification y where y.id = d.notification_id offset 0) n
                   where d.address_id = a.id
                     and d.id > (lpad(to_hex((extract(epoch from statement_timestamp()
                                 - make_interval(secs => c.secs) - interval '1 day') * 1000)::bigint), 12, '0')
                                 || '00000000000000000000')::uuid
                     and d.created_at > c.since and d.work in ('queued', 'sending', 'done') and d.evidence <> 'failed'
                  offset 0) x
            where (c.channel_type = '*' or c.channel_type = x.channel_type)
              and (c.purpose = x.purpose or (c.purpose = '*' and x.purpose not in ('service', 'transactional')))
            group by 1, 2, 3"#,
        addresses,
        &types as &[&str],
        &purposes as &[&str],
        &since,
        &periods
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let place = usize::try_from(r.place - 1).map_err(|_| Error::Corrupt("a cap without a place".into()))?;
            Ok(((r.address_id, place, r.channel_type.parse()?), r.n))
        })
        .collect()
}
