//! Channels, providers, connectors and their health.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::conversation::routing::Mode;
use proto::v1;

use super::{Faults, common};
use crate::{
    channels::{registry::ConnectorKind, settings::SettingSpec},
    grpc::mask::Mask,
    services::{
        channels::{
            Change, Channel, New, ProviderWrite,
            health::{Checked, Health, ProviderHealth},
            name_of,
            talk::TalkChange,
        },
        etag,
    },
    storage::{channels::EndedCall, directory::ProviderRow},
};

const MAX_PROVIDERS: usize = 10;
const MAX_RATE: f64 = 10_000.0;
const MAX_PARAMETERS: usize = 20;
const PARAMETER_NAMES: &str = "names are a-z, 0-9 and '_', a letter first, at most 63, such as dlt_template_id";
const MAX_WORDS: usize = 1000;

/// A channel of the contract; `public_url` is the base of the providers' webhooks.
#[must_use]
pub fn message(channel: Channel, public_url: &str) -> v1::Channel {
    let (row, talk) = (channel.row, channel.talk);
    let provider = |p: ProviderRow| provider_message(p, public_url);
    v1::Channel {
        name: name_of(&row.slug),
        display_name: row.display_name,
        channel_type: common::of_channel_type(row.channel_type).into(),
        service_identifier: row.service_identifier,
        providers: channel.providers.into_iter().map(provider).collect(),
        rate_per_second: row.rate_per_second.unwrap_or_default(),
        parts_per_second: row.terms.parts_per_second.unwrap_or_default(),
        recipients_per_day: row.terms.recipients_per_day.unwrap_or_default(),
        price: row.terms.price.map(common::of_money),
        provider_parameters: row.terms.provider_parameters,
        required_parameters: row.terms.required_parameters,
        provable_successes: common::provable(row.channel_type),
        state: state(&row.state).into(),
        park_reason: row.state_reason.filter(|_| row.state == "parked").unwrap_or_default(),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
        routing_mode: of_mode(talk.routing_mode).into(),
        contact_inactivity_timeout: talk.inactivity_secs.map(|s| common::span(TimeDelta::seconds(s.into()))),
        inactivity_warning_percent: talk.warning_percent.map(Into::into),
        inactivity_warning: talk.warning_text.unwrap_or_default(),
        greeting: talk.greeting.unwrap_or_default(),
        reconnect_grace: talk.reconnect_secs.map(|s| common::span(TimeDelta::seconds(s.into()))),
        default_outbound: talk.default_outbound,
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

fn provider_message(p: ProviderRow, public_url: &str) -> v1::Provider {
    // Only what must be entered there: receipts and call scripts are asked for with each message.
    let entered = crate::channels::registry::find(&p.connector).and_then(|kind| kind.entered_webhook);
    v1::Provider {
        id: p.name,
        connector: p.connector,
        settings: p.settings.as_object().map(common::of_object),
        rate_per_second: p.rate_per_second.unwrap_or_default(),
        parts_per_second: p.parts_per_second.unwrap_or_default(),
        in_flight: p.in_flight.unwrap_or_default(),
        timeout: p.timeout_ms.map(|ms| common::span(TimeDelta::milliseconds(ms.into()))),
        webhook_urls: entered.map(|path| format!("{public_url}/webhooks/{}{path}", p.id)).into_iter().collect(),
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

fn writable(channel: &v1::Channel) -> [(&'static str, bool); 17] {
    [
        ("display_name", !channel.display_name.is_empty()),
        ("channel_type", channel.channel_type != 0),
        ("service_identifier", !channel.service_identifier.is_empty()),
        ("providers", !channel.providers.is_empty()),
        ("rate_per_second", channel.rate_per_second != 0.0),
        ("parts_per_second", channel.parts_per_second != 0.0),
        ("recipients_per_day", channel.recipients_per_day != 0),
        ("price", channel.price.is_some()),
        ("provider_parameters", !channel.provider_parameters.is_empty()),
        ("required_parameters", !channel.required_parameters.is_empty()),
        ("routing_mode", channel.routing_mode != 0),
        ("contact_inactivity_timeout", channel.contact_inactivity_timeout.is_some()),
        ("inactivity_warning_percent", channel.inactivity_warning_percent.is_some()),
        ("inactivity_warning", !channel.inactivity_warning.is_empty()),
        ("greeting", !channel.greeting.is_empty()),
        ("reconnect_grace", channel.reconnect_grace.is_some()),
        ("default_outbound", channel.default_outbound),
    ]
}

fn change(channel: v1::Channel, mask: &Mask, faults: &mut Faults) -> Change {
    let talk = talk(&channel, mask, faults);
    let display_name = faults.text("display_name", channel.display_name, 200);
    let identifier = faults.text("service_identifier", channel.service_identifier, 320);
    let rate = rate("rate_per_second", channel.rate_per_second, faults);
    let channel_type = v1::ChannelType::try_from(channel.channel_type).ok().and_then(common::channel_type);
    let parts = self::rate("parts_per_second", channel.parts_per_second, faults);
    let recipients = faults.number("recipients_per_day", channel.recipients_per_day, 1..=100_000_000);
    let price = common::money("price", channel.price, faults);
    let told = parameters(channel.provider_parameters, faults);
    let required = names(channel.required_parameters, faults);
    let given = mask.take("providers", channel.providers);
    Change {
        display_name: mask.take("display_name", display_name),
        channel_type: mask.take("channel_type", channel_type).flatten(),
        service_identifier: mask.take("service_identifier", identifier),
        rate_per_second: mask.take("rate_per_second", rate),
        parts_per_second: mask.take("parts_per_second", parts),
        recipients_per_day: mask.take("recipients_per_day", recipients),
        price: mask.take("price", price),
        provider_parameters: mask.take("provider_parameters", told),
        required_parameters: mask.take("required_parameters", required),
        providers: given.map(|providers| self::providers(providers, faults)),
        talk,
    }
}

/// How conversations are held on it.
fn talk(channel: &v1::Channel, mask: &Mask, faults: &mut Faults) -> TalkChange {
    let seconds = |span: Option<TimeDelta>| span.and_then(|span| i32::try_from(span.num_seconds()).ok());
    let routing_mode = faults.optional_code("routing_mode", channel.routing_mode, mode).unwrap_or(Mode::Push);
    let inactivity = faults.duration(
        "contact_inactivity_timeout",
        channel.contact_inactivity_timeout,
        TimeDelta::zero()..=TimeDelta::days(30),
    );
    let grace = faults.duration("reconnect_grace", channel.reconnect_grace, TimeDelta::zero()..=TimeDelta::days(1));
    let percent = channel.inactivity_warning_percent;
    if percent.is_some_and(|percent| !(0..=99).contains(&percent)) {
        faults.note("inactivity_warning_percent", "must be from 0 (no warning) to 99");
    }
    let warning = faults.text("inactivity_warning", channel.inactivity_warning.clone(), MAX_WORDS);
    let greeting = faults.text("greeting", channel.greeting.clone(), MAX_WORDS);
    let words = |text: String| Some(text).filter(|text| !text.trim().is_empty());
    TalkChange {
        routing_mode: mask.take("routing_mode", routing_mode),
        inactivity_secs: mask.take("contact_inactivity_timeout", seconds(inactivity)),
        warning_percent: mask.take("inactivity_warning_percent", percent.and_then(|p| i16::try_from(p).ok())),
        warning_text: mask.take("inactivity_warning", words(warning)),
        greeting: mask.take("greeting", words(greeting)),
        reconnect_secs: mask.take("reconnect_grace", seconds(grace)),
        default_outbound: mask.take("default_outbound", channel.default_outbound),
    }
}

const fn mode(value: v1::channel::RoutingMode) -> Option<Mode> {
    match value {
        v1::channel::RoutingMode::Unspecified => None,
        v1::channel::RoutingMode::Push => Some(Mode::Push),
        v1::channel::RoutingMode::Pull => Some(Mode::Pull),
        v1::channel::RoutingMode::Hybrid => Some(Mode::Hybrid),
    }
}

const fn of_mode(value: Mode) -> v1::channel::RoutingMode {
    match value {
        Mode::Push => v1::channel::RoutingMode::Push,
        Mode::Pull => v1::channel::RoutingMode::Pull,
        Mode::Hybrid => v1::channel::RoutingMode::Hybrid,
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
        parts_per_second: rate("parts_per_second", given.parts_per_second, faults),
        timeout_ms: timeout.and_then(|t| i32::try_from(t.num_milliseconds()).ok()),
    }
}

/// What providers are told, by name.
fn parameters(given: BTreeMap<String, String>, faults: &mut Faults) -> BTreeMap<String, String> {
    if given.len() > MAX_PARAMETERS {
        faults.note("provider_parameters", format!("has more than {MAX_PARAMETERS} entries"));
    }
    for (name, value) in &given {
        if !is_parameter(name) {
            faults.note("provider_parameters", format!("has the name {name:?}: {PARAMETER_NAMES}"));
        }
        if value.is_empty() || value.chars().count() > 200 {
            faults.note("provider_parameters", format!("{name} must have a value of 1 to 200 characters"));
        }
    }
    given
}

fn names(given: Vec<String>, faults: &mut Faults) -> Vec<String> {
    if given.len() > MAX_PARAMETERS {
        faults.note("required_parameters", format!("has more than {MAX_PARAMETERS} entries"));
    }
    for (index, name) in given.iter().enumerate().filter(|(_, name)| !is_parameter(name)) {
        faults.note(format!("required_parameters[{index}]"), format!("is {name:?}: {PARAMETER_NAMES}"));
    }
    given
}

fn is_parameter(name: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(tail)
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
        recipients_today: i32::try_from(health.recipients_today).unwrap_or(i32::MAX),
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
        granted_rate_per_second: health.granted_rate.unwrap_or_default(),
        throttled_count: health.pace.throttled,
        last_throttle_time: health.pace.throttled_at.map(common::timestamp),
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
