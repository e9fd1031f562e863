//! `campaigns`: one notification for each person of an audience.

use clap::Subcommand;
use proto::v1::{self, watch_campaign_response::Update as Seen};

use super::campaign_export::{self, Format};
use super::plan::SpecArgs;
use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::{names, pairs, time};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of campaigns shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("state", "state"),
    ("audience", "spec.audience"),
    ("recipients", "progress.recipient_count"),
    ("starts", "start_time"),
    ("ran", "run_time"),
    ("ended", "end_time"),
];

/// What the recipients of a campaign show.
pub const RECIPIENTS: Columns = &[
    ("contact", "contact"),
    ("called", "display_name"),
    ("state", "state"),
    ("why skipped", "skip_reason"),
    ("by", "channel_type"),
    ("delivery", "delivery_state"),
    ("failure", "failure_class"),
    ("code", "failure_code"),
    ("changed", "update_time"),
    ("notification", "notification"),
];

/// One notification for each person of an audience.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli campaigns create monsoon --audience pune --policy urgent --template warning --rate 50
  switchboard-cli campaigns validate --audience pune --policy urgent --template warning
  switchboard-cli campaigns validate monsoon --samples 5
  switchboard-cli campaigns start monsoon
  switchboard-cli campaigns watch monsoon
  switchboard-cli campaigns recipients monsoon --state exhausted --failure fall_over
  switchboard-cli campaigns recipients monsoon --state skipped --count
  switchboard-cli campaigns export monsoon > monsoon.csv
  switchboard-cli campaigns pause monsoon")]
pub enum Campaigns {
    /// Create a campaign, which is a draft until it is started.
    Create {
        #[command(flatten)]
        create: Create,
        #[command(flatten)]
        fields: Fields,
    },
    /// Show a campaign.
    Get(Named),
    /// List campaigns, the newest first.
    List {
        /// Only those in this state; may be given more than once.
        #[arg(long = "state", value_name = "STATE", value_parser = pairs::campaign_state)]
        states: Vec<i32>,
        /// Only runs of this trigger.
        #[arg(long)]
        trigger: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Change a campaign.
    Update {
        #[command(flatten)]
        update: Update,
        #[command(flatten)]
        fields: Fields,
    },
    /// Delete a campaign with what is known of its run.
    Delete(Verb),
    /// Count whom a campaign would reach and why others would be skipped; ends with 65 when it is not valid.
    Validate {
        /// A stored campaign; without it the one of the flags.
        #[arg(required_unless_present = "audience", conflicts_with = "audience")]
        name: Option<String>,
        #[command(flatten)]
        spec: Box<SpecArgs>,
        /// Show so many examples, 0 to 100.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=100))]
        samples: i32,
    },
    /// Start a campaign, at once or at its start time.
    Start(Verb),
    /// Stop sending for a while.
    Pause(Verb),
    /// Go on after a pause.
    Resume(Verb),
    /// Take back what was not handed to a provider yet.
    Cancel(Verb),
    /// Show how far a campaign is.
    Progress(Named),
    /// List the recipients, by state and reasons.
    Recipients {
        /// The campaign.
        name: String,
        #[command(flatten)]
        filter: Filter,
        /// Only count them.
        #[arg(long)]
        count: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Write every recipient with what came of it, as CSV or as JSON lines; a broken connection goes on where it was.
    Export {
        /// The campaign.
        name: String,
        #[command(flatten)]
        filter: Filter,
        /// What to write; without it JSON lines with `--json`, else CSV.
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Go on behind this cursor: CSV has no headings then.
        #[arg(long, default_value = "", hide_default_value = true)]
        cursor: String,
    },
    /// Follow a campaign until it has ended; Ctrl-C stops watching.
    Watch(Named),
}

/// What a campaign is.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Fields {
    #[command(flatten)]
    spec: SpecArgs,
    /// Begin at this time after `start`, such as 2026-11-20T09:00:00+05:30.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    start_time: Option<prost_types::Timestamp>,
}

/// Which recipients are meant; all conditions must hold.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Filter {
    /// Only those in this state; may be given more than once.
    #[arg(long = "state", value_name = "STATE", value_parser = pairs::notification_state)]
    states: Vec<i32>,
    /// Only those skipped for this reason.
    #[arg(long = "skipped", value_name = "REASON", value_parser = pairs::skip_reason)]
    skip_reasons: Vec<i32>,
    /// Only those whose last failure is of this class.
    #[arg(long = "failure", value_name = "CLASS", value_parser = pairs::failure_class)]
    failure_classes: Vec<i32>,
}

impl Filter {
    fn message(self) -> v1::RecipientFilter {
        let Self { states, skip_reasons, failure_classes } = self;
        v1::RecipientFilter { states, skip_reasons, failure_classes }
    }
}

impl Fields {
    fn over(self, mut campaign: v1::Campaign) -> v1::Campaign {
        let before = campaign.spec.is_some();
        self.spec.over(&mut campaign.spec);
        // An update that says nothing of the spec must not send an empty one.
        if !before && campaign.spec.as_ref() == Some(&v1::CampaignSpec::default()) {
            campaign.spec = None;
        }
        campaign.start_time = self.start_time.or(campaign.start_time);
        campaign
    }
}

fn full(name: &str) -> String {
    names::full("campaigns", name)
}

impl Campaigns {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a campaign is not valid.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, fields } => {
                let request = v1::CreateCampaignRequest {
                    campaign_id: create.id(),
                    campaign: Some(fields.over(create.definition.read()?)),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetCampaignRequest { name: full(&name) }).await,
            Self::List { states, trigger, paging } => {
                let trigger = names::optional("triggers", trigger.as_deref());
                session.list(v1::ListCampaignsRequest { states, trigger, ..Default::default() }, COLUMNS, &paging).await
            }
            Self::Update { update, fields } => {
                let campaign =
                    v1::Campaign { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateCampaignRequest {
                    campaign: Some(fields.over(campaign)),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteCampaignRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Validate { name, spec, samples } => validate(session, name, *spec, samples).await,
            Self::Start(Verb { name, etag }) => {
                session.show(v1::StartCampaignRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Pause(Verb { name, etag }) => {
                session.show(v1::PauseCampaignRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Resume(Verb { name, etag }) => {
                session.show(v1::ResumeCampaignRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Cancel(Verb { name, etag }) => {
                session.show(v1::CancelCampaignRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Progress(Named { name }) => {
                let request = v1::GetCampaignProgressRequest { name: full(&name) };
                session.show_as(request, view::campaign::progress).await.map(drop)
            }
            Self::Recipients { name, filter, count, paging } => {
                recipients(session, full(&name), filter, count, &paging).await
            }
            Self::Export { name, filter, format, cursor } => {
                let request =
                    v1::ExportCampaignRecipientsRequest { parent: full(&name), filter: Some(filter.message()), cursor };
                campaign_export::export(session, request, format).await
            }
            Self::Watch(Named { name }) => watch(session, full(&name)).await,
        }
    }
}

async fn validate(session: &mut Session, name: Option<String>, spec: SpecArgs, sample_size: i32) -> Result<(), Error> {
    let source = match name {
        Some(name) => v1::validate_campaign_request::Source::Name(full(&name)),
        None => {
            let mut campaign = None;
            spec.over(&mut campaign);
            v1::validate_campaign_request::Source::Spec(campaign.unwrap_or_default())
        }
    };
    let request = v1::ValidateCampaignRequest { source: Some(source), sample_size };
    let answer = session.show_as(request, view::campaign::validated).await?;
    if answer.valid { Ok(()) } else { Err(Error::FoundWrong("the campaign is not valid".into(), exit::FOUND_WRONG)) }
}

async fn recipients(
    session: &mut Session,
    parent: String,
    filter: Filter,
    count: bool,
    paging: &Paging,
) -> Result<(), Error> {
    let filter = Some(filter.message());
    if count {
        let request = v1::CountCampaignRecipientsRequest { parent, filter };
        return session.show_as(request, |out, it| out.line(&it.count.to_string())).await.map(drop);
    }
    let request = v1::ListCampaignRecipientsRequest { parent, filter, ..Default::default() };
    session.list(request, RECIPIENTS, paging).await
}

async fn watch(session: &mut Session, name: String) -> Result<(), Error> {
    let mut meter = view::campaign::Meter::new(&session.out);
    // The stream begins with the present state, so beginning again needs no cursor.
    let resume = |_: &mut _, _: &_| {};
    let shown =
        session.follow(v1::WatchCampaignRequest { name }, "progress", resume, |out, response| match &response.update {
            Some(Seen::Progress(progress)) => meter.show(out, progress),
            _ => Ok(()),
        });
    let ended = shown.await;
    meter.finish(&mut session.out)?;
    ended
}
