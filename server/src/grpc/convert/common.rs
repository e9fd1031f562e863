//! The words that all services share: enums, times, lengths of time, JSON.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{Address, AddressKind, ChannelType, Lane},
    delivery::{AfterUnknown, FailureClass},
    fallback::Success,
    notification::Reason,
    price::Money,
};
use proto::v1;

use super::Faults;

/// A point in time of the contract.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    prost_types::Timestamp { seconds: time.timestamp(), nanos }
}

/// A point in time, in whole microseconds; none outside the years 1 to 9999.
#[must_use]
pub fn time(value: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(value.nanos).ok()?;
    let years = -62_135_596_800..=253_402_300_799;
    years.contains(&value.seconds).then(|| DateTime::from_timestamp(value.seconds, nanos / 1000 * 1000))?
}

/// A length of time of the contract.
#[must_use]
pub fn span(duration: TimeDelta) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.num_seconds(), nanos: duration.subsec_nanos() }
}

/// A length of time; none when it cannot be counted.
#[must_use]
pub fn duration(value: &prost_types::Duration) -> Option<TimeDelta> {
    TimeDelta::try_seconds(value.seconds)?.checked_add(&TimeDelta::nanoseconds(i64::from(value.nanos)))
}

/// A length of time in words, for messages.
#[must_use]
pub fn words(duration: TimeDelta) -> String {
    match duration.num_seconds() {
        0 => "0 seconds".to_owned(),
        s if s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s % 3600 == 0 => format!("{} hours", s / 3600),
        s if s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

/// An amount of money of the contract.
#[must_use]
pub fn of_money(money: Money) -> v1::Money {
    v1::Money { currency_code: money.currency, micros: money.micros }
}

/// An amount of money, where one is given: not negative, in a currency.
pub fn money(field: &str, value: Option<v1::Money>, faults: &mut Faults) -> Option<Money> {
    let value = value?;
    faults.inside(field, |f| {
        if !Money::is_currency(&value.currency_code) {
            f.note("currency_code", "must be three capital letters of ISO 4217, such as INR");
        }
        if value.micros < 0 {
            f.note("micros", "must not be negative");
        }
        Some(Money { currency: value.currency_code, micros: value.micros })
    })
}

/// A channel type that is said.
#[must_use]
pub const fn channel_type(value: v1::ChannelType) -> Option<ChannelType> {
    match value {
        v1::ChannelType::Unspecified => None,
        v1::ChannelType::Whatsapp => Some(ChannelType::Whatsapp),
        v1::ChannelType::Sms => Some(ChannelType::Sms),
        v1::ChannelType::Voice => Some(ChannelType::Voice),
        v1::ChannelType::Email => Some(ChannelType::Email),
        v1::ChannelType::Telegram => Some(ChannelType::Telegram),
        v1::ChannelType::Webchat => Some(ChannelType::Webchat),
        v1::ChannelType::Webhook => Some(ChannelType::Webhook),
    }
}

/// A channel type of the contract.
#[must_use]
pub const fn of_channel_type(value: ChannelType) -> v1::ChannelType {
    match value {
        ChannelType::Whatsapp => v1::ChannelType::Whatsapp,
        ChannelType::Sms => v1::ChannelType::Sms,
        ChannelType::Voice => v1::ChannelType::Voice,
        ChannelType::Email => v1::ChannelType::Email,
        ChannelType::Telegram => v1::ChannelType::Telegram,
        ChannelType::Webchat => v1::ChannelType::Webchat,
        ChannelType::Webhook => v1::ChannelType::Webhook,
    }
}

/// A lane that is said.
#[must_use]
pub const fn lane(value: v1::Lane) -> Option<Lane> {
    match value {
        v1::Lane::Unspecified => None,
        v1::Lane::Interactive => Some(Lane::Interactive),
        v1::Lane::Bulk => Some(Lane::Bulk),
    }
}

/// A kind of address that is said.
#[must_use]
pub const fn address_kind(value: v1::AddressKind) -> Option<AddressKind> {
    match value {
        v1::AddressKind::Unspecified => None,
        v1::AddressKind::Phone => Some(AddressKind::Phone),
        v1::AddressKind::Email => Some(AddressKind::Email),
        v1::AddressKind::WhatsappUser => Some(AddressKind::WhatsappUser),
        v1::AddressKind::External => Some(AddressKind::External),
    }
}

/// An address of the contract.
#[must_use]
pub fn of_address(address: Address) -> v1::Address {
    let kind = match address.kind {
        AddressKind::Phone => v1::AddressKind::Phone,
        AddressKind::Email => v1::AddressKind::Email,
        AddressKind::WhatsappUser => v1::AddressKind::WhatsappUser,
        AddressKind::External => v1::AddressKind::External,
    };
    v1::Address { kind: kind.into(), value: address.value }
}

/// A success that is said.
#[must_use]
pub const fn success(value: v1::Success) -> Option<Success> {
    match value {
        v1::Success::Unspecified => None,
        v1::Success::Sent => Some(Success::Sent),
        v1::Success::Delivered => Some(Success::Delivered),
        v1::Success::Read => Some(Success::Read),
        v1::Success::Replied => Some(Success::Replied),
        v1::Success::Acknowledged => Some(Success::Acknowledged),
    }
}

/// A success of the contract.
#[must_use]
pub const fn of_success(value: Success) -> v1::Success {
    match value {
        Success::Sent => v1::Success::Sent,
        Success::Delivered => v1::Success::Delivered,
        Success::Read => v1::Success::Read,
        Success::Replied => v1::Success::Replied,
        Success::Acknowledged => v1::Success::Acknowledged,
    }
}

/// What a channel type can prove, weakest first.
#[must_use]
pub fn provable(channel_type: ChannelType) -> Vec<i32> {
    Success::ALL.iter().filter(|s| s.provable_by(channel_type)).map(|s| of_success(*s).into()).collect()
}

/// What a connector can do after an unknown outcome.
#[must_use]
pub const fn of_after_unknown(value: AfterUnknown) -> v1::AfterUnknown {
    match value {
        AfterUnknown::Nothing => v1::AfterUnknown::Nothing,
        AfterUnknown::Echo => v1::AfterUnknown::Echo,
        AfterUnknown::Ask => v1::AfterUnknown::Ask,
        AfterUnknown::Key => v1::AfterUnknown::Key,
        AfterUnknown::Resend => v1::AfterUnknown::Resend,
    }
}

/// What a refusal means.
#[must_use]
pub const fn of_failure_class(value: FailureClass) -> v1::FailureClass {
    match value {
        FailureClass::Temporary => v1::FailureClass::Temporary,
        FailureClass::Throttled => v1::FailureClass::Throttled,
        FailureClass::FallOver => v1::FailureClass::FallOver,
        FailureClass::Permanent => v1::FailureClass::Permanent,
        FailureClass::ParkChannel => v1::FailureClass::ParkChannel,
        FailureClass::OptOut => v1::FailureClass::OptOut,
        FailureClass::NeedsTemplate => v1::FailureClass::NeedsTemplate,
        FailureClass::Technical => v1::FailureClass::Technical,
    }
}

/// Why a step was skipped; unspecified for reasons that are no skip.
#[must_use]
pub fn of_skip_reason(reason: Reason) -> v1::SkipReason {
    let name = match reason {
        Reason::NoTemplateContent | Reason::NoTemplateLanguage | Reason::WindowClosed => "NO_CONTENT",
        Reason::TemplateVariableMissing => "RENDER_FAILED",
        Reason::ValidityPassed => "EXPIRED",
        other => other.as_str(),
    };
    v1::SkipReason::from_str_name(&format!("SKIP_REASON_{name}")).unwrap_or_default()
}

/// A problem that makes a definition unusable.
#[must_use]
pub fn problem(field: &str, reason: &str, description: impl Into<String>) -> v1::Problem {
    v1::Problem {
        severity: v1::problem::Severity::Error.into(),
        field: field.to_owned(),
        reason: reason.to_owned(),
        description: description.into(),
    }
}

/// A JSON value of the contract.
#[must_use]
pub fn of_json(value: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(*b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Kind::StringValue(s.clone()),
        serde_json::Value::Array(list) => {
            Kind::ListValue(prost_types::ListValue { values: list.iter().map(of_json).collect() })
        }
        serde_json::Value::Object(map) => Kind::StructValue(of_object(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A JSON object of the contract.
#[must_use]
pub fn of_object(map: &serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    prost_types::Struct { fields: map.iter().map(|(k, v)| (k.clone(), of_json(v))).collect() }
}

/// A JSON value. Numbers without a fraction become whole numbers, since the contract knows only one kind of number.
#[must_use]
pub fn json(value: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(b)) => b.into(),
        Some(Kind::NumberValue(n)) => number(n),
        Some(Kind::StringValue(s)) => s.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(object)) => serde_json::Value::Object(self::object(object)),
    }
}

/// A JSON object.
#[must_use]
pub fn object(value: prost_types::Struct) -> serde_json::Map<String, serde_json::Value> {
    value.fields.into_iter().map(|(k, v)| (k, json(v))).collect()
}

/// Whole numbers that a double holds exactly stay whole.
fn number(n: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
        return (n as i64).into();
    }
    serde_json::Number::from_f64(n).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let value = serde_json::json!({"a": [1, 2.5, "x", null, true], "b": {"c": -7}});
        assert_eq!(json(of_json(&value)), value);
    }

    #[test]
    fn times_keep_their_microseconds_and_impossible_ones_are_none() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        assert_eq!(time(&timestamp(at)), Some(at));
        assert_eq!(time(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(time(&prost_types::Timestamp { seconds: 0, nanos: -1 }), None);
    }

    #[test]
    fn every_reason_of_a_skipped_step_has_a_name_in_the_contract() {
        let steps = [
            Reason::OptedOut,
            Reason::NoAddress,
            Reason::Suppressed,
            Reason::FrequencyCap,
            Reason::Duplicate,
            Reason::ChannelDisabled,
            Reason::ChannelParked,
            Reason::ProviderDown,
            Reason::QuietHours,
            Reason::NoTemplateContent,
            Reason::NoTemplateLanguage,
            Reason::WindowClosed,
            Reason::TemplateVariableMissing,
        ];
        for reason in steps {
            assert_ne!(of_skip_reason(reason), v1::SkipReason::Unspecified, "{reason}");
        }
    }
}
