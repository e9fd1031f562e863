//! All channels with their providers in one read, for the directory that every process keeps in memory.

use chrono::{DateTime, Utc};
use domain::{channel::ChannelType, price::Money};

use super::{Conn, Result};

/// A channel as it stands.
#[derive(Debug, Clone)]
pub struct ChannelRow {
    /// Its key.
    pub id: i32,
    /// Its slug.
    pub slug: String,
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
    /// Open calls at once; none: the connector's default.
    pub in_flight: Option<i32>,
    /// Parts of short messages a second over all processes; none: no limit.
    pub parts_per_second: Option<f64>,
    /// People who may be written to first within 24 hours; none: no limit.
    pub recipients_per_day: Option<i32>,
    /// What a message, or a part of a short message, costs.
    pub price: Option<Money>,
    /// What providers are told with every message, texts by name.
    pub provider_parameters: serde_json::Value,
    /// What must be told: here or by the template.
    pub required_parameters: Vec<String>,
    /// How conversations are held on it.
    pub talk: super::channel_talk::TalkRow,
}

/// A provider as it stands.
#[derive(Debug, Clone)]
pub struct ProviderRow {
    /// Its key.
    pub id: i32,
    /// Its channel.
    pub channel_id: i32,
    /// Its name in its channel.
    pub name: String,
    /// The kind of connector that speaks to it.
    pub connector: String,
    /// What was set for the connector.
    pub settings: serde_json::Value,
    /// Whether it may be used.
    pub enabled: bool,
    /// Messages a second that it takes; none: the connector's default.
    pub rate_per_second: Option<f64>,
    /// Open calls at once; none: the connector's default.
    pub in_flight: Option<i32>,
    /// How long a call may take, in milliseconds; none: the connector's default.
    pub timeout_ms: Option<i32>,
    /// Machine time until which its circuit breaker is open.
    pub open_until: Option<DateTime<Utc>>,
    /// Parts of short messages a second that it takes; none: no limit of its own.
    pub parts_per_second: Option<f64>,
    /// Machine time at which a connector outside the process that serves it was last seen; one that is connected shows itself
    /// every 5 s, and counts as seen for 15 s.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// Everything that stands, by slug, each channel's providers in the order of preference; with Postgres's machine time, against
/// which the breakers are read.
#[derive(Debug, Clone)]
pub struct Directory {
    /// The channels, by slug.
    pub channels: Vec<ChannelRow>,
    /// The providers, by channel and position.
    pub providers: Vec<ProviderRow>,
    /// Machine time of the read.
    pub read_at: DateTime<Utc>,
}

/// Reads the whole directory; a deployment has some dozens of channels.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn) -> Result<Directory> {
    let read_at = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&mut *conn).await?;
    let rows = sqlx::query!(
        r#"select id, slug, channel_type, service_identifier, state::text as "state!", state_reason, rate_per_second, in_flight,
                  parts_per_second, recipients_per_day, price_micros, price_currency, provider_parameters, required_parameters,
                  routing_mode, inactivity_secs, warning_percent, warning_text, greeting, reconnect_secs, default_outbound
             from channel where deleted_at is null order by slug"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut channels = Vec::with_capacity(rows.len());
    for r in rows {
        channels.push(ChannelRow {
            id: r.id,
            slug: r.slug,
            channel_type: r.channel_type.parse()?,
            service_identifier: r.service_identifier,
            state: r.state,
            state_reason: r.state_reason,
            rate_per_second: r.rate_per_second,
            in_flight: r.in_flight,
            parts_per_second: r.parts_per_second,
            recipients_per_day: r.recipients_per_day,
            price: r.price_micros.zip(r.price_currency).map(|(micros, currency)| Money { currency, micros }),
            provider_parameters: r.provider_parameters,
            required_parameters: r.required_parameters,
            talk: super::channel_talk::TalkRow {
                routing_mode: r.routing_mode.parse()?,
                inactivity_secs: r.inactivity_secs,
                warning_percent: r.warning_percent,
                warning_text: r.warning_text,
                greeting: r.greeting,
                reconnect_secs: r.reconnect_secs,
                default_outbound: r.default_outbound,
            },
        });
    }
    let providers = sqlx::query_as!(
        ProviderRow,
        r#"select id, channel_id, name, connector, settings, enabled, rate_per_second, in_flight, timeout_ms, open_until,
                  parts_per_second,
                  (select max(i.seen_at + case when i.connected then interval '15 s' else '0' end) from connector_instance i
                    where i.provider_id = p.id) as "last_seen_at?"
             from channel_provider p
            where exists (select from channel c where c.id = p.channel_id and c.deleted_at is null)
            order by channel_id, position, id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(Directory { channels, providers, read_at })
}
