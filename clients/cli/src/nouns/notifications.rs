//! `notifications`: one person, to be reached about one thing, and everything that became of it. Sending is in `send`.

use clap::Subcommand;
use proto::v1::{self, NotificationView, watch_notification_response::Update as Seen};

use super::send::{Batch, Send};
use super::shared::{Paging, Verb};
use crate::error::Error;
use crate::input::{names, pairs, time};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of notifications shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("contact", "contact"),
    ("state", "state"),
    ("why", "skip_reason"),
    ("reached on", "reached_channel"),
    ("due", "next_due_time"),
    ("created", "create_time"),
];

/// One person, to be reached about one thing.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli notifications send --contact external:EMP-7 --policy urgent --template welcome --var office=Pune
  switchboard-cli notifications send --address +919812345678 --channel-type sms --template welcome --watch
  switchboard-cli notifications batch requests.jsonl --allow-partial
  switchboard-cli notifications get 01990b5c-1111-7000-8000-000000000001
  switchboard-cli notifications list --state waiting --state exhausted --since 2026-11-20T00:00:00+05:30
  switchboard-cli notifications watch 01990b5c-1111-7000-8000-000000000001 --timeout 10m")]
pub enum Notifications {
    /// Send one notification to a contact or to an address.
    Send(Box<Send>),
    /// Send up to 1000 notifications from a file.
    Batch(Batch),
    /// Show a notification: why it stands where it stands, every step, delivery, attempt and receipt.
    Get {
        /// Its name or its id.
        name: String,
        /// Leave deliveries and timeline out.
        #[arg(long)]
        brief: bool,
    },
    /// List notifications, the newest first.
    List {
        /// Only those of this campaign.
        #[arg(long)]
        campaign: Option<String>,
        /// Only those of this trigger.
        #[arg(long)]
        trigger: Option<String>,
        /// Only those to this contact.
        #[arg(long)]
        contact: Option<String>,
        /// Only those in this state; may be given more than once.
        #[arg(long = "state", value_name = "STATE", value_parser = pairs::notification_state)]
        states: Vec<i32>,
        /// Only those created at this time or later.
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        since: Option<prost_types::Timestamp>,
        /// Only those created before this time.
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        until: Option<prost_types::Timestamp>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Take back what was not handed to a provider yet.
    Cancel(Verb),
    /// Follow a notification until it has ended; Ctrl-C stops watching.
    Watch {
        /// Its name or its id.
        name: String,
        /// Go on after it has ended, to see late receipts and answers.
        #[arg(long)]
        keep_open: bool,
    },
}

fn full(name: &str) -> String {
    names::full("notifications", name)
}

impl Notifications {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Send(send) => send.run(session).await,
            Self::Batch(batch) => batch.run(session).await,
            Self::Get { name, brief } => {
                let view = if brief { NotificationView::Basic } else { NotificationView::Full };
                let request = v1::GetNotificationRequest { name: full(&name), view: view.into() };
                session.show_as(request, view::notification::show).await.map(drop)
            }
            Self::List { campaign, trigger, contact, states, since, until, paging } => {
                let request = v1::ListNotificationsRequest {
                    campaign: names::optional("campaigns", campaign.as_deref()),
                    trigger: names::optional("triggers", trigger.as_deref()),
                    contact: names::optional("contacts", contact.as_deref()),
                    states,
                    create_time_from: since,
                    create_time_until: until,
                    ..Default::default()
                };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Cancel(Verb { name, etag }) => {
                let request = v1::CancelNotificationRequest { name: full(&name), etag, ..Default::default() };
                session.show_as(request, view::notification::show).await.map(drop)
            }
            Self::Watch { name, keep_open } => watch(session, full(&name), keep_open).await,
        }
    }
}

/// Follows a notification: what is new of its timeline, line by line.
///
/// # Errors
/// What the server refused, or that the output is closed.
pub async fn watch(session: &mut Session, name: String, keep_open: bool) -> Result<(), Error> {
    let request = v1::WatchNotificationRequest { name, view: NotificationView::Full.into(), keep_open };
    let mut follower = view::notification::Follower::default();
    // The stream begins with the present state, so beginning again needs no cursor.
    let resume = |_: &mut _, _: &_| {};
    let shown = session.follow(request, "notification", resume, |out, response| match &response.update {
        Some(Seen::Notification(notification)) => follower.show(out, notification),
        _ => Ok(()),
    });
    shown.await
}
