//! What processes tell each other of providers and channels that do not work.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// Opens a provider's breaker for every process, for so many seconds of machine time; zero closes it.
///
/// # Errors
/// What storage says.
pub async fn set_open(conn: &mut Conn, provider_id: i32, secs: f64, cause: &str) -> Result<()> {
    sqlx::query!(
        r#"update channel_provider
              set open_until = case when $2::double precision > 0 then clock_timestamp() + make_interval(secs => $2::double precision) end,
                  last_error = case when $2::double precision > 0 then $3 else last_error end,
                  last_error_at = case when $2::double precision > 0 then clock_timestamp() else last_error_at end
            where id = $1"#,
        provider_id,
        secs,
        cause
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Parks a channel that its provider refuses as a whole, until a person enables it again.
///
/// # Errors
/// What storage says.
pub async fn park(conn: &mut Conn, channel_id: i32, reason: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with u as (update channel set state = 'parked', state_reason = $2, updated_at = $3, version = version + 1
                       where id = $1 and state = 'enabled' returning slug)
           insert into event_out (kind, type, subject, to_state, reason, at)
           select 'channel', 'state_changed', 'channels/' || slug, 'parked', $2, $3 from u"#,
        channel_id,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
