//! Web chat: an application brings its visitors' messages over the API and shows them the answers. Nothing is put on a wire: a
//! message is SENT when it stands where the visitor's stream finds it (`crate::services::web_chat`).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};

use super::{
    Connector, Outbound, Outlet, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest,
    registry::ConnectorKind,
    settings::{ProviderSettings, SettingProblem, SettingSpec},
};

const SETTINGS: &[SettingSpec] = &[];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "web-chat",
    description: "Chat on your own pages and in your own apps, over WebChatService.",
    channel_types: &[ChannelType::Webchat],
    after_unknown: AfterUnknown::Key,
    inbound: true,
    entered_webhook: None,
    settings: SETTINGS,
    build,
};

#[derive(Debug)]
struct WebChat;

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    settings.read(SETTINGS).finish()?;
    Ok(Arc::new(WebChat))
}

#[async_trait]
impl Connector for WebChat {
    /// A line is stored once for its delivery, so that storing it again is harmless.
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Webchat,
            after_unknown: AfterUnknown::Key,
            timeout: Duration::from_secs(5),
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    fn outlet(&self) -> Outlet {
        Outlet::WebChat
    }

    async fn send(&self, _: &Outbound) -> Sent {
        Sent::NotSent { detail: "a web chat has no wire".to_owned() }
    }

    fn read_webhook(&self, _: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        Err(WebhookError::NotFound)
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
