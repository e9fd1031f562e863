//! Channels and their providers, as an administrator defines them, and what is known of how they are.
//!
//! The processes that send read [`super::directory`] instead. A deleted channel keeps its row, so that what went over it
//! keeps its name; its slug is free again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{channel::ChannelType, delivery::FailureClass, price::Money};

use super::{Conn, Result, directory::ProviderRow};

/// A channel as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelRow {
    /// Its key.
    pub id: i32,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// The medium.
    pub channel_type: ChannelType,
    /// Our own address on it.
    pub service_identifier: String,
    /// `enabled`, `disabled` or `parked`.
    pub state: String,
    /// Why it was parked.
    pub state_reason: Option<String>,
    /// Messages a second over all processes; none: as fast as the providers take them.
    pub rate_per_second: Option<f64>,
    /// What else limits it, what it costs, and what its providers are told.
    pub terms: Terms,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What else limits a channel, what it costs, and what its providers are told with every message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// Parts of short messages a second over all processes; none: no limit.
    pub parts_per_second: Option<f64>,
    /// People who may be written to first within 24 hours; none: no limit.
    pub recipients_per_day: Option<i32>,
    /// What a message, or a part of a short message, costs; none: not known.
    pub price: Option<Money>,
    /// What providers are told, by name.
    pub provider_parameters: BTreeMap<String, String>,
    /// What must be told: here or by the template.
    pub required_parameters: Vec<String>,
}

/// What is written of a channel.
#[derive(Debug, Clone)]
pub struct ChannelWrite<'a> {
    /// What people call it.
    pub display_name: &'a str,
    /// Our own address on it.
    pub service_identifier: &'a str,
    /// Messages a second over all processes.
    pub rate_per_second: Option<f64>,
    /// What else limits it, what it costs, and what its providers are told.
    pub terms: &'a Terms,
}

/// What is written of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderWrite {
    /// Its name in its channel.
    pub name: String,
    /// The kind of connector.
    pub connector: String,
    /// What is set for the connector.
    pub settings: serde_json::Value,
    /// Messages a second that it takes.
    pub rate_per_second: Option<f64>,
    /// Open calls at once.
    pub in_flight: Option<i32>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: Option<i32>,
    /// Parts of short messages a second that it takes.
    pub parts_per_second: Option<f64>,
}

/// Reads the columns of [`Terms`]; every query below selects the same.
macro_rules! terms {
    ($r:expr) => {
        Terms {
            parts_per_second: $r.parts_per_second,
            recipients_per_day: $r.recipients_per_day,
            price: $r.price_micros.zip($r.price_currency).map(|(micros, currency)| Money { currency, micros }),
            provider_parameters: serde_json::from_value($r.provider_parameters)?,
            required_parameters: $r.required_parameters,
        }
    };
}

/// Creates a channel without providers. Says its key.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    channel_type: ChannelType,
    write: &ChannelWrite<'_>,
    enabled: bool,
    now: DateTime<Utc>,
) -> Result<i32> {
    let id = sqlx::query_scalar!(
        r#"insert into channel (slug, channel_type, display_name, service_identifier, rate_per_second, state, created_at,
                                updated_at, parts_per_second, recipients_per_day, price_micros, price_currency,
                                provider_parameters, required_parameters)
           values ($1, $2, $3, $4, $5, (case when $6 then 'enabled' else 'disabled' end)::channel_state, $7, $7, $8, $9, $10,
                   $11, $12, $13) returning id"#,
        slug,
        channel_type.as_str(),
        write.display_name,
        write.service_identifier,
        write.rate_per_second,
        enabled,
        now,
        write.terms.parts_per_second,
        write.terms.recipients_per_day,
        write.terms.price.as_ref().map(|price| price.micros),
        write.terms.price.as_ref().map(|price| price.currency.as_str()),
        serde_json::json!(write.terms.provider_parameters),
        &write.terms.required_parameters
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Channels by slug, from one slug on; of one type where one is given.
///
/// # Errors
/// What storage says.
pub async fn list(
    conn: &mut Conn,
    channel_type: Option<ChannelType>,
    after: &str,
    limit: i64,
) -> Result<Vec<ChannelRow>> {
    let rows = sqlx::query!(
        r#"select id, slug, display_name, channel_type, service_identifier, state::text as "state!", state_reason,
                  rate_per_second, version, created_at, updated_at, parts_per_second, recipients_per_day, price_micros,
                  price_currency, provider_parameters, required_parameters
             from channel
            where deleted_at is null and slug > $1 and ($2::text is null or channel_type = $2) order by slug limit $3"#,
        after,
        channel_type.map(ChannelType::as_str),
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(ChannelRow {
                id: r.id,
                slug: r.slug,
                display_name: r.display_name,
                channel_type: r.channel_type.parse()?,
                service_identifier: r.service_identifier,
                state: r.state,
                state_reason: r.state_reason,
                rate_per_second: r.rate_per_second,
                terms: terms!(r),
                version: r.version,
                created_at: r.created_at,
                updated_at: r.updated_at,
            })
        })
        .collect()
}

/// Locks the channel with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<bool> {
    let id = sqlx::query_scalar!("select id from channel where slug = $1 and deleted_at is null for update", slug)
        .fetch_optional(conn)
        .await?;
    Ok(id.is_some())
}

/// One channel, if it exists.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str) -> Result<Option<ChannelRow>> {
    let row = sqlx::query!(
        r#"select id, slug, display_name, channel_type, service_identifier, state::text as "state!", state_reason,
                  rate_per_second, version, created_at, updated_at, parts_per_second, recipients_per_day, price_micros,
                  price_currency, provider_parameters, required_parameters
             from channel where slug = $1 and deleted_at is null"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    let Some(r) = row else { return Ok(None) };
    Ok(Some(ChannelRow {
        id: r.id,
        slug: r.slug,
        display_name: r.display_name,
        channel_type: r.channel_type.parse()?,
        service_identifier: r.service_identifier,
        state: r.state,
        state_reason: r.state_reason,
        rate_per_second: r.rate_per_second,
        terms: terms!(r),
        version: r.version,
        created_at: r.created_at,
        updated_at: r.updated_at,
    }))
}

/// The providers of channels, by channel, each in the order of preference.
///
/// # Errors
/// What storage says.
pub async fn providers(conn: &mut Conn, channels: &[i32]) -> Result<Vec<ProviderRow>> {
    let rows = sqlx::query_as!(
        ProviderRow,
        r#"select id, channel_id, name, connector, settings, enabled, rate_per_second, in_flight, timeout_ms, open_until,
                  parts_per_second,
                  (select max(i.seen_at + case when i.connected then interval '15 s' else '0' end) from connector_instance i
                    where i.provider_id = p.id) as "last_seen_at?"
             from channel_provider p where channel_id = any($1) order by channel_id, position, id"#,
        channels
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Changes a channel that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i32, write: &ChannelWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update channel set display_name = $2, service_identifier = $3, rate_per_second = $4, version = version + 1,
                              updated_at = $5, parts_per_second = $6, recipients_per_day = $7, price_micros = $8,
                              price_currency = $9, provider_parameters = $10, required_parameters = $11 where id = $1"#,
        id,
        write.display_name,
        write.service_identifier,
        write.rate_per_second,
        now,
        write.terms.parts_per_second,
        write.terms.recipients_per_day,
        write.terms.price.as_ref().map(|price| price.micros),
        write.terms.price.as_ref().map(|price| price.currency.as_str()),
        serde_json::json!(write.terms.provider_parameters),
        &write.terms.required_parameters
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a channel exactly these providers, in this order. One that keeps its name keeps its key, and with it its webhook
/// address and the breaker.
///
/// # Errors
/// What storage says.
pub async fn set_providers(conn: &mut Conn, channel_id: i32, providers: &[ProviderWrite]) -> Result<()> {
    let names: Vec<&str> = providers.iter().map(|p| p.name.as_str()).collect();
    let connectors: Vec<&str> = providers.iter().map(|p| p.connector.as_str()).collect();
    let settings: Vec<&serde_json::Value> = providers.iter().map(|p| &p.settings).collect();
    let rates: Vec<Option<f64>> = providers.iter().map(|p| p.rate_per_second).collect();
    let in_flight: Vec<Option<i32>> = providers.iter().map(|p| p.in_flight).collect();
    let timeouts: Vec<Option<i32>> = providers.iter().map(|p| p.timeout_ms).collect();
    let parts: Vec<Option<f64>> = providers.iter().map(|p| p.parts_per_second).collect();
    sqlx::query!(
        "delete from channel_provider where channel_id = $1 and name <> all($2)",
        channel_id,
        &names as &[&str]
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"insert into channel_provider (channel_id, name, position, connector, settings, rate_per_second, in_flight, timeout_ms,
                                         parts_per_second)
           select $1, x.name, x.position::smallint, x.connector, x.settings, x.rate, x.in_flight, x.timeout_ms, x.parts
             from unnest($2::text[], $3::text[], $4::jsonb[], $5::double precision[], $6::int[], $7::int[], $8::double precision[])
                  with ordinality as x(name, connector, settings, rate, in_flight, timeout_ms, parts, position)
           on conflict (channel_id, name) do update
              set position = excluded.position, connector = excluded.connector, settings = excluded.settings,
                  rate_per_second = excluded.rate_per_second, in_flight = excluded.in_flight, timeout_ms = excluded.timeout_ms,
                  parts_per_second = excluded.parts_per_second"#,
        channel_id,
        &names as &[&str],
        &connectors as &[&str],
        &settings as &[&serde_json::Value],
        &rates as &[Option<f64>],
        &in_flight as &[Option<i32>],
        &timeouts as &[Option<i32>],
        &parts as &[Option<f64>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Enables or disables a channel that the caller has locked; enabling closes the breakers of its providers.
///
/// # Errors
/// What storage says.
pub async fn set_enabled(conn: &mut Conn, id: i32, enabled: bool, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update channel set state = (case when $2 then 'enabled' else 'disabled' end)::channel_state, state_reason = null,
                              version = version + 1, updated_at = $3 where id = $1"#,
        id,
        enabled,
        now
    )
    .execute(&mut *conn)
    .await?;
    if enabled {
        sqlx::query!("update channel_provider set open_until = null where channel_id = $1", id).execute(conn).await?;
    }
    Ok(())
}

/// Deletes a channel that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i32, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update channel set deleted_at = $2, state = 'disabled', version = version + 1, updated_at = $2 where id = $1",
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The name of one that still needs a channel: a policy in its newest version, a call list, or a delivery that is not over.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, id: i32, slug: &str) -> Result<Option<String>> {
    let user = sqlx::query_scalar!(
        r#"select 'policies/' || p.slug as "name!" from policy p
             join policy_version v on v.policy_id = p.id and v.number = p.latest
            where v.definition #> '{policy,steps}' @> jsonb_build_array(jsonb_build_object('target', jsonb_build_object('channel', $2::text)))
           union all
           select 'callLists/' || slug from call_list where definition ->> 'channel' = $2
           union all
           select 'notifications/' || d.notification_id::text
             from send_group g join dispatch x on x.send_group_id = g.id
             join delivery d on d.id = any(x.delivery_ids) and d.notification_id is not null
            where g.channel_id = $1
           limit 1"#,
        id,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// How much waits for a channel and how much is on the wire, and when something last came in.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    /// Deliveries that are queued.
    pub queued: i64,
    /// Deliveries of which a call may be under way.
    pub sending: i64,
    /// When a person last wrote on it.
    pub last_inbound_at: Option<DateTime<Utc>>,
}

/// The backlog of a channel.
///
/// # Errors
/// What storage says.
pub async fn backlog(conn: &mut Conn, id: i32) -> Result<Backlog> {
    let row = sqlx::query!(
        r#"select count(*) filter (where d.work = 'queued') as "queued!", count(*) filter (where d.work = 'sending') as "sending!"
             from send_group g join dispatch x on x.send_group_id = g.id cross join unnest(x.delivery_ids) as u(id)
             join delivery d on d.id = u.id
            where g.channel_id = $1"#,
        id
    )
    .fetch_one(&mut *conn)
    .await?;
    let last = sqlx::query_scalar!("select max(last_inbound_at) from service_window where channel_id = $1", id);
    Ok(Backlog { queued: row.queued, sending: row.sending, last_inbound_at: last.fetch_one(conn).await? })
}

/// One call of a provider that ended.
#[derive(Debug, Clone)]
pub struct EndedCall {
    /// The provider.
    pub provider_id: i32,
    /// When it ended, in machine time.
    pub ended_at: DateTime<Utc>,
    /// Whether the provider took the message.
    pub accepted: bool,
    /// What its refusal means.
    pub failure_class: Option<FailureClass>,
    /// Its code.
    pub code: Option<String>,
    /// Its words.
    pub detail: Option<String>,
}

/// The calls of providers among the last 20,000 of all, the newest first: attempts have no index by provider, and an
/// overview does not need older ones.
///
/// # Errors
/// What storage says.
pub async fn last_calls(conn: &mut Conn, providers: &[i32]) -> Result<Vec<EndedCall>> {
    let rows = sqlx::query!(
        r#"select provider_id as "provider_id!", ended_at as "ended_at!", outcome as "outcome!", failure_class, code, detail
             from (select provider_id, ended_at, outcome::text as outcome, failure_class, code, detail,
                          row_number() over (partition by provider_id, outcome order by ended_at desc) as nth
                     from (select * from attempt order by delivery_id desc limit 20000) recent
                    where provider_id = any($1)) ranked
            where nth <= 10 order by ended_at desc"#,
        providers
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(EndedCall {
                provider_id: r.provider_id,
                ended_at: r.ended_at,
                accepted: r.outcome == "accepted",
                failure_class: r.failure_class.map(|c| c.parse()).transpose()?,
                code: r.code,
                detail: r.detail,
            })
        })
        .collect()
}
