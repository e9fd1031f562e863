//! `call-lists`: people whom no channel reached, for a person to call.

use clap::Subcommand;
use proto::v1::{self, CallList, CallListSchedule, call_list::Mailing};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::input::{duration, names, pairs};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of call lists shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("mailed to", "emails"),
    ("by", "channel"),
    ("waiting", "waiting_count"),
    ("next mail", "next_mail_time"),
    ("last mail", "last_mail_time"),
];

/// What the entries of a call list show.
pub const ENTRIES: Columns = &[
    ("listed", "create_time"),
    ("called", "display_name"),
    ("contact", "contact"),
    ("addresses", "addresses"),
    ("what was tried", "tried"),
    ("mailed", "mail_time"),
    ("withdrawn", "withdraw_time"),
    ("notification", "notification"),
];

/// People whom no channel reached, for a person to call.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli call-lists create helpdesk --email help@example.org --channel mail --after 15m
  switchboard-cli call-lists create helpdesk --email help@example.org --channel mail --cron '0 0 9 * * MON-FRI' --time-zone Asia/Kolkata
  switchboard-cli call-lists entries helpdesk --show waiting")]
pub enum CallLists {
    /// Create a call list.
    Create {
        #[command(flatten)]
        create: Create,
        #[command(flatten)]
        fields: Fields,
    },
    /// Show a call list.
    Get(Named),
    /// List call lists.
    List(Paging),
    /// Change a call list; emails are replaced as a whole.
    Update {
        #[command(flatten)]
        update: Update,
        #[command(flatten)]
        fields: Fields,
    },
    /// Delete a call list with its entries.
    Delete(Verb),
    /// List the people on a call list.
    Entries {
        /// The call list.
        name: String,
        /// Only entries that are `waiting`, or only those that were `mailed`.
        #[arg(long, value_parser = pairs::show_entries)]
        show: Option<i32>,
        #[command(flatten)]
        paging: Paging,
    },
}

/// To whom and when it is mailed.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Fields {
    /// Mail it to this address; may be given more than once.
    #[arg(long = "email", value_name = "EMAIL")]
    emails: Vec<String>,
    /// The email channel by which it is mailed.
    #[arg(long)]
    channel: Option<String>,
    /// Mail it at these times: a cron expression with seconds, such as `0 0 9 * * MON-FRI`.
    #[arg(long, requires = "time_zone", conflicts_with = "after")]
    cron: Option<String>,
    /// The time zone of --cron, such as Asia/Kolkata.
    #[arg(long, requires = "cron")]
    time_zone: Option<String>,
    /// Mail it so long after its first entry, such as 15m.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
    after: Option<prost_types::Duration>,
}

impl Fields {
    fn over(self, mut list: CallList) -> CallList {
        if !self.emails.is_empty() {
            list.emails = self.emails;
        }
        if let Some(channel) = self.channel {
            list.channel = names::full("channels", &channel);
        }
        if let (Some(cron), Some(time_zone)) = (self.cron, self.time_zone) {
            list.mailing = Some(Mailing::Schedule(CallListSchedule { cron, time_zone }));
        }
        if let Some(after) = self.after {
            list.mailing = Some(Mailing::AfterFirstEntry(after));
        }
        list
    }
}

fn full(name: &str) -> String {
    names::full("callLists", name)
}

impl CallLists {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, fields } => {
                let request = v1::CreateCallListRequest {
                    call_list_id: create.id(),
                    call_list: Some(fields.over(create.definition.read()?)),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetCallListRequest { name: full(&name) }).await,
            Self::List(paging) => session.list(v1::ListCallListsRequest::default(), COLUMNS, &paging).await,
            Self::Update { update, fields } => {
                let list = CallList { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateCallListRequest {
                    call_list: Some(fields.over(list)),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteCallListRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Entries { name, show, paging } => {
                let request = v1::ListCallListEntriesRequest {
                    parent: full(&name),
                    show: show.unwrap_or_default(),
                    ..Default::default()
                };
                session.list(request, ENTRIES, &paging).await
            }
        }
    }
}
