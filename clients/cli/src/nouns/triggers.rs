//! `triggers`: what wakes the system without a caller. The arguments of both kinds are in `trigger_kinds`;
//! what only looks (dry run, SQL, preview) is in `trigger_trials`.

use clap::Subcommand;
use proto::v1::{self, Trigger};

use super::shared::{Named, Paging, Update, Verb, mask};
use super::trigger_kinds::{ScheduleArgs, WatchArgs};
use super::trigger_trials;
use crate::error::Error;
use crate::input::{names, pairs, time};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of triggers shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("state", "state"),
    ("table", "table_watch.table"),
    ("cron", "schedule.cron"),
    ("at", "schedule.at"),
    ("next", "schedule.next_fire_time"),
    ("last fired", "last_fire_time"),
    ("firings", "firings"),
    ("failure", "failure"),
];

/// What a list of firings shows.
pub const FIRINGS: Columns = &[
    ("name", "name"),
    ("state", "state"),
    ("why", "reason"),
    ("field", "field"),
    ("what", "operation"),
    ("for", "nominal_time"),
    ("became", "target"),
    ("happened", "occur_time"),
    ("in words", "description"),
];

/// What wakes the system without a caller: watched tables and schedules.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli triggers watch-table grievances --source demo --table grievances --phone mobile --country IN --var ticket=id --policy urgent --template grievance
  switchboard-cli triggers watch-table closed --source demo --table office.grievances --on update --columns status --when \"NEW.status = 'closed'\" --phone mobile --channel-type sms --template closed --disabled
  switchboard-cli triggers schedule monday --cron '0 0 9 * * MON' --time-zone Asia/Kolkata --audience staff --policy urgent --template reminder
  switchboard-cli triggers preview --cron '0 30 2 * * *' --time-zone Europe/Berlin --count 10
  switchboard-cli triggers dry-run grievances --where 'id > 100'
  switchboard-cli triggers firings grievances --state unmappable
  switchboard-cli triggers replay grievances/17 --reread
  switchboard-cli triggers sql grievances > capture.sql")]
pub enum Triggers {
    /// Watch a table: its rows become notifications.
    WatchTable {
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        watch: Box<WatchArgs>,
    },
    /// Begin a campaign at the times of a schedule.
    Schedule {
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        schedule: Box<ScheduleArgs>,
    },
    /// List triggers.
    List {
        /// Only those that watch a table of this source.
        #[arg(long)]
        source: Option<String>,
        /// Only those in this state: enabled, disabled or broken.
        #[arg(long = "state", value_name = "STATE", value_parser = pairs::trigger_state)]
        states: Vec<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a trigger.
    Get(Named),
    /// Change a trigger; its kind and its table cannot change.
    Update(Update),
    /// Put the capture in place, or arm the schedule.
    Enable(Verb),
    /// Take the capture away, or disarm the schedule.
    Disable(Verb),
    /// Show what a table watch would make of rows that exist, without sending; ends with 65 when it is not valid.
    DryRun {
        /// A stored trigger; without it the trigger of the flags and the file.
        #[arg(required_unless_present_any = ["file", "table"], conflicts_with_all = ["file", "table"])]
        name: Option<String>,
        /// An SQL condition that chooses the rows, such as `id > 100`.
        #[arg(long = "where", value_name = "SQL", default_value = "", hide_default_value = true)]
        row_condition: String,
        /// Read so many rows, 1 to 1000.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
        #[command(flatten)]
        watch: Box<WatchArgs>,
    },
    /// List what a trigger did, the newest first; `-` is all triggers.
    Firings {
        /// The trigger.
        name: String,
        /// Only those in this state: pending, fired, unmappable, skipped or failed.
        #[arg(long = "state", value_name = "STATE", value_parser = pairs::firing_state)]
        states: Vec<i32>,
        /// Only those with this reason, such as address_invalid.
        #[arg(long = "reason", value_name = "REASON", value_parser = pairs::firing_reason)]
        reasons: Vec<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one firing with its row: `grievances/17`.
    Firing {
        /// The firing.
        name: String,
    },
    /// Map the row of a firing again and fire it: `grievances/17`.
    Replay {
        /// The firing.
        name: String,
        /// Read the row again from the table, so that a correction there counts.
        #[arg(long)]
        reread: bool,
    },
    /// Fire a trigger by hand: a table watch for rows that exist, a schedule for now.
    Fire {
        /// The trigger.
        name: String,
        /// For a table watch: an SQL condition that chooses the rows, such as `id = 7`.
        #[arg(long = "where", value_name = "SQL", default_value = "", hide_default_value = true)]
        row_condition: String,
        /// For a table watch: how many rows at most, 1 to 10000.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        limit: i32,
        /// Check everything and show the result, but store nothing.
        #[arg(long)]
        validate_only: bool,
    },
    /// Print the SQL of a capture, for a database administrator to review or run.
    Sql {
        /// A stored trigger; without it the trigger of the flags and the file.
        #[arg(required_unless_present_any = ["file", "table"], conflicts_with_all = ["file", "table"])]
        name: Option<String>,
        /// Print the SQL that takes it away.
        #[arg(long)]
        uninstall: bool,
        #[command(flatten)]
        watch: Box<WatchArgs>,
    },
    /// Show the next fire times of a schedule, stored or not.
    Preview {
        /// A stored trigger; without it the schedule of the flags.
        name: Option<String>,
        /// Show so many, 1 to 100.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=100))]
        count: i32,
        /// Begin at this time; without it now.
        #[arg(long = "preview-from", value_name = "TIME", value_parser = time::parse)]
        from_time: Option<prost_types::Timestamp>,
        #[command(flatten)]
        schedule: Box<ScheduleArgs>,
    },
    /// Delete a trigger; a capture is taken away without a trace.
    Delete {
        #[command(flatten)]
        which: Verb,
        /// Delete it although the source cannot be reached; the capture stays there until the uninstall SQL is run.
        #[arg(long)]
        leave_capture: bool,
    },
}

/// A trigger that is created.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct New {
    /// The id: 2 to 63 lower-case letters, digits and hyphens, beginning with a letter.
    id: String,
    /// Create it disabled; nothing is made in the source.
    #[arg(long)]
    disabled: bool,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    validate_only: bool,
}

impl New {
    fn request(self, trigger: Trigger) -> v1::CreateTriggerRequest {
        let trigger_id = self.id.rsplit('/').next().unwrap_or_default().to_owned();
        let (disabled, validate_only) = (self.disabled, self.validate_only);
        v1::CreateTriggerRequest { trigger_id, trigger: Some(trigger), disabled, validate_only, ..Default::default() }
    }
}

fn full(name: &str) -> String {
    names::full("triggers", name)
}

impl Triggers {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a dry run found the definition wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::WatchTable { new, watch } => session.show(new.request(watch.trigger()?)).await,
            Self::Schedule { new, schedule } => session.show(new.request(schedule.trigger()?)).await,
            Self::List { source, states, paging } => {
                let source = names::optional("sources", source.as_deref());
                session.list(v1::ListTriggersRequest { source, states, ..Default::default() }, COLUMNS, &paging).await
            }
            Self::Get(Named { name }) => session.show(v1::GetTriggerRequest { name: full(&name) }).await,
            Self::Update(update) => {
                let trigger = Trigger { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateTriggerRequest {
                    trigger: Some(trigger),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Enable(Verb { name, etag }) => {
                session.show(v1::EnableTriggerRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Disable(Verb { name, etag }) => {
                session.show(v1::DisableTriggerRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Delete { which: Verb { name, etag }, leave_capture } => {
                let name = full(&name);
                session.show(v1::DeleteTriggerRequest { name, leave_capture, etag, ..Default::default() }).await
            }
            Self::Firings { name, states, reasons, paging } => {
                let request = v1::ListFiringsRequest { parent: full(&name), states, reasons, ..Default::default() };
                session.list(request, FIRINGS, &paging).await
            }
            Self::Firing { name } => session.show(v1::GetFiringRequest { name: names::firing(&name) }).await,
            Self::Replay { name, reread } => {
                let (name, reread_row) = (names::firing(&name), reread);
                session.show(v1::ReplayFiringRequest { name, reread_row, ..Default::default() }).await
            }
            Self::Fire { name, row_condition, limit, validate_only } => {
                let name = full(&name);
                let request =
                    v1::FireTriggerRequest { name, row_condition, limit, validate_only, ..Default::default() };
                session.show_as(request, view::trigger::fired).await.map(drop)
            }
            Self::DryRun { name, row_condition, limit, watch } => {
                trigger_trials::dry_run(session, name, *watch, row_condition, limit).await
            }
            Self::Sql { name, uninstall, watch } => trigger_trials::sql(session, name, *watch, uninstall).await,
            Self::Preview { name, count, from_time, schedule } => {
                trigger_trials::preview(session, name, *schedule, from_time, count).await
            }
        }
    }
}
