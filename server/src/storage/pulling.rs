//! Chunks that connectors outside the process claim from here: which is next, who holds what, and leases that are renewed while
//! their holder lives. Claim, mark and end of a chunk are those of [`super::dispatch`]; nothing here decides.

use domain::channel::Address;
use uuid::Uuid;

use super::{Conn, Result};

/// Finds and locks the next chunk of a channel that was granted and nobody claimed, interactive ones first; what another
/// connector is claiming at this moment is passed over. The caller claims it in the same transaction.
///
/// # Errors
/// What storage says.
pub async fn next(conn: &mut Conn, channel_id: i32) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        r#"with g as (select id, lane from send_group where channel_id = $1 and running),
           c as (select x.id, g.lane from g cross join lateral (
                   select d.id from dispatch d
                    where d.send_group_id = g.id and d.pulled and d.published_at is not null and d.token is null
                    order by d.id limit 16) x)
           select d.id as "id!" from c join dispatch d on d.id = c.id
            where d.token is null and d.published_at is not null
            order by c.lane, d.id limit 1 for update of d skip locked"#,
        channel_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Notes which instance holds a chunk that was claimed under `token`.
///
/// # Errors
/// What storage says.
pub async fn hold(conn: &mut Conn, chunk: i64, token: Uuid, holder: &str) -> Result<()> {
    sqlx::query!("update dispatch set holder = $3 where id = $1 and token = $2", chunk, token, holder)
        .execute(conn)
        .await?;
    Ok(())
}

/// Renews the leases of chunks and of the deliveries in them that are on their way. Comes back with the deliveries that still
/// are; the others were settled elsewhere, or lost their lease.
///
/// # Errors
/// What storage says.
pub async fn renew(
    conn: &mut Conn,
    chunks: &[i64],
    tokens: &[Uuid],
    deliveries: &[Uuid],
    lease_secs: f64,
) -> Result<Vec<Uuid>> {
    sqlx::query!(
        r#"with l as (select d.id from unnest($1::bigint[], $2::uuid[]) w(id, token)
                       join dispatch d on d.id = w.id and d.token = w.token order by d.id for update of d)
           update dispatch d set lease_until = clock_timestamp() + make_interval(secs => $3) from l where d.id = l.id"#,
        chunks,
        tokens,
        lease_secs
    )
    .execute(&mut *conn)
    .await?;
    let open = sqlx::query_scalar!(
        r#"with l as (select d.id from delivery d
                       where d.id = any($1) and d.work = 'sending' and d.token = any($2) order by d.id for update)
           update delivery d set lease_until = clock_timestamp() + make_interval(secs => $3)
             from l where d.id = l.id returning d.id"#,
        deliveries,
        tokens,
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(open)
}

/// A delivery that was handed to an instance and has not been settled.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// Its chunk.
    pub chunk: i64,
    /// The token under which it was marked.
    pub token: Uuid,
    /// The delivery.
    pub delivery_id: Uuid,
    /// Its attempt.
    pub attempt: i16,
    /// Where it went.
    pub to: Address,
}

/// What was handed to an instance, by any of its connections, and is neither settled nor lost.
///
/// # Errors
/// What storage says.
pub async fn unsettled(conn: &mut Conn, channel_id: i32, holder: &str) -> Result<Vec<Unsettled>> {
    let rows = sqlx::query!(
        r#"select d.id as "chunk!", d.token as "token!", x.id as "delivery_id!", x.attempts as "attempt!",
                  a.kind::text as "kind!", a.value as "value!"
             from send_group g join dispatch d on d.send_group_id = g.id cross join unnest(d.delivery_ids) i(id)
             join delivery x on x.id = i.id join address a on a.id = x.address_id
            where g.channel_id = $1 and d.pulled and d.published_at is not null and d.holder = $2 and d.token is not null
              and x.work = 'sending' and x.token = d.token
            order by d.id, x.id"#,
        channel_id,
        holder
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Unsettled {
                chunk: r.chunk,
                token: r.token,
                delivery_id: r.delivery_id,
                attempt: r.attempt,
                to: Address { kind: r.kind.parse()?, value: r.value },
            })
        })
        .collect()
}

/// The channel of a chunk that stands.
///
/// # Errors
/// What storage says.
pub async fn channel_of(conn: &mut Conn, chunk: i64) -> Result<Option<i32>> {
    let id = sqlx::query_scalar!(
        r#"select g.channel_id as "id!" from dispatch d join send_group g on g.id = d.send_group_id where d.id = $1"#,
        chunk
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Leaves chunks that were just granted to connectors outside: none of them was published.
///
/// # Errors
/// What storage says.
pub async fn leave_to_connectors(conn: &mut Conn, chunks: &[i64]) -> Result<()> {
    sqlx::query!(
        r#"with l as (select id from dispatch where id = any($1) order by id for update)
           update dispatch d set pulled = true from l where d.id = l.id"#,
        chunks
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The attempts of deliveries so far, the open ones included.
///
/// # Errors
/// What storage says.
pub async fn attempts(conn: &mut Conn, deliveries: &[Uuid]) -> Result<Vec<(Uuid, i16)>> {
    let rows = sqlx::query!("select id, attempts from delivery where id = any($1)", deliveries).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|r| (r.id, r.attempts)).collect())
}

/// Lets a chunk wait for at least this long once it goes back; a longer wait stays.
///
/// # Errors
/// What storage says.
pub async fn postpone(conn: &mut Conn, chunk: i64, token: Uuid, delay_secs: f64) -> Result<()> {
    sqlx::query!(
        r#"update dispatch set not_before = greatest(not_before, clock_timestamp() + make_interval(secs => $3))
            where id = $1 and token = $2"#,
        chunk,
        token,
        delay_secs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a chunk in which nothing is queued or on the wire. What still has something is left to its holder.
///
/// # Errors
/// What storage says.
pub async fn close(conn: &mut Conn, chunk: i64, token: Uuid) -> Result<()> {
    sqlx::query!(
        r#"delete from dispatch d where d.id = $1 and d.token = $2
              and not exists (select from unnest(d.delivery_ids) i(id) join delivery x on x.id = i.id
                               where x.work in ('queued', 'sending'))"#,
        chunk,
        token
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a chunk, or gives it back with what is still queued, not before it was postponed to. One in which something is on the
/// wire is left: the sweep sees to it. Says whether it was given back.
///
/// # Errors
/// What storage says.
pub async fn end(conn: &mut Conn, chunk: i64, token: Uuid) -> Result<bool> {
    let back = sqlx::query_scalar!(
        r#"with s as (select d.id, bool_or(x.work = 'sending') as sending, bool_or(x.work = 'queued') as queued
                        from dispatch d cross join unnest(d.delivery_ids) i(id) join delivery x on x.id = i.id
                       where d.id = $1 and d.token = $2 group by d.id),
           gone as (delete from dispatch d using s where d.id = s.id and not s.sending and not s.queued),
           back as (update dispatch d set published_at = null, token = null, lease_until = null
                      from s where d.id = s.id and s.queued and not s.sending returning d.id)
           select count(*) as "back!" from back"#,
        chunk,
        token
    )
    .fetch_one(conn)
    .await?;
    Ok(back > 0)
}

/// Takes back what was left to the connectors of a channel and nobody claimed: none of them is there any more.
///
/// # Errors
/// What storage says.
pub async fn take_back(conn: &mut Conn, channel_id: i32) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (select d.id from send_group g join dispatch d on d.send_group_id = g.id
                       where g.channel_id = $1 and d.pulled and d.published_at is not null and d.token is null
                       order by d.id for update of d)
           update dispatch d set published_at = null, lease_until = null from l where d.id = l.id"#,
        channel_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
