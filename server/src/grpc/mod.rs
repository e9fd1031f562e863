//! The gRPC server on one page: which services there are, and what holds for all of them.
//!
//! A service is one thin file: each function reads its request ([`convert`] finds every violation at once), calls one use
//! case of [`crate::services`], and converts the outcome. Writes go through [`idempotent`], lists through [`page`], errors
//! through [`status`], and what tonic would answer by itself through [`edge`]. No SQL and no decision lives here, and no other
//! room sees the contract.

pub mod convert;
pub mod edge;
pub mod idempotent;
mod intake;
pub mod mask;
pub mod page;
pub mod status;
pub mod stream;

mod actor;
mod audiences;
mod call_lists;
mod campaigns;
mod channels;
mod compliance;
mod connectors;
mod contacts;
mod controllers;
mod conversations;
mod events;
mod messages;
mod notifications;
mod policies;
mod templates;
mod triggers;
mod web_chat;

use std::time::Duration;

use proto::v1;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;

use crate::{
    services::{Context, bell::Bell, events::Feed, web_chat::Ears},
    wake::Topic,
};

/// The biggest request that is read: the files of a mail, at most 5 MiB, and what is said besides.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// How often a silent connection is asked whether it is still there, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Open requests and streams on one connection.
const MAX_STREAMS: u32 = 1_000;

/// Why the server could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The contract that was compiled in cannot be described: a defect of the build.
    #[error("the contract cannot be described")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport gave up.
    #[error("the gRPC server stopped")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` is cancelled and every open request is answered; streams end by themselves then. The caller bounds
/// how long that may take: a peer that never reads can hold its connection for ever.
///
/// # Errors
/// See [`Error`].
pub async fn serve(listener: TcpListener, context: Context, shutdown: CancellationToken) -> Result<(), Error> {
    let (mut health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    macro_rules! limited {
        ($module:ident::$server:ident, $service:expr) => {
            v1::$module::$server::new($service).max_decoding_message_size(MAX_REQUEST_BYTES)
        };
    }
    let of = || context.clone();
    let feed = Feed::start(of(), shutdown.clone());
    let events = events::Events { context: of(), feed: feed.clone(), shutdown: shutdown.clone() };
    let notifications = notifications::Notifications { context: of(), feed: feed.clone(), shutdown: shutdown.clone() };
    let conversations = conversations::Conversations { context: of(), feed: feed.clone(), shutdown: shutdown.clone() };
    let controllers = controllers::Controllers { context: of(), shutdown: shutdown.clone() };
    let campaigns = campaigns::Campaigns { context: of(), shutdown: shutdown.clone() };
    let messages = messages::Messages { context: of(), shutdown: shutdown.clone() };
    let bell = |topic| Bell::hang(context.wake.clone(), topic, shutdown.clone());
    let connectors = connectors::Connectors { context: of(), pulls: bell(Topic::Pulls), shutdown: shutdown.clone() };
    let ears = Ears::new(bell(Topic::WebChat));
    let web_chat = web_chat::WebChat { context: of(), ears, shutdown: shutdown.clone() };
    let stopping = shutdown.clone();
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(MAX_STREAMS)
        .layer(edge::EdgeLayer)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(limited!(audience_service_server::AudienceServiceServer, audiences::Audiences { context: of() }))
        .add_service(limited!(call_list_service_server::CallListServiceServer, call_lists::CallLists { context: of() }))
        .add_service(limited!(campaign_service_server::CampaignServiceServer, campaigns))
        .add_service(limited!(channel_service_server::ChannelServiceServer, channels::Channels { context: of() }))
        .add_service(limited!(connector_service_server::ConnectorServiceServer, connectors))
        .add_service(limited!(contact_service_server::ContactServiceServer, contacts::Contacts { context: of() }))
        .add_service(limited!(
            compliance_service_server::ComplianceServiceServer,
            compliance::Compliance { context: of() }
        ))
        .add_service(limited!(controller_service_server::ControllerServiceServer, controllers))
        .add_service(limited!(conversation_service_server::ConversationServiceServer, conversations))
        .add_service(limited!(event_service_server::EventServiceServer, events))
        .add_service(limited!(message_service_server::MessageServiceServer, messages))
        .add_service(limited!(notification_service_server::NotificationServiceServer, notifications))
        .add_service(limited!(policy_service_server::PolicyServiceServer, policies::Policies { context: of() }))
        .add_service(limited!(template_service_server::TemplateServiceServer, templates::Templates { context: of() }))
        .add_service(limited!(trigger_service_server::TriggerServiceServer, triggers::Triggers { context: of() }))
        .add_service(limited!(web_chat_service_server::WebChatServiceServer, web_chat))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async move {
            stopping.cancelled().await;
            health.set_service_status("", ServingStatus::NotServing).await;
            // Ends the streams of those who watch it; they would hold the shutdown for ever.
            health.clear_service_status("").await;
        })
        .await?;
    Ok(())
}
