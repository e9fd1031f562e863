//! `sources`: each a Postgres that is watched or queried.

use clap::Subcommand;
use proto::v1::{self, Source, source::Connection};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::names;
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of sources shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("state", "state"),
    ("waiting", "waiting_count"),
    ("last row", "last_capture_time"),
    ("last error", "last_error"),
];

/// Postgres databases that are watched or queried.
#[derive(Debug, Subcommand)]
#[command(after_help = "The URL is never given here: it is in an environment variable or a file of the server.

Examples:
  switchboard-cli sources create grievances --url-env GRIEVANCES_URL
  switchboard-cli sources create own --own-database
  switchboard-cli sources check grievances
  switchboard-cli sources list")]
pub enum Sources {
    /// Create a source; the connection is tried.
    Create {
        #[command(flatten)]
        create: Create,
        #[command(flatten)]
        fields: Fields,
    },
    /// Show a source.
    Get(Named),
    /// List sources.
    List(Paging),
    /// Change a source.
    Update {
        #[command(flatten)]
        update: Update,
        #[command(flatten)]
        fields: Fields,
    },
    /// Delete a source and what Switchboard made in its database.
    Delete(Verb),
    /// Check that a source can be reached and that its captures are in place; ends with 65 when it is not in order.
    Check(Named),
}

/// Where a source is.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Fields {
    /// Switchboard's own database.
    #[arg(long, conflicts_with_all = ["url_env", "url_file"])]
    own_database: bool,
    /// The environment variable of the server with the URL.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "url_file")]
    url_env: Option<String>,
    /// The file on the server with the URL.
    #[arg(long, value_name = "FILE")]
    url_file: Option<String>,
    /// The role under which queries and dry runs are made.
    #[arg(long, value_name = "ROLE")]
    query_role: Option<String>,
}

impl Fields {
    fn over(self, mut source: Source) -> Source {
        if self.own_database {
            source.connection = Some(Connection::OwnDatabase(true));
        }
        if let Some(variable) = self.url_env {
            source.connection = Some(Connection::UrlEnv(variable));
        }
        if let Some(file) = self.url_file {
            source.connection = Some(Connection::UrlFile(file));
        }
        source.query_role = self.query_role.unwrap_or(source.query_role);
        source
    }
}

fn full(name: &str) -> String {
    names::full("sources", name)
}

impl Sources {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a check is not in order.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, fields } => {
                let request = v1::CreateSourceRequest {
                    source_id: create.id(),
                    source: Some(fields.over(create.definition.read()?)),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetSourceRequest { name: full(&name) }).await,
            Self::List(paging) => session.list(v1::ListSourcesRequest::default(), COLUMNS, &paging).await,
            Self::Update { update, fields } => {
                let source = Source { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateSourceRequest {
                    source: Some(fields.over(source)),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteSourceRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Check(Named { name }) => {
                let request = v1::CheckSourceRequest { name: full(&name) };
                let answer = session.show_as(request, view::checks::source).await?;
                let wrong = || Error::FoundWrong("the source is not in order".into(), exit::FOUND_WRONG);
                if answer.ok { Ok(()) } else { Err(wrong()) }
            }
        }
    }
}
