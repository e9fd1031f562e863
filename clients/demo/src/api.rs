//! The way to Switchboard: one connection for all services, and errors that say everything the server said.
//!
//! Only the contract is used. What is asked for is decided in `definitions.rs`, `story.rs` and `verdict.rs`.

use std::time::Duration;

use anyhow::{Context, anyhow};
use proto::v1::{
    audience_service_client::AudienceServiceClient, call_list_service_client::CallListServiceClient,
    campaign_service_client::CampaignServiceClient, channel_service_client::ChannelServiceClient,
    contact_service_client::ContactServiceClient, event_service_client::EventServiceClient,
    message_service_client::MessageServiceClient, notification_service_client::NotificationServiceClient,
    policy_service_client::PolicyServiceClient, template_service_client::TemplateServiceClient,
    trigger_service_client::TriggerServiceClient,
};
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt;

/// A connection that is made when it is first used, and made again when the server was restarted.
#[derive(Debug, Clone)]
pub struct Api {
    line: Channel,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $client:ident,)*) => {
        impl Api {
            $($(#[$doc])* pub fn $name(&self) -> $client<Channel> { $client::new(self.line.clone()) })*
        }
    };
}

services! {
    /// Channels and their providers.
    channels: ChannelServiceClient,
    /// People and what they consented to.
    contacts: ContactServiceClient,
    /// What is said.
    templates: TemplateServiceClient,
    /// In which order channels are tried.
    policies: PolicyServiceClient,
    /// Whom a person must call in the end.
    call_lists: CallListServiceClient,
    /// Sources, watched tables and schedules.
    triggers: TriggerServiceClient,
    /// What became of each person's notification.
    notifications: NotificationServiceClient,
    /// Messages in and out.
    messages: MessageServiceClient,
    /// Who gets a campaign.
    audiences: AudienceServiceClient,
    /// Runs of campaigns.
    campaigns: CampaignServiceClient,
    /// What happens, from a cursor on.
    events: EventServiceClient,
}

impl Api {
    /// A connection to the server at `url`, such as `http://127.0.0.1:7440`.
    ///
    /// # Errors
    /// When `url` is none.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let endpoint = Channel::from_shared(url.to_owned()).with_context(|| format!("{url} is not an address"))?;
        Ok(Self { line: endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy() })
    }
}

/// What the server answered, or everything that it found wrong.
pub trait Told<T> {
    /// The answer; `what` was asked for when it is an error.
    ///
    /// # Errors
    /// The status with its reason and all violated fields, a line each.
    fn told(self, what: &str) -> anyhow::Result<T>;

    /// As `told`, but `None` when the resource exists already.
    ///
    /// # Errors
    /// As `told`.
    fn told_or_exists(self, what: &str) -> anyhow::Result<Option<T>>;
}

impl<T> Told<T> for Result<Response<T>, Status> {
    fn told(self, what: &str) -> anyhow::Result<T> {
        self.map(Response::into_inner).map_err(|status| anyhow!("{what}: {}", describe(&status)))
    }

    fn told_or_exists(self, what: &str) -> anyhow::Result<Option<T>> {
        match self {
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            other => other.told(what).map(Some),
        }
    }
}

/// A status in words: message, reason, and every field that it complains of.
fn describe(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = format!("{:?}: {}", status.code(), status.message());
    if let Some(info) = details.error_info() {
        text.push_str(&format!(" [{}]", info.reason));
    }
    for violation in details.bad_request().into_iter().flat_map(|request| &request.field_violations) {
        text.push_str(&format!("\n    {}: {}", violation.field, violation.description));
    }
    text
}

/// A fresh id that makes one request safe to repeat.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
