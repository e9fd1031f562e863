//! The registry: every kind of connector by name, with the settings that it takes. The one place that lists them.
//!
//! It builds connectors and nothing else; who may have which provider is decided by the services above.

use std::sync::Arc;

use domain::{channel::ChannelType, delivery::AfterUnknown};

use super::{
    Connector, external, kannel, meta,
    settings::{ProviderSettings, SettingProblem, SettingSpec},
    smtp, twilio, web_chat, webhook,
};

/// Builds a connector from its settings, or names every problem in them.
pub type Build = fn(&ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>>;

/// A kind of connector: what an operator chooses when adding a provider.
#[derive(Debug, Clone, Copy)]
pub struct ConnectorKind {
    /// The stable name, such as `twilio-sms`.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    /// The media that it serves.
    pub channel_types: &'static [ChannelType],
    /// What it can do after an outcome that is not known; its connectors say the same in their traits.
    pub after_unknown: AfterUnknown,
    /// Whether it takes messages from people.
    pub inbound: bool,
    /// The path behind `/webhooks/{provider_id}` that must be entered at the provider, such as `/inbound`; empty for the root.
    /// None where every address that it calls travels with the messages.
    pub entered_webhook: Option<&'static str>,
    /// The settings that it takes; any other is refused.
    pub settings: &'static [SettingSpec],
    /// Builds one from its settings.
    pub build: Build,
}

/// Every kind of connector, by name.
pub const KINDS: &[ConnectorKind] = &[
    external::KIND,
    kannel::KIND,
    meta::KIND,
    smtp::KIND,
    twilio::sms::KIND,
    twilio::voice::KIND,
    web_chat::KIND,
    webhook::KIND,
];

/// The media that a connector of one's own may serve: all but web chat, whose messages no wire carries.
pub const ANY_MEDIUM: &[ChannelType] = &[
    ChannelType::Webhook,
    ChannelType::Telegram,
    ChannelType::Whatsapp,
    ChannelType::Sms,
    ChannelType::Voice,
    ChannelType::Email,
];

impl ConnectorKind {
    /// Whether it serves a medium.
    #[must_use]
    pub fn serves(&self, channel_type: ChannelType) -> bool {
        self.channel_types.contains(&channel_type)
    }
}

/// The kind of that name, if there is one.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConnectorKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_name_and_no_other() {
        let names: HashSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        for kind in KINDS {
            assert_eq!(find(kind.name).map(|found| found.description), Some(kind.description));
        }
        assert!(find("twilio").is_none());
    }

    #[test]
    fn every_required_setting_is_named_when_all_are_missing() {
        for kind in KINDS.iter().filter(|kind| kind.settings.iter().any(|spec| spec.required)) {
            let problems = (kind.build)(&ProviderSettings::default()).expect_err(kind.name);
            let fields: HashSet<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
            for spec in kind.settings.iter().filter(|spec| spec.required) {
                assert!(fields.contains(spec.name), "{} did not ask for {}", kind.name, spec.name);
            }
        }
    }

    #[test]
    fn every_medium_is_served_by_some_kind() {
        for channel_type in ChannelType::ALL {
            assert!(KINDS.iter().any(|kind| kind.serves(*channel_type)), "{channel_type}");
        }
        assert!(ANY_MEDIUM.iter().all(|medium| *medium != ChannelType::Webchat));
        assert_eq!(ANY_MEDIUM.len() + 1, ChannelType::ALL.len());
    }

    #[test]
    fn every_setting_is_described_in_a_sentence() {
        for spec in KINDS.iter().flat_map(|kind| kind.settings) {
            assert!(spec.description.len() > 20 && spec.description.ends_with('.'), "{}", spec.name);
        }
    }
}
