//! Claim and first mark in one statement: how a chunk is taken for which calls are free already. What it asks of the chunk is what
//! [`super::dispatch::claim`] asks, and what it asks of each delivery is what [`super::dispatch::mark`] asks, word for word: the
//! test of statements holds them alike. What it does not get at once is left to those two.

use chrono::{DateTime, Utc};
use domain::{channel::Address, delivery::Evidence};
use uuid::Uuid;

use super::{Conn, Error, Result, dispatch::Claimed, outcomes::Seen};

/// What is to be taken, and for which calls.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    /// The chunk.
    pub chunk: i64,
    /// The token of the claim and of each mark.
    pub token: Uuid,
    /// The channel whose calls are free: deliveries of another one are claimed and not marked.
    pub channel_id: i32,
    /// The provider that is going to be called.
    pub provider_id: i32,
    /// How many calls are free: of the first so many deliveries those are marked that may go.
    pub calls: i64,
    /// How long claim and marks are leased, in seconds.
    pub lease_secs: f64,
}

/// One delivery of a chunk that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What is needed to send it, as it stood before the mark.
    pub claimed: Claimed,
    /// What an outcome may be decided by, as it stood before the mark.
    pub seen: Seen,
    /// Whether its conversation begins when it is sent.
    pub at_send: bool,
    /// The attempt that was marked; none: it is not marked.
    pub attempt: Option<i16>,
}

/// Leases a chunk to a worker, reads what to send, and marks those of its first deliveries that may go, in the order of the
/// chunk. Nothing comes back for a chunk that cannot be claimed, or whose row somebody holds at this moment: a statement that
/// waited for it would mark by what it saw before.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, take: &Take, now: DateTime<Utc>) -> Result<Vec<Taken>> {
    let rows = sqlx::query!(
        r#"with held as (
             select x.id from dispatch x
              where x.id = $1 and x.published_at is not null and (x.token is null or x.lease_until < clock_timestamp())
                and exists (select from send_group g where g.id = x.send_group_id and g.running)
                for update of x skip locked),
           c as (
             update dispatch x set token = $2, lease_until = clock_timestamp() + make_interval(secs => $5)
               from held where x.id = held.id returning x.delivery_ids),
           q as (
             select d.id, i.place, d.notification_id, d.step, d.channel_id, a.id as address_id, a.kind::text as kind, a.value,
                    n.purpose, m.content, n.plan_id, n.variables || contact_variable(k) as variables, k.locale, n.generation,
                    d.attempts, d.failures, d.throttles, w.last_inbound_at, d.valid_until, d.evidence::text as evidence,
                    d.refuted, d.first_sent_at is not null as started, n.at_send
               from c cross join unnest(c.delivery_ids) with ordinality i(id, place)
               join delivery d on d.id = i.id
               join address a on a.id = d.address_id
               left join notification n on n.id = d.notification_id
               left join contact k on k.id = n.contact_id
               left join message m on m.id = d.message_id
               left join service_window w on w.address_id = d.address_id and w.channel_id = d.channel_id
              where d.work = 'queued' and (d.chunk_id is null or d.chunk_id = $1)),
           f as (select q.id from q where q.channel_id = $3 order by q.place limit $7),
           l as (
             select d.id from f join delivery d on d.id = f.id
               join send_group g on g.id = d.send_group_id and g.running
               left join notification n on n.id = d.notification_id
              where d.work = 'queued' and (d.chunk_id is null or d.chunk_id = $1)
                and (d.valid_until is null or d.valid_until > $6)
                and (n.id is null or (n.state = 'waiting' and n.step = d.step))
                and (n.id is null
                     or (select s.address_id from consent s
                          where s.address_id = d.address_id
                            and s.channel_type = (select y.channel_type from send_group y where y.id = d.send_group_id)
                            and not s.opted_in and consent_covers(s.purpose, n.purpose) limit 1) is null)
                and (d.message_id is null or must_follow(d.message_id) is null)
                and (d.step = 0 or n.id is null
                     or coalesce(unmerged_evidence_since(n.id, n.contact_id) < clock_timestamp() - interval '1 minute', true))
              order by d.id for update of d),
           u as (
             update delivery d
                set work = 'sending', token = $2, attempts = d.attempts + 1, provider_id = $4,
                    attempt_started_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $5)
               from l where d.id = l.id
             returning d.id, d.attempts)
           select q.id as "id!", q.place as "place?", q.notification_id as "notification_id?", q.step as "step?",
                  q.channel_id as "channel_id?", q.address_id as "address_id?", q.kind as "kind?", q.value as "value?",
                  q.purpose as "purpose?", q.content as "content?", q.plan_id as "plan_id?", q.variables as "variables?",
                  q.locale as "locale?", q.generation as "generation?", q.attempts as "attempts?", q.failures as "failures?",
                  q.throttles as "throttles?", q.last_inbound_at as "last_inbound_at?", q.valid_until as "valid_until?",
                  q.evidence as "evidence?", q.refuted as "refuted?", q.started as "started?", q.at_send as "at_send?",
                  null::smallint as "attempt?"
             from q
           union all
           select u.id, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
                  null, null, null, null, u.attempts from u"#,
        take.chunk,
        take.token,
        take.channel_id,
        take.provider_id,
        take.lease_secs,
        now,
        take.calls
    )
    .fetch_all(conn)
    .await?;
    let (marked, read): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| r.attempt.is_some());
    let mut taken = Vec::with_capacity(read.len());
    for r in read {
        let attempt = marked.iter().find(|m| m.id == r.id).and_then(|m| m.attempt);
        let missing = || Error::Corrupt(format!("delivery {} was claimed without what is needed to send it", r.id));
        let claimed = Claimed {
            delivery_id: r.id,
            notification_id: r.notification_id,
            step: r.step.ok_or_else(missing)?,
            generation: r.generation.unwrap_or_default(),
            channel_id: r.channel_id.ok_or_else(missing)?,
            address_id: r.address_id.ok_or_else(missing)?,
            to: Address { kind: r.kind.ok_or_else(missing)?.parse()?, value: r.value.ok_or_else(missing)? },
            purpose: r.purpose.unwrap_or_else(|| domain::consent::SERVICE.to_owned()),
            content: r.content,
            plan_id: r.plan_id,
            variables: r.variables.unwrap_or_default(),
            locale: r.locale.unwrap_or_default(),
            attempts: r.attempts.unwrap_or_default(),
            failures: r.failures.unwrap_or_default(),
            throttles: r.throttles.unwrap_or_default(),
            last_inbound_at: r.last_inbound_at,
            valid_until: r.valid_until,
        };
        let evidence: Evidence = r.evidence.ok_or_else(missing)?.parse()?;
        let seen = Seen {
            evidence,
            failures: claimed.failures,
            refuted: r.refuted.unwrap_or_default(),
            started: r.started.unwrap_or_default(),
        };
        taken.push((r.place, Taken { claimed, seen, at_send: r.at_send.unwrap_or_default(), attempt }));
    }
    taken.sort_by_key(|(place, _)| *place);
    Ok(taken.into_iter().map(|(_, taken)| taken).collect())
}
