//! Leases that ended: what the sweep reads and writes. It looks at chunk rows alone, and at the attempt (marked, no outcome,
//! lease over), never at a delivery's evidence; [`super::dispatch`] has the rest of a chunk's life.

use uuid::Uuid;

use super::{Conn, Result};

/// A marked attempt whose lease is over: its outcome will never be known from its worker.
#[derive(Debug, Clone)]
pub struct LostAttempt {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The token under which its outcome is written.
    pub token: Uuid,
    /// Its attempt.
    pub attempt: i16,
    /// Its channel.
    pub channel_id: i32,
    /// The provider that was called.
    pub provider_id: i32,
    /// Its step.
    pub step: i16,
    /// Temporary refusals so far.
    pub failures: i16,
    /// Throttled attempts so far.
    pub throttles: i16,
    /// Its notification.
    pub notification_id: Option<Uuid>,
    /// The generation of the notification's timers.
    pub generation: i32,
    /// The plan of the notification.
    pub plan_id: Option<i64>,
}

/// Chunks whose lease is over, and the marked attempts in them whose own lease is over too.
///
/// # Errors
/// What storage says.
pub async fn lost(conn: &mut Conn, limit: i64) -> Result<(Vec<i64>, Vec<LostAttempt>)> {
    let chunks = sqlx::query_scalar!(
        r#"select id from dispatch where published_at is not null and lease_until < statement_timestamp()
            order by lease_until limit $1"#,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    if chunks.is_empty() {
        return Ok((chunks, Vec::new()));
    }
    let attempts = sqlx::query_as!(
        LostAttempt,
        r#"select d.id as delivery_id, d.token as "token!", d.attempts as attempt, d.channel_id as "channel_id!",
                  d.provider_id as "provider_id!", d.step, d.failures, d.throttles, d.notification_id,
                  coalesce(n.generation, 0) as "generation!", n.plan_id as "plan_id?"
             from dispatch x cross join unnest(x.delivery_ids) i(id)
             cross join lateral (select * from delivery y where y.id = i.id offset 0) d
             left join notification n on n.id = d.notification_id
            where x.id = any($1) and d.work = 'sending' and d.lease_until < clock_timestamp()
              and coalesce(d.chunk_id, x.id) = x.id"#,
        &chunks
    )
    .fetch_all(conn)
    .await?;
    Ok((chunks, attempts))
}

/// Ends or gives back chunks whose lease is over, after their lost attempts were written. A claim that ended without its
/// outcomes counts; those that lost `max_tries` come back, with what is still queued in them, to be failed.
///
/// # Errors
/// What storage says.
pub async fn sweep(conn: &mut Conn, chunks: &[i64], max_tries: i16) -> Result<Vec<Uuid>> {
    let rows = sqlx::query!(
        r#"with k as (select id, delivery_ids, token from dispatch
                       where id = any($1) and published_at is not null and lease_until < clock_timestamp()
                       order by id for update skip locked),
           s as (select k.id, k.token is not null as claimed, bool_or(x.work = 'sending' and y.ours) as sending,
                        coalesce(array_agg(x.id) filter (where x.work = 'queued' and y.ours), '{}') as queued
                   from k cross join unnest(k.delivery_ids) i(id) join delivery x on x.id = i.id
                  cross join lateral (select coalesce(x.chunk_id, k.id) = k.id as ours) y group by k.id, k.token),
           gone as (delete from dispatch d using s where d.id = s.id and not s.sending and cardinality(s.queued) = 0),
           back as (update dispatch d set published_at = null, token = null, lease_until = null,
                           tries = d.tries + case when s.claimed then 1 else 0 end
                      from s where d.id = s.id and not s.sending and cardinality(s.queued) > 0
                    returning d.tries, s.queued)
           select unnest(queued) as "id!" from back where tries >= $2"#,
        chunks,
        max_tries
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| r.id).collect())
}
