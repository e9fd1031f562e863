//! Questions to providers about attempts whose outcome is not known. A question is a timer of kind `ask`; its generation holds
//! the attempt, and each try moves it one pause ahead.

use chrono::{DateTime, Utc};
use domain::channel::Address;
use uuid::Uuid;

use super::{Conn, Result, deciding::DueTimer, dispatch::Claimed};

/// Claims a question by moving its timer ahead: of several processes one gets it.
///
/// # Errors
/// What storage says.
pub async fn claim(conn: &mut Conn, timer: &DueTimer, next: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"update timer t set due_at = $3::timestamptz - g.clock_shift, tries = t.tries + 1
             from send_group g
            where t.owner = $1 and t.kind = 'ask' and t.generation = $2 and g.id = t.send_group_id
              and t.due_at < $3::timestamptz - g.clock_shift - interval '1 second'"#,
        timer.owner,
        timer.generation,
        next
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// How often a question was asked.
///
/// # Errors
/// What storage says.
pub async fn tries(conn: &mut Conn, delivery_id: Uuid) -> Result<i32> {
    let tries = sqlx::query_scalar!(
        "select tries::int as \"tries!\" from timer where owner = $1 and kind = 'ask'",
        delivery_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(tries.unwrap_or(i32::MAX))
}

/// Ends a question.
///
/// # Errors
/// What storage says.
pub async fn forget(conn: &mut Conn, delivery_id: Uuid) -> Result<()> {
    sqlx::query!("delete from timer where owner = $1 and kind = 'ask'", delivery_id).execute(conn).await?;
    Ok(())
}

/// An attempt whose outcome is still not known.
#[derive(Debug, Clone)]
pub struct Unanswered {
    /// Its delivery, with what renders it again.
    pub claimed: Claimed,
    /// The attempt.
    pub attempt: i16,
    /// The provider that was called.
    pub provider_id: i32,
    /// When the call began, in machine time.
    pub started_at: DateTime<Utc>,
}

/// The attempt of a question, while nothing better than UNKNOWN is known of its delivery.
///
/// # Errors
/// What storage says.
pub async fn unanswered(conn: &mut Conn, delivery_id: Uuid, attempt: i16) -> Result<Option<Unanswered>> {
    let row = sqlx::query!(
        r#"select d.id as "id!", d.notification_id as "notification_id?", d.step as "step!", d.channel_id as "channel_id!",
                  a.id as "address_id!", a.kind::text as "kind!", a.value as "value!", n.purpose as "purpose?",
                  n.plan_id as "plan_id?", n.variables || contact_variable(k) as "variables?", k.locale as "locale?", m.content as "content?",
                  t.provider_id as "provider_id!", t.started_at as "started_at!"
             from delivery d join attempt t on t.delivery_id = d.id and t.n = $2 and t.outcome = 'unknown'
             join address a on a.id = d.address_id
             left join notification n on n.id = d.notification_id left join contact k on k.id = n.contact_id
             left join message m on m.id = d.message_id
            where d.id = $1 and d.evidence = 'unknown'"#,
        delivery_id,
        attempt
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| {
        Ok(Unanswered {
            claimed: Claimed {
                delivery_id: r.id,
                notification_id: r.notification_id,
                step: r.step,
                generation: 0,
                channel_id: r.channel_id,
                address_id: r.address_id,
                to: Address { kind: r.kind.parse()?, value: r.value },
                purpose: r.purpose.unwrap_or_default(),
                content: r.content,
                plan_id: r.plan_id,
                variables: r.variables.unwrap_or_default(),
                locale: r.locale.unwrap_or_default(),
                attempts: attempt,
                failures: 0,
                throttles: 0,
                last_inbound_at: None,
                valid_until: None,
            },
            attempt,
            provider_id: r.provider_id,
            started_at: r.started_at,
        })
    })
    .transpose()
}

/// Notes the provider's id of an attempt, so that its receipts find it.
///
/// # Errors
/// What storage says.
pub async fn know(
    conn: &mut Conn,
    provider_id: i32,
    provider_message_id: &str,
    delivery_id: Uuid,
    attempt: i16,
) -> Result<()> {
    sqlx::query!(
        r#"insert into provider_ref (provider_id, provider_message_id, delivery_id, n) values ($1, $2, $3, $4)
           on conflict do nothing"#,
        provider_id,
        provider_message_id,
        delivery_id,
        attempt
    )
    .execute(conn)
    .await?;
    Ok(())
}
