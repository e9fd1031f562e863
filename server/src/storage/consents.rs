//! What was said about writing to an address: the last word of each channel type and purpose, and the history behind it,
//! which a trigger of the schema keeps.

use chrono::{DateTime, Utc};
use domain::channel::{Address, ChannelType};
use uuid::Uuid;

use super::{Conn, Result};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRow {
    /// Its key in the history.
    pub id: i64,
    /// The address.
    pub address: Address,
    /// The channel type.
    pub channel_type: ChannelType,
    /// The purpose, or `*`.
    pub purpose: String,
    /// Whether the person agreed.
    pub opted_in: bool,
    /// Where it came from.
    pub source: String,
    /// What proves it.
    pub proof: String,
    /// When it was said.
    pub at: DateTime<Utc>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// The address, which exists.
    pub address: Address,
    /// The channel type.
    pub channel_type: ChannelType,
    /// The purpose, or `*`.
    pub purpose: String,
    /// Whether the person agreed.
    pub opted_in: bool,
    /// Where it came from.
    pub source: String,
    /// What proves it.
    pub proof: String,
    /// When it was said.
    pub at: DateTime<Utc>,
}

/// Records what was said. What is older than the stored word only enters the history; what repeats it enters nothing. The
/// caller gives at most one record for an address, channel type and purpose.
///
/// # Errors
/// What storage says.
pub async fn record(conn: &mut Conn, consents: &[NewConsent]) -> Result<()> {
    let kinds: Vec<&str> = consents.iter().map(|c| c.address.kind.as_str()).collect();
    let values: Vec<&str> = consents.iter().map(|c| c.address.value.as_str()).collect();
    let types: Vec<&str> = consents.iter().map(|c| c.channel_type.as_str()).collect();
    let purposes: Vec<&str> = consents.iter().map(|c| c.purpose.as_str()).collect();
    let opted: Vec<bool> = consents.iter().map(|c| c.opted_in).collect();
    let sources: Vec<&str> = consents.iter().map(|c| c.source.as_str()).collect();
    let proofs: Vec<&str> = consents.iter().map(|c| c.proof.as_str()).collect();
    let ats: Vec<DateTime<Utc>> = consents.iter().map(|c| c.at).collect();
    sqlx::query!(
        r#"with x as (
             select a.id as address_id, x.channel_type, x.purpose, x.opted_in, x.source, x.proof, x.at
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
                           $8::timestamptz[])
                 as x(kind, value, channel_type, purpose, opted_in, source, proof, at)
               join address a on a.kind = x.kind::address_kind and a.value = x.value),
           older as (
             insert into consent_history (address_id, channel_type, purpose, opted_in, source, proof, at)
             select x.* from x join consent c using (address_id, channel_type, purpose) where c.at > x.at
                and not exists (select from consent_history h
                                 where (h.address_id, h.channel_type, h.purpose, h.opted_in, h.at)
                                     = (x.address_id, x.channel_type, x.purpose, x.opted_in, x.at)))
           insert into consent (address_id, channel_type, purpose, opted_in, source, proof, at)
           select x.* from x
            where not exists (select from consent c
                               where c.address_id = x.address_id and c.channel_type = x.channel_type and c.purpose = x.purpose
                                 and (c.at > x.at or (c.opted_in, c.source, c.proof, c.at) = (x.opted_in, x.source, x.proof, x.at)))
            order by address_id, channel_type, purpose
           on conflict (address_id, channel_type, purpose)
           do update set opted_in = excluded.opted_in, source = excluded.source, proof = excluded.proof, at = excluded.at
            where consent.at <= excluded.at"#,
        &kinds as &[&str],
        &values as &[&str],
        &types as &[&str],
        &purposes as &[&str],
        &opted,
        &sources as &[&str],
        &proofs as &[&str],
        &ats
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records of the addresses of a contact, or of one address, the newest first; with `history` earlier ones too. `before` is
/// the time and key of the last one of the page before.
///
/// # Errors
/// What storage says.
pub async fn list(
    conn: &mut Conn,
    contact: Option<i64>,
    address: Option<&Address>,
    history: bool,
    before: Option<(DateTime<Utc>, i64)>,
    limit: i64,
) -> Result<Vec<ConsentRow>> {
    let rows = sqlx::query!(
        r#"select h.id, a.kind::text as "kind!", a.value, h.channel_type, h.purpose, h.opted_in, h.source, h.proof, h.at,
                  h.recorded_at
             from consent_history h join address a on a.id = h.address_id
            where ($1::bigint is null or a.id in (select address_id from contact_address where contact_id = $1))
              and ($2::text is null or (a.kind = $2::address_kind and a.value = $3))
              and ($4 or h.id = (select max(g.id) from consent c
                                   join consent_history g using (address_id, channel_type, purpose, at, opted_in)
                                  where c.address_id = h.address_id and c.channel_type = h.channel_type
                                    and c.purpose = h.purpose))
              and ($5::timestamptz is null or (h.at, h.id) < ($5, $6))
            order by h.at desc, h.id desc limit $7"#,
        contact,
        address.map(|a| a.kind.as_str()),
        address.map(|a| a.value.as_str()),
        history,
        before.map(|b| b.0),
        before.map(|b| b.1),
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(ConsentRow {
                id: r.id,
                address: Address { kind: r.kind.parse()?, value: r.value },
                channel_type: r.channel_type.parse()?,
                purpose: r.purpose,
                opted_in: r.opted_in,
                source: r.source,
                proof: r.proof,
                at: r.at,
                recorded_at: r.recorded_at,
            })
        })
        .collect()
}

/// What is queued against a refusal: (notification, delivery), in the order of the notifications. A refusal of all purposes
/// leaves the purpose `service` alone. Asked before anything is locked, and before the refusal is recorded.
///
/// # Errors
/// What storage says.
pub async fn queued_against(conn: &mut Conn, refusals: &[&NewConsent]) -> Result<Vec<(Uuid, Uuid)>> {
    let kinds: Vec<&str> = refusals.iter().map(|c| c.address.kind.as_str()).collect();
    let values: Vec<&str> = refusals.iter().map(|c| c.address.value.as_str()).collect();
    let types: Vec<&str> = refusals.iter().map(|c| c.channel_type.as_str()).collect();
    let purposes: Vec<&str> = refusals.iter().map(|c| c.purpose.as_str()).collect();
    let rows = sqlx::query!(
        r#"select distinct n.id as "notification_id!", d.id as "id!"
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as x(kind, value, channel_type, purpose)
             join address a on a.kind = x.kind::address_kind and a.value = x.value
             join delivery d on d.address_id = a.id
             join notification n on n.id = d.notification_id
             join channel c on c.id = d.channel_id
            where d.work = 'queued' and c.channel_type = x.channel_type
              and consent_covers(x.purpose, n.purpose)
            order by 1, 2"#,
        &kinds as &[&str],
        &values as &[&str],
        &types as &[&str],
        &purposes as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.notification_id, r.id)).collect())
}

/// What is queued to addresses on channel types, whatever was consented to: (notification, delivery), in the order of the
/// notifications. Asked before anything is locked.
///
/// # Errors
/// What storage says.
pub async fn queued_to(conn: &mut Conn, addresses: &[(i64, ChannelType)]) -> Result<Vec<(Uuid, Uuid)>> {
    let ids: Vec<i64> = addresses.iter().map(|a| a.0).collect();
    let types: Vec<&str> = addresses.iter().map(|a| a.1.as_str()).collect();
    let rows = sqlx::query!(
        r#"select distinct n.id as "notification_id!", d.id as "id!"
             from unnest($1::bigint[], $2::text[]) as x(address_id, channel_type)
             join delivery d on d.address_id = x.address_id
             join notification n on n.id = d.notification_id
             join channel c on c.id = d.channel_id and c.channel_type = x.channel_type
            where d.work = 'queued' order by 1, 2"#,
        &ids,
        &types as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.notification_id, r.id)).collect())
}

/// Those of these deliveries that are queued and that the stored consent refuses: (notification, delivery), in the order of
/// the notifications.
///
/// # Errors
/// What storage says.
pub async fn refused_among(conn: &mut Conn, deliveries: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        r#"select n.id as "notification_id!", d.id as "id!"
             from delivery d join notification n on n.id = d.notification_id join channel c on c.id = d.channel_id
            where d.id = any($1) and d.work = 'queued'
              and exists (select from consent s
                           where s.address_id = d.address_id and s.channel_type = c.channel_type and not s.opted_in
                             and consent_covers(s.purpose, n.purpose))
            order by 1, 2"#,
        deliveries
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.notification_id, r.id)).collect())
}

/// Skips queued deliveries because their person refused, and makes their notifications due, so that fallback takes the next
/// step. The caller has locked the notifications.
///
/// # Errors
/// What storage says.
pub async fn skip_queued(conn: &mut Conn, deliveries: &[Uuid], now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with l as (
             select d.id, d.channel_id, d.step, d.evidence, d.send_group_id, n.id as notification_id, n.campaign_id, n.generation
               from delivery d join notification n on n.id = d.notification_id
              where d.id = any($1) and d.work = 'queued' order by d.id for update of d),
           u as (
             update delivery d set work = case when d.evidence = 'none' then 'skipped' else 'done' end::delivery_work,
                                   reason = 'OPTED_OUT'
               from l where d.id = l.id returning l.*),
           t as (
             insert into timer (owner, kind, send_group_id, due_at, generation)
             select notification_id, 'step', send_group_id, 'epoch'::timestamptz, generation
               from u where send_group_id is not null order by notification_id
             on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation)
           insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
           select 'delivery', campaign_id, channel_id, step, 'queued', 'skipped', 'OPTED_OUT', count(*), array_agg(id), $2
             from u where evidence = 'none' group by campaign_id, channel_id, step"#,
        deliveries,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
