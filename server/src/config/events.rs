//! `[events]` and `[webhooks]`: what leaves for other systems and comes from them, beside the API.

use std::time::Duration;

use super::{Layers, small};

/// `[events]`
#[derive(Debug, Clone)]
pub struct Events {
    /// The source of our events.
    pub source: String,
    /// Whether they are published to the exchange.
    pub publish: bool,
    /// Whether commands are taken from the queue.
    pub commands: bool,
    /// Whether an outside flow engine takes part.
    pub outside_flows: bool,
}

/// `[webhooks]`
#[derive(Debug, Clone, Copy)]
pub struct Webhooks {
    /// How long a receiver may take.
    pub timeout: Duration,
    /// Events in one POST.
    pub batch_size: u32,
    /// How long a batch is tried.
    pub give_up: Duration,
    /// How long a webhook may take nothing.
    pub disable: Duration,
    /// Whether http is taken.
    pub allow_http: bool,
    /// Whether special networks are taken.
    pub allow_private_networks: bool,
}

/// Reads `[events]`.
pub(super) fn events(layers: &mut Layers, has_broker: bool) -> Events {
    let source = layers.text("events.source");
    if source.is_empty() || source.chars().any(|c| c.is_whitespace() || c.is_control()) {
        layers.wrong("events.source", "must be a URI reference, such as /switchboard");
    }
    let mut needs_broker = |key: &str| {
        let on = layers.flag(key);
        if on && !has_broker {
            layers.wrong(key, "needs a broker: set AMQP_URL or broker.url");
        }
        on
    };
    let (publish, commands) = (needs_broker("events.publish"), needs_broker("events.commands"));
    Events { source, publish, commands, outside_flows: layers.flag("events.outside_flows") }
}

/// Reads `[webhooks]`.
pub(super) fn webhooks(layers: &mut Layers) -> Webhooks {
    let mut minutes = |key: &str, most| Duration::from_secs(60 * layers.number(key, 1..=most));
    let (give_up, disable) = (minutes("webhooks.give_up_minutes", 20_160), minutes("webhooks.disable_minutes", 43_200));
    Webhooks {
        timeout: Duration::from_secs(layers.number("webhooks.timeout_seconds", 1..=60)),
        batch_size: small(layers, "webhooks.batch_size", 1..=1000),
        give_up,
        disable,
        allow_http: layers.flag("webhooks.allow_http"),
        allow_private_networks: layers.flag("webhooks.allow_private_networks"),
    }
}
