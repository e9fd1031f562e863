//! The two kinds of trigger as arguments: a watched table, and a schedule.

use std::fmt::Display;

use clap::Args;
use proto::v1::{
    AddressKind, AddressMapping, Mapping, Schedule, TableWatch, Trigger, VariableMapping, schedule::When,
    trigger::Kind, variable_mapping::From,
};

use super::plan::{PlanArgs, SpecArgs};
use crate::error::Error;
use crate::input::{definition::Definition, duration, names, pairs, time};

/// Which rows of which table, and how a row becomes a person.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct WatchArgs {
    /// The source.
    #[arg(long)]
    source: Option<String>,
    /// The table, with its schema unless it is public: `grievances` or `office.grievances`.
    #[arg(long)]
    table: Option<String>,
    /// What fires: insert, update, delete, separated by commas; without it insert.
    #[arg(long, value_name = "OPERATIONS", value_delimiter = ',', value_parser = pairs::operation)]
    on: Vec<i32>,
    /// With update: only when one of these columns is set, separated by commas.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// An SQL condition over NEW and OLD, such as `NEW.status = 'open'`.
    #[arg(long, value_name = "SQL")]
    when: Option<String>,
    /// Let a fault in capture fail the user's write.
    #[arg(long)]
    strict: bool,
    /// The column with the id of the person in your own system.
    #[arg(long, value_name = "COLUMN")]
    external_id: Option<String>,
    /// The column with the name of the person.
    #[arg(long = "name", value_name = "COLUMN")]
    display_name: Option<String>,
    /// A column with a phone number; may be given more than once, the preferred first.
    #[arg(long = "phone", value_name = "COLUMN")]
    phones: Vec<String>,
    /// A column with an email address.
    #[arg(long = "email", value_name = "COLUMN")]
    emails: Vec<String>,
    /// A column with a WhatsApp user id.
    #[arg(long = "whatsapp-user", value_name = "COLUMN")]
    whatsapp_users: Vec<String>,
    /// The country of phone numbers without `+`, such as IN.
    #[arg(long)]
    country: Option<String>,
    /// The column with the language.
    #[arg(long, value_name = "COLUMN")]
    locale: Option<String>,
    /// The column with the time zone.
    #[arg(long = "zone-column", value_name = "COLUMN")]
    time_zone: Option<String>,
    /// A variable from a column: `ticket=id`.
    #[arg(long = "var", value_name = "NAME=COLUMN", value_parser = pairs::parse)]
    variables: Vec<(String, String)>,
    /// A variable from an expression: `full=row.first ~ " " ~ row.last`.
    #[arg(long = "var-expression", value_name = "NAME=EXPRESSION", value_parser = pairs::parse)]
    expressions: Vec<(String, String)>,
    /// A variable with the same value for all rows: `office=Pune`.
    #[arg(long = "var-constant", value_name = "NAME=VALUE", value_parser = pairs::parse)]
    constants: Vec<(String, String)>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Ask consent for this purpose; without it `service`.
    #[arg(long)]
    purpose: Option<String>,
    /// Rows with the same values in these columns fire once within --dedup-window.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    dedup: Vec<String>,
    /// How long --dedup remembers, such as 1d.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
    dedup_window: Option<prost_types::Duration>,
    /// Let each notification expire so long after the write, such as 2d.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
    valid_for: Option<prost_types::Duration>,
    #[command(flatten)]
    definition: Definition,
}

impl WatchArgs {
    /// The trigger, with what was given written over what a file says.
    ///
    /// # Errors
    /// A file that is wrong, or a trigger of the other kind.
    pub fn trigger(self) -> Result<Trigger, Error> {
        let mut trigger: Trigger = self.definition.read()?;
        let mut watch = match trigger.kind.take() {
            None => TableWatch::default(),
            Some(Kind::TableWatch(watch)) => watch,
            Some(Kind::Schedule(_)) => return Err(other_kind("a schedule", "triggers schedule")),
        };
        self.over(&mut watch);
        trigger.kind = Some(Kind::TableWatch(watch));
        Ok(trigger)
    }

    fn over(self, watch: &mut TableWatch) {
        if let Some(source) = &self.source {
            watch.source = names::full("sources", source);
        }
        if let Some(table) = &self.table {
            let (schema, table) = table.split_once('.').unwrap_or(("", table));
            (watch.schema, watch.table) = (schema.into(), table.into());
        }
        watch.operations.extend(&self.on);
        if watch.operations.is_empty() {
            watch.operations.push(proto::v1::table_watch::Operation::Insert.into());
        }
        watch.update_columns.extend_from_slice(&self.columns);
        watch.condition = self.when.clone().unwrap_or_else(|| std::mem::take(&mut watch.condition));
        watch.strict |= self.strict;
        self.map(watch.mapping.get_or_insert_default());
        self.plan.over(&mut watch.plan);
        watch.purpose = self.purpose.unwrap_or_else(|| std::mem::take(&mut watch.purpose));
        watch.dedup_columns.extend(self.dedup);
        watch.dedup_window = self.dedup_window.or(watch.dedup_window);
        watch.valid_for = self.valid_for.or(watch.valid_for);
    }

    fn map(&self, mapping: &mut Mapping) {
        let given = |value: &Option<String>, field: &mut String| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        given(&self.external_id, &mut mapping.external_id_column);
        given(&self.display_name, &mut mapping.display_name_column);
        given(&self.country, &mut mapping.default_country);
        given(&self.locale, &mut mapping.locale_column);
        given(&self.time_zone, &mut mapping.time_zone_column);
        for (kind, columns) in [
            (AddressKind::Phone, &self.phones),
            (AddressKind::Email, &self.emails),
            (AddressKind::WhatsappUser, &self.whatsapp_users),
        ] {
            let columns = columns.iter().map(|column| AddressMapping { kind: kind.into(), column: column.clone() });
            mapping.addresses.extend(columns);
        }
        let mut variable = |pairs: &[(String, String)], from: fn(String) -> From| {
            let pairs = pairs.iter().cloned();
            mapping.variables.extend(pairs.map(|(name, value)| VariableMapping { name, from: Some(from(value)) }));
        };
        variable(&self.variables, From::Column);
        variable(&self.expressions, From::Expression);
        variable(&self.constants, |value| From::Constant(pairs::variable(&value)));
    }
}

/// When a campaign begins, and what it sends to whom.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct ScheduleArgs {
    /// A cron expression with seconds: `second minute hour day-of-month month day-of-week`.
    #[arg(long, conflicts_with = "at")]
    cron: Option<String>,
    /// A local time that comes once, such as 2026-11-23T09:00:00.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The time zone, such as Asia/Kolkata.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Send at the local time of each recipient.
    #[arg(long)]
    each_recipient_zone: bool,
    /// What happens to missed fire times: skip, once or all.
    #[arg(long, value_name = "POLICY", value_parser = pairs::misfire_policy)]
    misfire: Option<i32>,
    /// How long a missed fire time may be past and still fire, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
    misfire_horizon: Option<prost_types::Duration>,
    /// Fire times before it do not count.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<prost_types::Timestamp>,
    /// Fire times at it or after do not count.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<prost_types::Timestamp>,
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    definition: Definition,
}

impl ScheduleArgs {
    /// Whether something was given that says when.
    pub fn says_when(&self) -> bool {
        self.cron.is_some() || self.at.is_some() || !self.definition.is_empty()
    }

    /// The trigger, with what was given written over what a file says.
    ///
    /// # Errors
    /// A file that is wrong, or a trigger of the other kind.
    pub fn trigger(self) -> Result<Trigger, Error> {
        let mut trigger: Trigger = self.definition.read()?;
        let mut schedule = match trigger.kind.take() {
            None => Schedule::default(),
            Some(Kind::Schedule(schedule)) => schedule,
            Some(Kind::TableWatch(_)) => return Err(other_kind("a table watch", "triggers watch-table")),
        };
        self.over(&mut schedule);
        trigger.kind = Some(Kind::Schedule(schedule));
        Ok(trigger)
    }

    fn over(self, schedule: &mut Schedule) {
        schedule.when = self.cron.map(When::Cron).or(self.at.map(When::At)).or_else(|| schedule.when.take());
        schedule.time_zone = self.time_zone.unwrap_or_else(|| std::mem::take(&mut schedule.time_zone));
        schedule.each_recipient_zone |= self.each_recipient_zone;
        schedule.misfire_policy = self.misfire.unwrap_or(schedule.misfire_policy);
        schedule.misfire_horizon = self.misfire_horizon.or(schedule.misfire_horizon);
        schedule.start_time = self.from.or(schedule.start_time);
        schedule.end_time = self.until.or(schedule.end_time);
        self.spec.over(&mut schedule.campaign);
    }
}

fn other_kind(is: impl Display, command: &str) -> Error {
    Error::Usage(format!("the file holds {is}: use `switchboard-cli {command}`"))
}
