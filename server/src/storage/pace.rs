//! What the relay knows of rates, kept so that it holds over processes and restarts: allowances by their one moment, and what
//! providers said about our speed. All times are the database's clock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::pacing::{adaptive::Speed, allowance::Allowance};

use super::{Conn, Result};

/// What a provider said about our speed, and what it is granted since.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProviderPace {
    /// How often it said so far that we are too fast.
    pub throttled: i64,
    /// When it said so last.
    pub throttled_at: Option<DateTime<Utc>>,
    /// What follows from it.
    pub speed: Speed,
}

/// The database's clock.
///
/// # Errors
/// What storage says.
pub async fn now(conn: &mut Conn) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await?)
}

/// Every allowance that was used, by its subject; what is whole again for an hour is forgotten.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn) -> Result<HashMap<String, Allowance>> {
    sqlx::query!("delete from pace where full_at < clock_timestamp() - interval '1 hour'").execute(&mut *conn).await?;
    let rows = sqlx::query!("select subject, full_at from pace").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|r| (r.subject, Allowance { full_at: r.full_at })).collect())
}

/// Keeps allowances, in the transaction that grants what was taken of them.
///
/// # Errors
/// What storage says.
pub async fn keep(conn: &mut Conn, taken: &[(String, Allowance)]) -> Result<()> {
    let subjects: Vec<&str> = taken.iter().map(|(subject, _)| subject.as_str()).collect();
    let full: Vec<DateTime<Utc>> = taken.iter().map(|(_, allowance)| allowance.full_at).collect();
    sqlx::query!(
        r#"insert into pace (subject, full_at) select * from unnest($1::text[], $2::timestamptz[]) as x(subject, full_at)
            order by x.subject
           on conflict (subject) do update set full_at = excluded.full_at"#,
        &subjects as &[&str],
        &full
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What every provider that ever said so said about our speed.
///
/// # Errors
/// What storage says.
pub async fn providers(conn: &mut Conn) -> Result<HashMap<i32, ProviderPace>> {
    let rows = sqlx::query!("select provider_id, throttled, throttled_at, limit_rate, lowered_at from provider_pace")
        .fetch_all(conn)
        .await?;
    let pace = |speed, throttled, throttled_at| ProviderPace { throttled, throttled_at, speed };
    let rows = rows.into_iter().map(|r| {
        let speed = Speed { limit: r.limit_rate, lowered_at: r.lowered_at };
        (r.provider_id, pace(speed, r.throttled, r.throttled_at))
    });
    Ok(rows.collect())
}

/// Notes that a provider said `n` times more that we are too fast.
///
/// # Errors
/// What storage says.
pub async fn throttled(conn: &mut Conn, provider_id: i32, n: i64) -> Result<()> {
    sqlx::query!(
        r#"insert into provider_pace (provider_id, throttled, throttled_at)
           select id, $2, clock_timestamp() from channel_provider where id = $1
           on conflict (provider_id) do update
              set throttled = provider_pace.throttled + excluded.throttled, throttled_at = excluded.throttled_at"#,
        provider_id,
        n
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets what a provider is granted from now on.
///
/// # Errors
/// What storage says.
pub async fn slow_down(conn: &mut Conn, provider_id: i32, speed: Speed) -> Result<()> {
    sqlx::query!(
        "update provider_pace set limit_rate = $2, lowered_at = $3 where provider_id = $1",
        provider_id,
        speed.limit,
        speed.lowered_at
    )
    .execute(conn)
    .await?;
    Ok(())
}
