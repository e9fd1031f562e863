//! The processes that serve providers from outside: who is there, since when, and how it says that it is.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// What a process says of itself when it comes.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The provider that it serves.
    pub provider_id: i32,
    /// The name that it keeps over its restarts.
    pub name: &'a str,
    /// What it is, such as `python-chat/1.2`.
    pub software: &'a str,
    /// Deliveries that it takes at once.
    pub in_flight: i32,
    /// Whether it holds a connection; not where it asks again and again.
    pub connected: bool,
}

/// Notes that a process came. Says its epoch: an older connection of the same name gives way.
///
/// # Errors
/// What storage says.
pub async fn arrive(conn: &mut Conn, arrival: Arrival<'_>) -> Result<i64> {
    let epoch = sqlx::query_scalar!(
        r#"insert into connector_instance (provider_id, name, connected, software, in_flight)
           values ($1, $2, $3, $4, $5)
           on conflict (provider_id, name) do update
              set epoch = connector_instance.epoch + case when excluded.connected then 1 else 0 end,
                  connected = excluded.connected, software = excluded.software, in_flight = excluded.in_flight,
                  healthy = true, detail = '', seen_at = clock_timestamp(),
                  started_at = case when excluded.connected then clock_timestamp() else connector_instance.started_at end
           returning epoch"#,
        arrival.provider_id,
        arrival.name,
        arrival.connected,
        arrival.software,
        arrival.in_flight
    )
    .fetch_one(conn)
    .await?;
    Ok(epoch)
}

/// Notes that a process is still there. False when another connection of its name took over, or the provider is gone.
///
/// # Errors
/// What storage says.
pub async fn stay(conn: &mut Conn, provider_id: i32, name: &str, epoch: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update connector_instance set seen_at = clock_timestamp() where provider_id = $1 and name = $2 and epoch = $3",
        provider_id,
        name,
        epoch
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that a connection ended. What it was counts as there for as long as the provider's grace.
///
/// # Errors
/// What storage says.
pub async fn leave(conn: &mut Conn, provider_id: i32, name: &str, epoch: i64) -> Result<()> {
    sqlx::query!(
        r#"update connector_instance set connected = false, seen_at = clock_timestamp()
            where provider_id = $1 and name = $2 and epoch = $3"#,
        provider_id,
        name,
        epoch
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps what a process says of its own health.
///
/// # Errors
/// What storage says.
pub async fn health(conn: &mut Conn, provider_id: i32, name: &str, healthy: bool, detail: &str) -> Result<()> {
    sqlx::query!(
        r#"update connector_instance set healthy = $3, detail = $4, seen_at = clock_timestamp()
            where provider_id = $1 and name = $2"#,
        provider_id,
        name,
        healthy,
        detail
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A process that serves a provider.
#[derive(Debug, Clone)]
pub struct InstanceRow {
    /// The name that it keeps.
    pub name: String,
    /// The provider's name in its channel.
    pub provider: String,
    /// Whether it holds a connection.
    pub connected: bool,
    /// What it is.
    pub software: String,
    /// Deliveries that it takes at once.
    pub in_flight: i32,
    /// What it said of itself.
    pub healthy: bool,
    /// In its words.
    pub detail: String,
    /// When its last connection began, in machine time.
    pub started_at: DateTime<Utc>,
    /// When it was last seen, in machine time.
    pub seen_at: DateTime<Utc>,
}

/// The processes that serve a channel, by name.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, channel_id: i32, after: &str, limit: i64) -> Result<Vec<InstanceRow>> {
    let rows = sqlx::query_as!(
        InstanceRow,
        r#"select i.name as "name!", p.name as "provider!", i.connected as "connected!", i.software as "software!",
                  i.in_flight as "in_flight!", i.healthy as "healthy!", i.detail as "detail!", i.started_at as "started_at!",
                  i.seen_at as "seen_at!"
             from channel_provider p join connector_instance i on i.provider_id = p.id
            where p.channel_id = $1 and i.name > $2 order by i.name limit $3"#,
        channel_id,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
