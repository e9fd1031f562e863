//! Channels, providers, connectors and their health.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proto::v1;

use super::{Faults, common};
use crate::{
    channels::{external, registry::ConnectorKind, settings::SettingSpec, web_chat},
    grpc::mask::Mask,
    services::{
        channels::{
            Change, Channel, New, ProviderWrite,
            health::{Checked, Health, ProviderHealth},
            name_of,
        },
        etag,
    },
    storage::{channels::EndedCall, directory::ProviderRow},
};

const MAX_PROVIDERS: usize = 10;
const MAX_RATE: f64 = 10_000.0;

/// A channel of the contract; `public_url` is the base of the providers' webhooks.
#[must_use]
pub fn message(channel: Channel, public_url: &str) -> v1::Channel {
    let row = channel.row;
    let provider = |p: ProviderRow| provider_message(p, row.channel_type, public_url);
    v1::Channel {
        name: name_of(&row.slug),
        display_name: row.display_name,
        channel_type: common::of_channel_type(row.channel_type).into(),
        service_identifier: row.service_identifier,
        providers: channel.providers.into_iter().map(provider).collect(),
        rate_per_second: row.rate_per_second.unwrap_or_default(),
        provable_successes: common::provable(row.channel_type),
        state: state(&row.state).into(),
        park_reason: row.state_reason.filter(|_| row.state == "parked").unwrap_or_default(),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

fn state(state: &str) -> v1::channel::State {
    match state {
        "enabled" => v1::channel::State::Enabled,
        "disabled" => v1::channel::State::Disabled,
        "parked" => v1::channel::State::Parked,
        _ => v1::channel::State::Unspecified,
    }
}

fn provider_message(p: ProviderRow, channel_type: domain::channel::ChannelType, public_url: &str) -> v1::Provider {
    // A mail server reports by mail, and these two over the API; the others call us.
    let called_by = channel_type != domain::channel::ChannelType::Email
        && ![external::KIND.name, web_chat::KIND.name].contains(&p.connector.as_str());
    v1::Provider {
        id: p.name,
        connector: p.connector,
        settings: p.settings.as_object().map(common::of_object),
        rate_per_second: p.rate_per_second.unwrap_or_default(),
        in_flight: p.in_flight.unwrap_or_default(),
        timeout: p.timeout_ms.map(|ms| common::span(TimeDelta::milliseconds(ms.into()))),
        webhook_urls: called_by.then(|| format!("{public_url}/webhooks/{}", p.id)).into_iter().collect(),
    }
}

/// A channel to be created.
pub fn create(request: v1::CreateChannelRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("channel_id", &request.channel_id);
    let channel = faults.required("channel", request.channel);
    let all = Mask::all(&writable(&channel));
    let change = faults.inside("channel", |faults| {
        faults.code("channel_type", channel.channel_type, common::channel_type);
        change(channel, &all, faults)
    });
    New { slug, channel_type: change.channel_type, enabled: !request.disabled, change }
}

/// Which channel changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateChannelRequest, faults: &mut Faults) -> (String, Change, String) {
    let channel = faults.required("channel", request.channel);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&channel), &[], faults);
    let (slug, etag) = (faults.name("channel.name", "channels", &channel.name), channel.etag.clone());
    (slug, faults.inside("channel", |faults| change(channel, &mask, faults)), etag)
}

fn writable(channel: &v1::Channel) -> [(&'static str, bool); 5] {
    [
        ("display_name", !channel.display_name.is_empty()),
        ("channel_type", channel.channel_type != 0),
        ("service_identifier", !channel.service_identifier.is_empty()),
        ("providers", !channel.providers.is_empty()),
        ("rate_per_second", channel.rate_per_second != 0.0),
    ]
}

fn change(channel: v1::Channel, mask: &Mask, faults: &mut Faults) -> Change {
    let display_name = faults.text("display_name", channel.display_name, 200);
    let identifier = faults.text("service_identifier", channel.service_identifier, 320);
    let rate = rate("rate_per_second", channel.rate_per_second, faults);
    let channel_type = v1::ChannelType::try_from(channel.channel_type).ok().and_then(common::channel_type);
    let given = mask.take("providers", channel.providers);
    Change {
        display_name: mask.take("display_name", display_name),
        channel_type: mask.take("channel_type", channel_type).flatten(),
        service_identifier: mask.take("service_identifier", identifier),
        rate_per_second: mask.take("rate_per_second", rate),
        providers: given.map(|providers| self::providers(providers, faults)),
    }
}

fn providers(given: Vec<v1::Provider>, faults: &mut Faults) -> Vec<ProviderWrite> {
    if !(1..=MAX_PROVIDERS).contains(&given.len()) {
        faults.note("providers", format!("has {} entries, must have 1 to {MAX_PROVIDERS}", given.len()));
    }
    let mut names = BTreeSet::new();
    let mut read = Vec::with_capacity(given.len());
    for (index, provider) in given.into_iter().enumerate() {
        faults.inside(format!("providers[{index}]"), |faults| {
            if !names.insert(provider.id.clone()) {
                faults.note("id", "is the id of an earlier provider of this channel");
            }
            read.push(self::provider(provider, faults));
        });
    }
    read
}

fn provider(given: v1::Provider, faults: &mut Faults) -> ProviderWrite {
    let range = TimeDelta::seconds(1)..=TimeDelta::minutes(2);
    let timeout = faults.duration("timeout", given.timeout, range);
    ProviderWrite {
        name: faults.slug("id", &given.id),
        connector: faults.required_text("connector", given.connector, 63),
        settings: serde_json::Value::Object(given.settings.map(common::object).unwrap_or_default()),
        rate_per_second: rate("rate_per_second", given.rate_per_second, faults),
        in_flight: faults.number("in_flight", given.in_flight, 1..=1000),
        timeout_ms: timeout.and_then(|t| i32::try_from(t.num_milliseconds()).ok()),
    }
}

fn rate(field: &str, value: f64, faults: &mut Faults) -> Option<f64> {
    if value == 0.0 {
        return None;
    }
    if !(value > 0.0 && value <= MAX_RATE) {
        faults.note(field, format!("must be above 0 and at most {MAX_RATE}, or 0 for no limit"));
    }
    Some(value)
}

/// A connector of the contract.
#[must_use]
pub fn connector(kind: &ConnectorKind) -> v1::Connector {
    v1::Connector {
        name: kind.name.to_owned(),
        description: kind.description.to_owned(),
        channel_type: only(kind).map(common::of_channel_type).unwrap_or_default().into(),
        channel_types: kind.channel_types.iter().map(|t| common::of_channel_type(*t).into()).collect(),
        settings: kind.settings.iter().map(setting).collect(),
        provable_successes: only(kind).map(common::provable).unwrap_or_default(),
        after_unknown: common::of_after_unknown(kind.after_unknown).into(),
        inbound: kind.inbound,
    }
}

/// The medium of a kind that serves one.
fn only(kind: &ConnectorKind) -> Option<domain::channel::ChannelType> {
    match kind.channel_types {
        [one] => Some(*one),
        _ => None,
    }
}

fn setting(spec: &SettingSpec) -> v1::ConnectorSetting {
    use v1::connector_setting::Kind;
    let kind = match () {
        () if spec.secret => Kind::Secret,
        () if spec.name.ends_with("_url") => Kind::Url,
        () if spec.name.ends_with("_seconds") || spec.name == "port" => Kind::Integer,
        () => Kind::String,
    };
    v1::ConnectorSetting {
        name: spec.name.to_owned(),
        description: spec.description.to_owned(),
        kind: kind.into(),
        required: spec.required,
        default_value: String::new(),
        example: String::new(),
    }
}

/// The health of a channel.
#[must_use]
pub fn health(health: Health) -> v1::ChannelHealth {
    let row = health.channel.row;
    v1::ChannelHealth {
        channel: name_of(&row.slug),
        state: state(&row.state).into(),
        park_reason: row.state_reason.filter(|_| row.state == "parked").unwrap_or_default(),
        providers: health.providers.into_iter().map(provider_health).collect(),
        queued_count: health.backlog.queued,
        sending_count: health.backlog.sending,
        last_accept_time: health.last_accept_at.map(common::timestamp),
        last_inbound_time: health.backlog.last_inbound_at.map(common::timestamp),
    }
}

fn provider_health(health: ProviderHealth) -> v1::ProviderHealth {
    use v1::provider_health::Breaker;
    let breaker = if health.open_until.is_some() { Breaker::Open } else { Breaker::Closed };
    v1::ProviderHealth {
        provider: health.name,
        breaker: breaker.into(),
        retry_time: health.open_until.map(common::timestamp),
        consecutive_failures: i32::try_from(health.failures).unwrap_or(i32::MAX),
        last_failures: health.last_failures.into_iter().map(failure).collect(),
    }
}

fn failure(call: EndedCall) -> v1::ProviderFailure {
    v1::ProviderFailure {
        time: Some(common::timestamp(call.ended_at)),
        failure_class: call.failure_class.map(common::of_failure_class).unwrap_or_default().into(),
        code: call.code.unwrap_or_default(),
        description: call.detail.unwrap_or_default(),
    }
}

/// What a check found.
#[must_use]
pub fn checked(checked: Vec<Checked>) -> v1::CheckChannelResponse {
    let provider = |c: Checked| v1::ProviderCheck {
        provider: c.name,
        ok: c.problems.is_empty(),
        latency: c.latency.and_then(|l| TimeDelta::from_std(l).ok()).map(common::span),
        problems: c
            .problems
            .into_iter()
            .map(|(field, words)| common::problem(&field, "SETTING_INVALID", words))
            .collect(),
    };
    let providers: Vec<v1::ProviderCheck> = checked.into_iter().map(provider).collect();
    v1::CheckChannelResponse { ok: providers.iter().all(|p| p.ok), providers }
}
