//! Receipts: stored raw at once, merged later in batches. What outruns our own insert is parked and tried again for a day.

use chrono::{DateTime, Utc};
use domain::delivery::Evidence;
use uuid::Uuid;

use super::{Conn, Result};

/// A receipt as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReceipt {
    /// The provider's id of the message.
    pub provider_message_id: String,
    /// Our delivery and attempt, where the provider echoed them.
    pub echo: Option<(Uuid, i16)>,
    /// What it proves.
    pub evidence: Evidence,
    /// What a failure means.
    pub failure_class: Option<String>,
    /// The provider's code of a failure.
    pub failure_code: Option<String>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
}

/// Stores the body of a webhook, once, and gives its number.
///
/// # Errors
/// What storage says.
pub async fn store_body(conn: &mut Conn, provider_id: i32, body: &[u8]) -> Result<i64> {
    let id = sqlx::query_scalar!(
        "insert into webhook_body (provider_id, body) values ($1, $2) returning id",
        provider_id,
        body
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Stores receipts to be merged.
///
/// # Errors
/// What storage says.
pub async fn store(conn: &mut Conn, provider_id: i32, body_id: i64, receipts: &[NewReceipt]) -> Result<()> {
    let message_ids: Vec<&str> = receipts.iter().map(|r| r.provider_message_id.as_str()).collect();
    let deliveries: Vec<Option<Uuid>> = receipts.iter().map(|r| r.echo.map(|e| e.0)).collect();
    let attempts: Vec<Option<i16>> = receipts.iter().map(|r| r.echo.map(|e| e.1)).collect();
    let evidences: Vec<&str> = receipts.iter().map(|r| r.evidence.as_str()).collect();
    let classes: Vec<Option<&str>> = receipts.iter().map(|r| r.failure_class.as_deref()).collect();
    let codes: Vec<Option<&str>> = receipts.iter().map(|r| r.failure_code.as_deref()).collect();
    let times: Vec<Option<DateTime<Utc>>> = receipts.iter().map(|r| r.provider_time).collect();
    sqlx::query!(
        r#"insert into receipt_inbox (provider_id, provider_message_id, delivery_id, n, evidence, failure_class, failure_code,
                                      provider_time, body_id)
           select $1, x.pm, x.delivery_id, x.n, x.evidence::delivery_evidence, x.class, x.code, x.at, $2
             from unnest($3::text[], $4::uuid[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
               as x(pm, delivery_id, n, evidence, class, code, at)"#,
        provider_id,
        body_id,
        &message_ids as &[&str],
        &deliveries as &[Option<Uuid>],
        &attempts as &[Option<i16>],
        &evidences as &[&str],
        &classes as &[Option<&str>],
        &codes as &[Option<&str>],
        &times as &[Option<DateTime<Utc>>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A receipt that was taken from the inbox, with the attempt that it speaks of.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its delivery.
    pub delivery_id: Uuid,
    /// Its attempt.
    pub attempt: i16,
    /// What it proves.
    pub evidence: Evidence,
    /// What a failure means.
    pub failure_class: Option<String>,
    /// The provider's code of a failure.
    pub failure_code: Option<String>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// The webhook that brought it; 0: our own call's late answer.
    pub body_id: i64,
}

/// Takes a batch of receipts whose attempt is known out of the inbox. The caller merges them in the same transaction.
///
/// Those whose attempt is not known yet are parked for a while (the receipt can beat our own insert), and after a day are
/// kept as orphans.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, limit: i64) -> Result<(Vec<Taken>, bool)> {
    let rows = sqlx::query!(
        r#"with b as (select i.id from receipt_inbox i where i.not_before <= clock_timestamp() order by i.id limit $1
                      for update skip locked)
           select i.id, coalesce(r.delivery_id, i.delivery_id) as delivery_id, coalesce(r.n, i.n) as n,
                  i.evidence::text as "evidence!", i.failure_class, i.failure_code, i.provider_time, i.received_at, i.body_id,
                  (select d.id from delivery d where d.id = coalesce(r.delivery_id, i.delivery_id)) is not null as "known!"
             from b join receipt_inbox i on i.id = b.id
             left join provider_ref r on r.provider_id = i.provider_id and r.provider_message_id = i.provider_message_id
            order by i.id"#,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit;
    let (mut taken, mut gone, mut parked) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match (row.delivery_id, row.n, row.known) {
            (Some(delivery_id), Some(attempt), true) => {
                gone.push(row.id);
                taken.push(Taken {
                    delivery_id,
                    attempt,
                    evidence: row.evidence.parse()?,
                    failure_class: row.failure_class,
                    failure_code: row.failure_code,
                    provider_time: row.provider_time,
                    received_at: row.received_at,
                    body_id: row.body_id,
                });
            }
            _ => parked.push(row.id),
        }
    }
    sqlx::query!("delete from receipt_inbox where id = any($1)", &gone).execute(&mut *conn).await?;
    if !parked.is_empty() {
        park(conn, &parked).await?;
    }
    Ok((taken, full))
}

async fn park(conn: &mut Conn, ids: &[i64]) -> Result<()> {
    sqlx::query!(
        r#"with old as (delete from receipt_inbox where id = any($1) and received_at < clock_timestamp() - interval '1 day'
                        returning *)
           insert into receipt_orphan (id, provider_id, provider_message_id, delivery_id, n, evidence, failure_class,
                                       failure_code, provider_time, received_at, body_id, not_before, tries)
           select id, provider_id, provider_message_id, delivery_id, n, evidence, failure_class, failure_code, provider_time,
                  received_at, body_id, not_before, tries from old"#,
        ids
    )
    .execute(&mut *conn)
    .await?;
    // Half a second, then twice as long each time, at most an hour.
    sqlx::query!(
        r#"update receipt_inbox set tries = tries + 1,
                  not_before = clock_timestamp() + least(interval '0.5 s' * power(2, least(tries, 13)), interval '1 hour')
            where id = any($1)"#,
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A receipt as it is kept for good.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// What was taken.
    pub taken: &'a Taken,
    /// Whether its step had been left.
    pub late: bool,
}

/// Keeps merged receipts for good.
///
/// # Errors
/// What storage says.
pub async fn keep(conn: &mut Conn, receipts: &[Kept<'_>]) -> Result<()> {
    let deliveries: Vec<Uuid> = receipts.iter().map(|r| r.taken.delivery_id).collect();
    let attempts: Vec<i16> = receipts.iter().map(|r| r.taken.attempt).collect();
    let evidences: Vec<&str> = receipts.iter().map(|r| r.taken.evidence.as_str()).collect();
    let codes: Vec<Option<&str>> = receipts.iter().map(|r| r.taken.failure_code.as_deref()).collect();
    let times: Vec<Option<DateTime<Utc>>> = receipts.iter().map(|r| r.taken.provider_time).collect();
    let received: Vec<DateTime<Utc>> = receipts.iter().map(|r| r.taken.received_at).collect();
    let late: Vec<bool> = receipts.iter().map(|r| r.late).collect();
    let bodies: Vec<i64> = receipts.iter().map(|r| r.taken.body_id).collect();
    sqlx::query!(
        r#"insert into receipt (delivery_id, n, evidence, failure_code, provider_time, received_at, late, body_id)
           select x.id, x.n, x.evidence::delivery_evidence, x.code, x.at, x.received, x.late, x.body
             from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::boolean[], $8::bigint[]) as x(id, n, evidence, code, at, received, late, body)"#,
        &deliveries,
        &attempts,
        &evidences as &[&str],
        &codes as &[Option<&str>],
        &times as &[Option<DateTime<Utc>>],
        &received,
        &late,
        &bodies
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a batch of receipts makes of one delivery.
#[derive(Debug, Clone)]
pub struct Lift {
    /// The delivery, locked by the caller.
    pub delivery_id: Uuid,
    /// What is known now; lower than what is stored changes nothing.
    pub evidence: Evidence,
    /// What a failure means.
    pub failure_class: Option<String>,
    /// The provider's code of a failure.
    pub failure_code: Option<String>,
    /// A repeat that is queued is taken back: the message is known to be with the provider.
    pub take_back_repeat: bool,
}

/// Lifts the evidence of deliveries and writes their events.
///
/// # Errors
/// What storage says.
pub async fn lift(conn: &mut Conn, lifts: &[Lift], now: DateTime<Utc>) -> Result<()> {
    let ids: Vec<Uuid> = lifts.iter().map(|l| l.delivery_id).collect();
    let evidences: Vec<&str> = lifts.iter().map(|l| l.evidence.as_str()).collect();
    let classes: Vec<Option<&str>> = lifts.iter().map(|l| l.failure_class.as_deref()).collect();
    let codes: Vec<Option<&str>> = lifts.iter().map(|l| l.failure_code.as_deref()).collect();
    let back: Vec<bool> = lifts.iter().map(|l| l.take_back_repeat).collect();
    sqlx::query!(
        r#"with l as (
             select x.*, d.evidence as was, d.send_group_id, d.channel_id, d.step
               from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[]) as x(id, evidence, class, code, back)
               join delivery d on d.id = x.id order by x.id for update of d),
           u as (
             update delivery d
                set evidence = greatest(d.evidence, l.evidence::delivery_evidence),
                    failure_class = coalesce(l.class, d.failure_class), failure_code = coalesce(l.code, d.failure_code),
                    work = case when l.back and d.work = 'queued' then 'done'::delivery_work else d.work end
               from l where d.id = l.id
             returning d.id, d.evidence, l.was, d.send_group_id, d.channel_id, d.step, l.code)
           insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
           select 'delivery', g.campaign_id, u.channel_id, u.step,
                  case when u.was = 'none' then 'queued' else u.was::text end, u.evidence::text,
                  case when u.evidence = 'failed' then u.code end, count(*), array_agg(u.id), $6
             from u join send_group g on g.id = u.send_group_id
            where u.evidence > u.was group by 2, 3, 4, 5, 6, 7"#,
        &ids,
        &evidences as &[&str],
        &classes as &[Option<&str>],
        &codes as &[Option<&str>],
        &back,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the waits of deliveries began now, in their groups' clocks: a receipt came before the outcome was stored. Says the
/// groups.
///
/// # Errors
/// What storage says.
pub async fn start_waits(conn: &mut Conn, deliveries: &[Uuid], now: DateTime<Utc>) -> Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!(
        r#"update delivery d set first_sent_at = coalesce(d.first_sent_at, $2::timestamptz - g.clock_shift)
             from send_group g where d.id = any($1) and g.id = d.send_group_id
           returning d.id, g.id as "send_group_id!""#,
        deliveries,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.send_group_id)).collect())
}
