//! A connector outside the process: a program in any language that fetches its channel's deliveries over the API and brings what
//! comes in. Nothing is called from here; `proto/switchboard/v1/connector_service.proto` is the protocol, and
//! `crate::services::connectors` the far end of it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};

use super::{
    Connector, Outbound, Outlet, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest,
    registry::{ANY_MEDIUM, ConnectorKind},
    settings::{ProviderSettings, SettingProblem, SettingSpec},
};

const SETTINGS: &[SettingSpec] = &[
    SettingSpec::optional(
        "after_unknown",
        "What may follow a delivery of which the connector did not say what became of it: nothing (the default), key when it \
         drops a second copy with the same idempotency key, echo when it reports by delivery and attempt later on.",
    ),
    SettingSpec::optional(
        "lease_seconds",
        "How long a delivery stays with a connector that is gone, 2 to 600 s; by default 60. It is counted anew as long as the \
         connector is there.",
    ),
    SettingSpec::optional(
        "grace_seconds",
        "How long the channel counts as served after the last connector was seen, 0 to 3600 s; by default 30. After that people \
         are reached over the next step.",
    ),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "external",
    description: "A connector of your own outside this server, over gRPC, in any language.",
    channel_types: ANY_MEDIUM,
    after_unknown: AfterUnknown::Nothing,
    inbound: true,
    entered_webhook: None,
    settings: SETTINGS,
    build,
};

/// How long a call may take that is never made.
const NO_CALL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct External {
    after_unknown: AfterUnknown,
    lease: Duration,
    grace: Duration,
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let after_unknown = match reader.one_of("after_unknown", &["nothing", "key", "echo"]) {
        "key" => AfterUnknown::Key,
        "echo" => AfterUnknown::Echo,
        _ => AfterUnknown::Nothing,
    };
    let lease = reader.seconds("lease_seconds", 2..=600, 60);
    let grace = reader.seconds("grace_seconds", 0..=3600, 30);
    reader.finish()?;
    Ok(Arc::new(External { after_unknown, lease, grace }))
}

#[async_trait]
impl Connector for External {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Webhook,
            after_unknown: self.after_unknown,
            timeout: NO_CALL,
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    fn outlet(&self) -> Outlet {
        Outlet::Outside { lease: self.lease, grace: self.grace }
    }

    /// Never on a wire of ours: whoever asks is told that nothing left.
    async fn send(&self, _: &Outbound) -> Sent {
        Sent::NotSent { detail: "connectors outside fetch the deliveries of this channel".to_owned() }
    }

    fn read_webhook(&self, _: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        Err(WebhookError::NotFound)
    }

    /// There is nothing to be called; whether a connector is there is said by the channel's health.
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channels::testing::settings;

    #[test]
    fn what_may_follow_an_unknown_end_is_what_its_owner_declares() {
        for (given, means) in [
            (json!({}), AfterUnknown::Nothing),
            (json!({"after_unknown": "key"}), AfterUnknown::Key),
            (json!({"after_unknown": "echo"}), AfterUnknown::Echo),
        ] {
            assert_eq!(build(&settings(given)).unwrap().traits().after_unknown, means);
        }
        let problems = build(&settings(json!({"after_unknown": "retry", "lease_seconds": 1}))).unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["after_unknown", "lease_seconds"]);
    }
}
