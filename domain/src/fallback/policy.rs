//! What a fallback policy is: ordered steps for one person, and when to go to the next. Stored as JSON with its version.
//!
//! The JSON is stable: durations are whole milliseconds, names are those of the `codes!` lists, and what has a default may be
//! left out. Whether a policy makes sense is asked in [`super::validate`]; what it leads to, in [`super::enter()`] and
//! [`super::decide()`].

use crate::channel::ChannelType;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// An immutable version of a fallback policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The steps, 1 to 20, tried in this order.
    pub steps: Vec<Step>,
    /// Whether a call whose end is not known is repeated although a second copy may arrive. Default: no.
    #[serde(default)]
    pub at_least_once: bool,
    /// The purpose of notifications that name none: consent and quiet hours are asked for it. Default: `service`.
    #[serde(default = "default_purpose")]
    pub purpose: String,
}

/// One step of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where the step leads.
    pub target: Target,
    /// The slug of the template that is sent; without one, what the notification itself carries is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What ends the step as a success. Default: DELIVERED. Means nothing for a call list.
    #[serde(default = "default_success")]
    pub success: Success,
    /// How long success is awaited from the first attempt that was SENT or UNKNOWN: 1 s to 30 days. In JSON: milliseconds.
    /// Default: 1 hour. Means nothing for a call list.
    #[serde(default = "default_wait", with = "millis")]
    pub wait: TimeDelta,
    /// How many attempts may fail for the moment (temporary refusals, unknown outcomes) before the step has failed: 1 to 10.
    /// Default: 3.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// The pause after the first of these failures, doubled after each: 1 s to 1 day. In JSON: milliseconds. Default: 10 s.
    #[serde(default = "default_every", with = "millis")]
    pub every: TimeDelta,
    /// Whether a failure for good leaves the step at once or at the end of its wait. Default: NOW.
    #[serde(default = "default_on_failure")]
    pub on_failure: OnFailure,
    /// For success READ: after this much of the wait DELIVERED counts as READ, since read receipts may be switched off. At
    /// most the wait. In JSON: milliseconds.
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub read_fallback: Option<TimeDelta>,
    /// What quiet hours do to the step. Default: DEFER.
    #[serde(default = "default_quiet_hours")]
    pub quiet_hours: QuietHours,
    /// How long after it is entered the step may still be put on the wire: 1 s to 30 days. In JSON: milliseconds. Without
    /// it, as long as the notification is valid.
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<TimeDelta>,
}

/// Where a step leads. In JSON: `{"channel": "sms-main"}`, `{"channel_type": "SMS"}` or `{"call_list": "department"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One channel, by its slug.
    Channel(String),
    /// The first channel of this type that can be used.
    ChannelType(ChannelType),
    /// A list of people to be called by a person, by its slug: last step only.
    CallList(String),
}

codes! {
    /// What a step asks for, weakest first.
    pub enum Success {
        /// A provider accepted the message.
        Sent = "SENT",
        /// It reached the device.
        Delivered = "DELIVERED",
        /// It was read, or the call was answered.
        Read = "READ",
        /// The person answered; being read does not end such a step.
        Replied = "REPLIED",
        /// The person acknowledged with a key, a button or a word.
        Acknowledged = "ACKNOWLEDGED",
    }
}

codes! {
    /// When a failure for good leaves its step.
    pub enum OnFailure {
        /// At once.
        Now = "NOW",
        /// At the end of the step's wait.
        Wait = "WAIT",
    }
}

codes! {
    /// What quiet hours do to a step.
    pub enum QuietHours {
        /// The step is entered when they end.
        Defer = "DEFER",
        /// The step is skipped.
        Skip = "SKIP",
        /// The step is sent all the same: for what may wake people.
        Ignore = "IGNORE",
    }
}

impl Success {
    /// Whether a channel of this type can prove this success at all.
    ///
    /// A mail server says that it took the mail and no more; a voice provider says that a call was answered, never that it
    /// was delivered; a short message is never known to be read. What a connector of one's own can prove is what it
    /// reports: all of it may be.
    #[must_use]
    pub const fn provable_by(self, channel_type: ChannelType) -> bool {
        match (channel_type, self) {
            (_, Self::Sent)
            | (
                ChannelType::Whatsapp | ChannelType::Telegram | ChannelType::Webchat | ChannelType::Webhook,
                Self::Delivered | Self::Read | Self::Replied | Self::Acknowledged,
            ) => true,
            (ChannelType::Sms, Self::Delivered | Self::Replied | Self::Acknowledged)
            | (ChannelType::Voice, Self::Read | Self::Replied | Self::Acknowledged) => true,
            (ChannelType::Sms, Self::Read)
            | (ChannelType::Voice, Self::Delivered)
            | (ChannelType::Email, Self::Delivered | Self::Read | Self::Replied | Self::Acknowledged) => false,
        }
    }

    /// What a step asks for that does not say: that the message reached the person, as far as the type can prove it. A call
    /// that was answered has reached someone; of a mail nothing is known but that a server took it.
    #[must_use]
    pub const fn standard(channel_type: ChannelType) -> Self {
        match channel_type {
            ChannelType::Whatsapp
            | ChannelType::Sms
            | ChannelType::Telegram
            | ChannelType::Webchat
            | ChannelType::Webhook => Self::Delivered,
            ChannelType::Voice => Self::Read,
            ChannelType::Email => Self::Sent,
        }
    }

    /// Whether READ may stay unproved on this type although the message was read, so that a step needs a `read_fallback`.
    #[must_use]
    pub const fn needs_read_fallback(self, channel_type: ChannelType) -> bool {
        match (self, channel_type) {
            (Self::Read, ChannelType::Whatsapp | ChannelType::Telegram | ChannelType::Webhook) => true,
            (Self::Read, ChannelType::Sms | ChannelType::Voice | ChannelType::Email | ChannelType::Webchat)
            | (Self::Sent | Self::Delivered | Self::Replied | Self::Acknowledged, _) => false,
        }
    }
}

impl Step {
    /// A step with every default: success DELIVERED, one hour of wait, three attempts.
    #[must_use]
    pub fn to(target: Target) -> Self {
        Self {
            target,
            template: None,
            success: default_success(),
            wait: default_wait(),
            attempts: default_attempts(),
            every: default_every(),
            on_failure: default_on_failure(),
            read_fallback: None,
            quiet_hours: default_quiet_hours(),
            valid_for: None,
        }
    }
}

fn default_purpose() -> String {
    crate::consent::SERVICE.to_owned()
}

const fn default_success() -> Success {
    Success::Delivered
}

const fn default_wait() -> TimeDelta {
    TimeDelta::hours(1)
}

const fn default_attempts() -> u32 {
    3
}

const fn default_every() -> TimeDelta {
    TimeDelta::seconds(10)
}

const fn default_on_failure() -> OnFailure {
    OnFailure::Now
}

const fn default_quiet_hours() -> QuietHours {
    QuietHours::Defer
}

/// Durations as whole milliseconds.
mod millis {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(value.num_milliseconds())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
        let millis = i64::deserialize(deserializer)?;
        TimeDelta::try_milliseconds(millis)
            .ok_or_else(|| D::Error::custom("is too long for a duration in milliseconds"))
    }
}

/// The same where there may be none.
mod optional_millis {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &Option<TimeDelta>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&value.num_milliseconds()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
        let read = |millis| {
            TimeDelta::try_milliseconds(millis)
                .ok_or_else(|| D::Error::custom("is too long for a duration in milliseconds"))
        };
        Option::<i64>::deserialize(deserializer)?.map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_stored_form_does_not_change() {
        let mut step = Step::to(Target::Channel("wa-main".into()));
        step.template = Some("flood".into());
        step.success = Success::Read;
        step.read_fallback = Some(TimeDelta::minutes(30));
        let policy = Policy { steps: vec![step], at_least_once: true, purpose: "alert".into() };
        let stored = json!({
            "steps": [{
                "target": {"channel": "wa-main"}, "template": "flood", "success": "READ", "wait": 3_600_000,
                "attempts": 3, "every": 10_000, "on_failure": "NOW", "read_fallback": 1_800_000, "quiet_hours": "DEFER",
            }],
            "at_least_once": true, "purpose": "alert",
        });
        assert_eq!(serde_json::to_value(&policy).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Policy>(stored).unwrap(), policy);
    }

    #[test]
    fn what_has_a_default_may_be_left_out() {
        let json = json!({"steps": [{"target": {"channel_type": "SMS"}}, {"target": {"call_list": "office"}}]});
        let policy: Policy = serde_json::from_value(json).unwrap();
        assert_eq!(policy.steps[0], Step::to(Target::ChannelType(ChannelType::Sms)));
        assert_eq!(policy.steps[1].target, Target::CallList("office".into()));
        assert_eq!((policy.at_least_once, policy.purpose.as_str()), (false, "service"));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let json = json!({"steps": [{"target": {"channel_type": "SMS"}, "waits": 1}]});
        let error = serde_json::from_value::<Policy>(json).unwrap_err().to_string();
        assert!(error.contains("waits"), "{error}");
    }

    #[test]
    fn what_a_step_asks_for_by_itself_can_be_proved_and_needs_nothing_more() {
        for channel_type in ChannelType::ALL {
            let standard = Success::standard(*channel_type);
            assert!(standard.provable_by(*channel_type), "{channel_type}");
            assert!(!standard.needs_read_fallback(*channel_type), "{channel_type}");
        }
    }

    #[test]
    fn each_channel_type_proves_what_it_can() {
        let provable = |t: ChannelType| Success::ALL.iter().filter(|s| s.provable_by(t)).copied().collect::<Vec<_>>();
        use Success::{Acknowledged, Delivered, Read, Replied, Sent};
        assert_eq!(provable(ChannelType::Whatsapp), [Sent, Delivered, Read, Replied, Acknowledged]);
        assert_eq!(provable(ChannelType::Sms), [Sent, Delivered, Replied, Acknowledged]);
        assert_eq!(provable(ChannelType::Voice), [Sent, Read, Replied, Acknowledged]);
        assert_eq!(provable(ChannelType::Email), [Sent]);
    }
}
