//! Channels: their health, what a check found, and the settings of connectors.

use std::io;

use proto::v1::{ChannelHealth, CheckChannelResponse, Connector};

use super::record::pair;
use super::value::{due, span, when, word};
use super::{checks, table};
use crate::out::{Out, Tone};

/// How a channel is.
///
/// # Errors
/// What the system says.
pub fn health(out: &mut Out, health: &ChannelHealth) -> io::Result<()> {
    let now = chrono::Utc::now();
    pair(out, "channel", &health.channel)?;
    pair(out, "state", &word("Channel.State", health.state))?;
    pair(out, "why parked", &health.park_reason)?;
    pair(out, "queued", &health.queued_count.to_string())?;
    pair(out, "sending", &health.sending_count.to_string())?;
    pair(out, "last accepted", &due(health.last_accept_time.as_ref(), now))?;
    pair(out, "last inbound", &due(health.last_inbound_time.as_ref(), now))?;
    for provider in &health.providers {
        let breaker = word("ProviderHealth.Breaker", provider.breaker);
        let name = out.paint(Tone::Strong, &provider.provider);
        out.line(&format!("\n{name}"))?;
        pair(out, "breaker", &breaker)?;
        pair(out, "tried again", &due(provider.retry_time.as_ref(), now))?;
        pair(out, "failures in a row", &provider.consecutive_failures.to_string())?;
        let rows = provider.last_failures.iter().map(|it| {
            vec![
                when(it.time.as_ref()),
                word("FailureClass", it.failure_class),
                it.code.clone(),
                it.description.clone(),
            ]
        });
        table::write_some(out, &["failed at", "class", "code", "the provider's words"], rows.collect())?;
    }
    Ok(())
}

/// What a check of a channel found.
///
/// # Errors
/// What the system says.
pub fn check(out: &mut Out, check: &CheckChannelResponse) -> io::Result<()> {
    for provider in &check.providers {
        let verdict = checks::verdict(out, provider.ok, "in order", "not in order");
        let took = span(provider.latency.as_ref());
        let took = if took.is_empty() { took } else { format!(" after {took}") };
        out.line(&format!("{}: {verdict}{took}", provider.provider))?;
        checks::problems(out, &provider.problems)?;
    }
    let verdict = checks::verdict(out, check.ok, "the channel is in order", "the channel is not in order");
    out.line(&verdict)
}

/// The settings of a connector.
///
/// # Errors
/// What the system says.
pub fn connector(out: &mut Out, connector: &Connector) -> io::Result<()> {
    let proves: Vec<_> = connector.provable_successes.iter().map(|it| word("Success", *it)).collect();
    pair(out, "connector", &connector.name)?;
    pair(out, "for", &connector.description)?;
    let types: Vec<_> = connector.channel_types.iter().map(|it| word("ChannelType", *it)).collect();
    pair(out, "channel types", &types.join(", "))?;
    pair(out, "can prove", &proves.join(", "))?;
    pair(out, "after unknown", &word("AfterUnknown", connector.after_unknown))?;
    pair(out, "inbound", if connector.inbound { "yes" } else { "no" })?;
    out.line("")?;
    let rows = connector.settings.iter().map(|it| {
        let needed = if it.required { "required" } else { "" };
        let example = if it.example.is_empty() { String::new() } else { format!(" (such as {})", it.example) };
        vec![
            it.name.clone(),
            word("ConnectorSetting.Kind", it.kind),
            needed.into(),
            it.default_value.clone(),
            format!("{}{example}", it.description),
        ]
    });
    table::write_some(out, &["setting", "kind", "", "default", "what it means"], rows.collect())
}
