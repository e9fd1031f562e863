//! `events`: everything that happens, in one order, from a cursor.

use clap::Subcommand;
use proto::v1::{self, subscribe_response::Update as Seen};

use crate::error::Error;
use crate::input::names;
use crate::session::Session;
use crate::view;

/// Everything that happens, in one order, from a cursor.
#[derive(Debug, Subcommand)]
#[command(after_help = "Each line of --json is one event; its `cursor` is where to go on after it. A connection that \
breaks is made again from the last cursor, so that nothing is lost.

Examples:
  switchboard-cli events subscribe --type 'notification.*' --campaign monsoon
  switchboard-cli --json events subscribe --cursor 0000000000000042 --count 100
  switchboard-cli events cursor")]
pub enum Events {
    /// Follow events from a cursor on; Ctrl-C stops.
    Subscribe {
        /// From where; without it from now on.
        #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "from_oldest")]
        cursor: String,
        /// Begin with the oldest event that is kept.
        #[arg(long)]
        from_oldest: bool,
        /// Only these types, such as `notification.replied` or `notification.*`; may be given more than once.
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// Only those that happened to this, by its full name; may be given more than once.
        #[arg(long = "subject", value_name = "NAME")]
        subjects: Vec<String>,
        /// Only those of this campaign.
        #[arg(long)]
        campaign: Option<String>,
        /// Only those that concern this contact.
        #[arg(long)]
        contact: Option<String>,
        /// Stop after so many.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
    /// Show the newest and the oldest position of the stream.
    Cursor,
}

impl Events {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or that the output is closed.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Subscribe { cursor, from_oldest, types, subjects, campaign, contact, count } => {
                let request = v1::SubscribeRequest {
                    types,
                    subjects,
                    campaign: names::optional("campaigns", campaign.as_deref()),
                    contact: names::optional("contacts", contact.as_deref()),
                    start_cursor: cursor,
                    from_oldest,
                };
                subscribe(session, request, count).await
            }
            Self::Cursor => session.show(v1::GetEventCursorRequest {}).await,
        }
    }
}

async fn subscribe(session: &mut Session, request: v1::SubscribeRequest, count: Option<u64>) -> Result<(), Error> {
    session
        .follow_up_to(request, "event", count, resume, |out, response| match &response.update {
            Some(Seen::Event(event)) => view::event::show(out, event),
            _ => Ok(()),
        })
        .await
}

/// Moves the request to after what was seen.
fn resume(request: &mut v1::SubscribeRequest, seen: &v1::SubscribeResponse) {
    let cursor = match &seen.update {
        Some(Seen::Event(event)) => &event.cursor,
        Some(Seen::Checkpoint(checkpoint)) => &checkpoint.cursor,
        None => return,
    };
    if !cursor.is_empty() {
        request.start_cursor.clone_from(cursor);
        request.from_oldest = false;
    }
}
