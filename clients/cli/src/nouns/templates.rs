//! `templates`: what is said, in versions, for each channel type and language.

use clap::Subcommand;
use proto::v1::{self, render_template_request::Source};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::{definition::Definition, names, pairs};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of templates shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("version", "latest_version.version"),
    ("language", "latest_version.default_language"),
    ("updated", "update_time"),
    ("what it is for", "description"),
];

/// What a list of versions shows.
pub const VERSIONS: Columns =
    &[("name", "name"), ("language", "default_language"), ("created", "create_time"), ("why", "change_note")];

/// What is said, in versions.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "The file of a version has default_language, contents and variables; `describe TemplateVersion` \
shows all fields.

Examples:
  switchboard-cli templates create welcome --version-file welcome.toml --set display_name=Welcome
  switchboard-cli templates new-version welcome --file welcome.toml
  switchboard-cli templates render welcome --channel-type sms --language hi --var name=Asha
  switchboard-cli templates render --file draft.toml --channel-type email --examples
  switchboard-cli templates versions welcome"
)]
pub enum Templates {
    /// Create a template, with its first version if a file is given.
    Create {
        #[command(flatten)]
        create: Create,
        /// Read the first version from this JSON or TOML file.
        #[arg(long, value_name = "FILE")]
        version_file: Option<std::path::PathBuf>,
    },
    /// Show a template with its newest version, or one version (`welcome@2`).
    Get(Named),
    /// List templates.
    List(Paging),
    /// Change the names and the description of a template.
    Update(Update),
    /// Delete a template.
    Delete(Verb),
    /// Add a version, which is the newest from then on.
    NewVersion {
        /// The template.
        name: String,
        #[command(flatten)]
        definition: Definition,
        /// Do it only if this is still the etag of the template.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        /// Check everything and show the result, but store nothing.
        #[arg(long)]
        validate_only: bool,
    },
    /// List the versions of a template.
    Versions {
        /// The template.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show how a person would get it, without sending.
    Render(Render),
}

/// What is rendered, and for whom.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Render {
    /// A template (`welcome`) or a version of it (`welcome@2`).
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// Render this version, which is not stored yet.
    #[command(flatten)]
    definition: Definition,
    /// The channel type: whatsapp, sms, voice or email.
    #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
    channel_type: i32,
    /// The language; without it the contact's, else the default one.
    #[arg(long, default_value = "", hide_default_value = true)]
    language: String,
    /// The value of a variable: `name=Asha`.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pairs::parse)]
    variables: Vec<(String, String)>,
    /// Use the name and the attributes of this contact.
    #[arg(long)]
    contact: Option<String>,
    /// Let the examples of variables stand in for values that are not given.
    #[arg(long)]
    examples: bool,
}

fn full(name: &str) -> String {
    names::full("templates", name)
}

impl Templates {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, version_file } => {
                let initial_version = match version_file {
                    Some(file) => Some(Definition { file: Some(file), set: Vec::new() }.read()?),
                    None => None,
                };
                let request = v1::CreateTemplateRequest {
                    template_id: create.id(),
                    template: Some(create.definition.read()?),
                    initial_version,
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => match names::version("templates", &name) {
                name if name.contains("/versions/") => session.show(v1::GetTemplateVersionRequest { name }).await,
                name => session.show(v1::GetTemplateRequest { name }).await,
            },
            Self::List(paging) => session.list(v1::ListTemplatesRequest::default(), COLUMNS, &paging).await,
            Self::Update(update) => {
                let template =
                    v1::Template { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateTemplateRequest {
                    template: Some(template),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteTemplateRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::NewVersion { name, definition, etag, validate_only } => {
                let request = v1::CreateTemplateVersionRequest {
                    parent: full(&name),
                    template_version: Some(definition.read()?),
                    etag,
                    validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Versions { name, paging } => {
                let request = v1::ListTemplateVersionsRequest { parent: full(&name), ..Default::default() };
                session.list(request, VERSIONS, &paging).await
            }
            Self::Render(render) => render.run(session).await,
        }
    }
}

impl Render {
    async fn run(self, session: &mut Session) -> Result<(), Error> {
        let source = match &self.name {
            Some(name) => Source::Name(names::version("templates", name)),
            None => Source::TemplateVersion(self.definition.read()?),
        };
        let request = v1::RenderTemplateRequest {
            source: Some(source),
            channel_type: self.channel_type,
            language: self.language,
            variables: pairs::variables(&self.variables),
            contact: names::optional("contacts", self.contact.as_deref()),
            use_examples: self.examples,
        };
        let answer = session.show_as(request, view::template::rendered).await?;
        if answer.missing_variables.is_empty() {
            return Ok(());
        }
        let missing = answer.missing_variables.join(", ");
        Err(Error::FoundWrong(format!("variables without a value: {missing}"), exit::FOUND_WRONG))
    }
}
