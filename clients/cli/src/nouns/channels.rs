//! `channels`: configured lines, the providers behind them, what can be configured, and how they are.

use clap::Subcommand;
use proto::v1;

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::{names, pairs};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of channels shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("type", "channel_type"),
    ("our address", "service_identifier"),
    ("state", "state"),
    ("rate/s", "rate_per_second"),
    ("why parked", "park_reason"),
];

/// What a list of connectors shows.
pub const CONNECTORS: Columns = &[
    ("name", "name"),
    ("types", "channel_types"),
    ("proves", "provable_successes"),
    ("inbound", "inbound"),
    ("what it is for", "description"),
];

/// What a list of the instances of a connector outside shows.
pub const INSTANCES: Columns = &[
    ("instance", "instance"),
    ("program", "software"),
    ("connected", "connected"),
    ("last seen", "last_seen_time"),
    ("healthy", "health.healthy"),
    ("in its words", "health.detail"),
];

/// Configured lines and the providers behind them.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli channels connectors --channel-type sms
  switchboard-cli channels create sms-main --file sms-main.toml
  switchboard-cli channels check sms-main
  switchboard-cli channels health sms-main
  switchboard-cli channels update sms-main --set rate_per_second=20
  switchboard-cli channels enable sms-main")]
pub enum Channels {
    /// Create a channel with its providers, from a file.
    Create {
        #[command(flatten)]
        create: Create,
        /// Create it disabled.
        #[arg(long)]
        disabled: bool,
    },
    /// Show a channel.
    Get(Named),
    /// List channels.
    List {
        /// Only channels of this type.
        #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
        channel_type: Option<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Change a channel; providers are replaced as a whole.
    Update(Update),
    /// Delete a channel.
    Delete(Verb),
    /// Let a channel send again, after `disable` or when it was parked.
    Enable(Verb),
    /// Stop a channel from sending.
    Disable(Verb),
    /// Ask each provider whether it accepts our credentials, without sending anything.
    Check(Named),
    /// Show how a channel is: breakers, last failures, backlog.
    Health(Named),
    /// List the programs that serve a channel from outside.
    Instances {
        /// The channel.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// List what can be configured, or show the settings of one connector.
    Connectors {
        /// Show the settings of this connector.
        name: Option<String>,
        /// Only connectors for this channel type.
        #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
        channel_type: Option<i32>,
        #[command(flatten)]
        paging: Paging,
    },
}

fn full(name: &str) -> String {
    names::full("channels", name)
}

impl Channels {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a check is not in order.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, disabled } => {
                let request = v1::CreateChannelRequest {
                    channel_id: create.id(),
                    channel: Some(create.definition.read()?),
                    disabled,
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetChannelRequest { name: full(&name) }).await,
            Self::List { channel_type, paging } => {
                let channel_type = channel_type.unwrap_or_default();
                let request = v1::ListChannelsRequest { channel_type, ..Default::default() };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Update(update) => {
                let channel = v1::Channel { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateChannelRequest {
                    channel: Some(channel),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteChannelRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Enable(Verb { name, etag }) => {
                session.show(v1::EnableChannelRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Disable(Verb { name, etag }) => {
                session.show(v1::DisableChannelRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Check(Named { name }) => check(session, &name).await,
            Self::Health(Named { name }) => {
                let request = v1::GetChannelHealthRequest { name: full(&name) };
                session.show_as(request, view::channel::health).await.map(drop)
            }
            Self::Instances { name, paging } => {
                let request = v1::ListConnectorInstancesRequest { channel: full(&name), ..Default::default() };
                session.list(request, INSTANCES, &paging).await
            }
            Self::Connectors { name, channel_type, paging } => {
                connectors(session, name, channel_type.unwrap_or_default(), &paging).await
            }
        }
    }
}

async fn check(session: &mut Session, name: &str) -> Result<(), Error> {
    let answer = session.show_as(v1::CheckChannelRequest { name: full(name) }, view::channel::check).await?;
    if answer.ok { Ok(()) } else { Err(Error::FoundWrong("the channel is not in order".into(), exit::FOUND_WRONG)) }
}

async fn connectors(
    session: &mut Session,
    name: Option<String>,
    channel_type: i32,
    paging: &Paging,
) -> Result<(), Error> {
    let request = v1::ListConnectorsRequest { channel_type, ..Default::default() };
    let Some(name) = name else { return session.list(request, CONNECTORS, paging).await };
    // There are few connectors and no method for one of them: all are asked for.
    let answer = session.ask(v1::ListConnectorsRequest { page_size: 1000, ..request }).await?;
    let Some(index) = answer.typed.connectors.iter().position(|it| it.name == name) else {
        let all: Vec<_> = answer.typed.connectors.iter().map(|it| it.name.as_str()).collect();
        return Err(Error::Usage(format!("there is no connector `{name}`; there are {}", all.join(", "))));
    };
    if session.out.json
        && let Some(prost_reflect::Value::List(items)) = answer.dynamic.get_field_by_name("connectors").as_deref()
        && let Some(prost_reflect::Value::Message(message)) = items.get(index)
    {
        return Ok(session.out.message(message, true)?);
    }
    Ok(view::channel::connector(&mut session.out, &answer.typed.connectors[index])?)
}
