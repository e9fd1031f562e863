//! A provider inside the process that takes everything at once: what is counted with it is Switchboard's own work.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};
use server::channels::{
    Connector, Outbound, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest, echo,
    registry::{self, ConnectorKind},
    settings::{ProviderSettings, SettingProblem},
};

/// This provider, as the directory finds it.
const KIND: ConnectorKind = ConnectorKind {
    name: "at-once",
    description: "A provider inside the test, which takes everything at once.",
    channel_types: &[ChannelType::Sms],
    after_unknown: AfterUnknown::Nothing,
    inbound: true,
    entered_webhook: None,
    settings: &[],
    build,
};

/// Finds this provider and all that ship.
pub fn find(name: &str) -> Option<&'static ConnectorKind> {
    if name == KIND.name { Some(&KIND) } else { registry::find(name) }
}

#[derive(Debug)]
struct AtOnce;

fn build(_: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    Ok(Arc::new(AtOnce))
}

#[async_trait]
impl Connector for AtOnce {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Sms,
            after_unknown: AfterUnknown::Nothing,
            timeout: Duration::from_secs(10),
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        Sent::Accepted { provider_message_id: echo::token(outbound.delivery_id, outbound.attempt) }
    }

    fn read_webhook(&self, _: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        Ok(WebhookFacts::default())
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl super::World {
    /// An SMS channel over this provider.
    pub async fn at_once_channel(&self, slug: &str) -> anyhow::Result<i32> {
        let id = self.sms_channel(slug, "http://127.0.0.1:9").await?;
        sqlx::query("update channel_provider set connector = 'at-once', settings = '{}' where channel_id = $1")
            .bind(id)
            .execute(&self.db.pool)
            .await?;
        self.context.directory.invalidate();
        Ok(id)
    }
}
