//! `audiences`: who gets a campaign: a list, a filter over contacts, or SQL over a source.

use clap::Subcommand;
use proto::v1::{self, Audience, FilterAudience, ListAudience, audience::Kind, preview_audience_request::Source};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::input::{definition::Definition, names};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of audiences shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("filter", "filter.filter"),
    ("source", "sql.source"),
    ("members", "list.member_count"),
    ("updated", "update_time"),
];

/// Who gets a campaign.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "An audience by SQL is written in a file, since it has a mapping; `describe SqlAudience` shows \
its fields.

Examples:
  switchboard-cli audiences create staff --list
  switchboard-cli audiences add staff 42 external:EMP-7
  switchboard-cli audiences create hindi --filter 'locale = \"hi\"'
  switchboard-cli audiences create overdue --file overdue.toml
  switchboard-cli audiences preview hindi --samples 5"
)]
pub enum Audiences {
    /// Create an audience.
    Create {
        #[command(flatten)]
        create: Create,
        #[command(flatten)]
        kind: KindArgs,
    },
    /// Show an audience.
    Get(Named),
    /// List audiences.
    List(Paging),
    /// Change an audience; its kind cannot change.
    Update {
        #[command(flatten)]
        update: Update,
        #[command(flatten)]
        kind: KindArgs,
    },
    /// Delete an audience; its contacts stay.
    Delete(Verb),
    /// Add contacts to an audience of kind list.
    Add(Members),
    /// Take contacts out of an audience of kind list.
    Remove(Members),
    /// Count an audience and show some of it.
    Preview {
        /// A stored audience.
        #[arg(required_unless_present_any = ["file", "filter"], conflicts_with_all = ["file", "filter"])]
        name: Option<String>,
        #[command(flatten)]
        kind: KindArgs,
        #[command(flatten)]
        definition: Definition,
        /// Show so many people, 1 to 100.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=100))]
        samples: i32,
    },
}

/// Of what kind an audience is; SQL comes from a file.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct KindArgs {
    /// Contacts that are added one by one.
    #[arg(long, conflicts_with = "filter")]
    list: bool,
    /// All contacts that meet this filter, such as `locale = "hi"`.
    #[arg(long)]
    filter: Option<String>,
}

impl KindArgs {
    fn over(self, mut audience: Audience) -> Audience {
        if self.list {
            audience.kind = Some(Kind::List(ListAudience::default()));
        }
        if let Some(filter) = self.filter {
            audience.kind = Some(Kind::Filter(FilterAudience { filter }));
        }
        audience
    }
}

/// Contacts of a list.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Members {
    /// The audience.
    name: String,
    /// The contacts, 1 to 1000: `42`, or `external:EMP-7`.
    #[arg(required = true)]
    contacts: Vec<String>,
}

impl Members {
    fn contacts(&self) -> Vec<String> {
        self.contacts.iter().map(|it| names::full("contacts", it)).collect()
    }
}

fn full(name: &str) -> String {
    names::full("audiences", name)
}

impl Audiences {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, kind } => {
                let request = v1::CreateAudienceRequest {
                    audience_id: create.id(),
                    audience: Some(kind.over(create.definition.read()?)),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetAudienceRequest { name: full(&name) }).await,
            Self::List(paging) => session.list(v1::ListAudiencesRequest::default(), COLUMNS, &paging).await,
            Self::Update { update, kind } => {
                let audience = Audience { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateAudienceRequest {
                    audience: Some(kind.over(audience)),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteAudienceRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Add(members) => {
                let (name, contacts) = (full(&members.name), members.contacts());
                session.show(v1::AddAudienceMembersRequest { name, contacts, ..Default::default() }).await
            }
            Self::Remove(members) => {
                let (name, contacts) = (full(&members.name), members.contacts());
                session.show(v1::RemoveAudienceMembersRequest { name, contacts, ..Default::default() }).await
            }
            Self::Preview { name, kind, definition, samples } => {
                let source = match name {
                    Some(name) => Source::Name(full(&name)),
                    None => Source::Audience(kind.over(definition.read()?)),
                };
                let request = v1::PreviewAudienceRequest { source: Some(source), sample_size: samples };
                session.show_as(request, view::trigger::audience).await.map(drop)
            }
        }
    }
}
