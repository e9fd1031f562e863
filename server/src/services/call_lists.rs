//! Call lists: people whom no channel reached, for a person to call, mailed to those who will.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::ChannelType,
    schedule::{Schedule, Spec, When},
};
use serde::{Deserialize, Serialize};

use super::{Context, Error, Result, Violation, channels, contacts::Contact, error::all_right, etag, work::Work};
pub use crate::storage::call_lists::{CallListRow, EntryRow, Show};
use crate::{
    storage::{self, Conn, call_lists, contacts},
    wake::Topic,
};

/// To whom, over which channel and when a call list is mailed, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The mailboxes of those who will call.
    pub emails: Vec<String>,
    /// The slug of the email channel.
    pub channel: String,
    /// When it is mailed.
    pub mailing: Mailing,
}

/// When a call list is mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mailing {
    /// At the times of a schedule.
    Schedule {
        /// A cron expression with seconds.
        cron: String,
        /// The IANA zone of the expression.
        time_zone: String,
    },
    /// So many milliseconds after the first entry since the last mail.
    AfterFirstEntry(i64),
}

impl Mailing {
    /// When entries of which the first came at `first_entry_at` are mailed, seen from `now`; none when the schedule never
    /// comes again.
    #[must_use]
    pub fn due_at(&self, first_entry_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Schedule { .. } => self.schedule().ok()?.next_after(first_entry_at.max(now)),
            Self::AfterFirstEntry(ms) => first_entry_at.checked_add_signed(TimeDelta::try_milliseconds(*ms)?),
        }
    }

    /// When it is mailed next; none when nobody waits and no schedule says.
    fn next(&self, first_entry_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Schedule { .. } => self.due_at(now, now),
            Self::AfterFirstEntry(_) => self.due_at(first_entry_at?, now),
        }
    }

    fn schedule(&self) -> std::result::Result<Schedule, Vec<domain::violation::Violation>> {
        let (expression, zone) = match self {
            Self::Schedule { cron, time_zone } => (cron.clone(), time_zone.clone()),
            Self::AfterFirstEntry(_) => return Err(Vec::new()),
        };
        Schedule::new(&Spec {
            when: When::Cron { expression, zone },
            each_recipient_zone: false,
            misfire: domain::schedule::Misfire::default(),
        })
    }
}

/// A call list.
#[derive(Debug, Clone)]
pub struct CallList {
    /// What stands of it.
    pub row: CallListRow,
    /// To whom and when it is mailed.
    pub definition: Definition,
    /// When it is mailed next.
    pub next_mail_at: Option<DateTime<Utc>>,
}

/// A call list to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// To whom and when it is mailed.
    pub definition: Definition,
}

/// What is to be written of a call list; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// The mailboxes; they replace all others.
    pub emails: Option<Vec<String>>,
    /// The slug of the email channel.
    pub channel: Option<String>,
    /// When it is mailed.
    pub mailing: Option<Mailing>,
}

/// The name of a call list in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("callLists/{slug}")
}

/// Creates a call list.
///
/// # Errors
/// [`Error::Invalid`], [`Error::AlreadyExists`].
pub async fn create(work: &mut Work, new: New) -> Result<CallList> {
    let now = work.now();
    all_right(violations(work.conn(), &new.definition, now).await?)?;
    if !call_lists::list(work.conn(), Some(&new.slug), "", 1).await?.is_empty() {
        return Err(Error::AlreadyExists(name_of(&new.slug)));
    }
    let document = serde_json::to_value(&new.definition).map_err(storage::Error::from)?;
    call_lists::insert(work.conn(), &new.slug, &new.display_name, &document, now).await?;
    one(work.conn(), &new.slug, now).await
}

/// One call list.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<CallList> {
    one(&mut *context.lists.conn().await?, slug, context.clock.now()).await
}

/// A page of call lists, by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<CallList>> {
    let rows = call_lists::list(&mut *context.lists.conn().await?, None, after, limit).await?;
    let now = context.clock.now();
    rows.into_iter().map(|row| read(row, now)).collect()
}

/// Changes a call list; entries that wait follow the new schedule.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<CallList> {
    let now = work.now();
    let before = locked(work.conn(), slug, etag, now).await?;
    let definition = Definition {
        emails: change.emails.unwrap_or_else(|| before.definition.emails.clone()),
        channel: change.channel.unwrap_or_else(|| before.definition.channel.clone()),
        mailing: change.mailing.unwrap_or_else(|| before.definition.mailing.clone()),
    };
    all_right(violations(work.conn(), &definition, now).await?)?;
    let display_name = change.display_name.unwrap_or_else(|| before.row.display_name.clone());
    let due_at = before.row.first_waiting_at.and_then(|first| definition.mailing.due_at(first, now));
    let document = serde_json::to_value(&definition).map_err(storage::Error::from)?;
    call_lists::update(work.conn(), before.row.id, &display_name, &document, due_at, now).await?;
    work.wake(Topic::Planner);
    one(work.conn(), slug, now).await
}

/// Deletes a call list to which no policy leads and on which nobody waits.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let now = work.now();
    let before = locked(work.conn(), slug, etag, now).await?;
    let waiting = (before.row.waiting > 0).then(|| format!("{} entries that were not mailed yet", before.row.waiting));
    if let Some(used_by) = call_lists::used_by(work.conn(), slug).await?.or(waiting) {
        return Err(Error::InUse { name: name_of(slug), used_by });
    }
    Ok(call_lists::delete(work.conn(), before.row.id).await?)
}

/// A page of the entries of a call list, the newest first, each with its contact where that still exists.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn entries(
    context: &Context,
    slug: &str,
    show: Show,
    below: i64,
    limit: i64,
) -> Result<Vec<(EntryRow, Option<Contact>)>> {
    let conn = &mut *context.lists.conn().await?;
    let list = one(conn, slug, context.clock.now()).await?;
    let rows = call_lists::entries(conn, list.row.id, show, below, limit).await?;
    let people: Vec<i64> = rows.iter().map(|e| e.contact_id).collect();
    let people = contacts::load(conn, &people).await?;
    let people: HashMap<i64, Contact> = people.into_iter().map(|c| (c.id, c)).collect();
    Ok(rows.into_iter().map(|row| (row.clone(), people.get(&row.contact_id).cloned())).collect())
}

/// Everything that is wrong with a definition in the world as it stands.
async fn violations(conn: &mut Conn, definition: &Definition, now: DateTime<Utc>) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    match storage::channels::find(conn, &definition.channel).await? {
        Some(channel) if channel.channel_type == ChannelType::Email => {}
        Some(channel) => {
            let words = format!("is a channel of type {}, not EMAIL", channel.channel_type);
            found.push(Violation::new("call_list.channel", words));
        }
        None => {
            let words = format!("{} does not exist", channels::name_of(&definition.channel));
            let missing = Violation::new("call_list.channel", words).because("REFERENCE_NOT_FOUND");
            found.push(missing.with("name", channels::name_of(&definition.channel)));
        }
    }
    if let Mailing::Schedule { cron, time_zone } = &definition.mailing {
        found.extend(schedule_violations(&definition.mailing, cron, time_zone, now));
    }
    Ok(found)
}

fn schedule_violations(mailing: &Mailing, cron: &str, time_zone: &str, now: DateTime<Utc>) -> Vec<Violation> {
    if time_zone.parse::<chrono_tz::Tz>().is_err() {
        let words = "is not in the IANA database; write it like Asia/Kolkata";
        let violation = Violation::new("call_list.schedule.time_zone", words).because("TIME_ZONE_UNKNOWN");
        return vec![violation.with("time_zone", time_zone)];
    }
    let words = match mailing.schedule() {
        Ok(schedule) if schedule.next_after(now).is_some() => return Vec::new(),
        Ok(_) => vec!["never comes".to_owned()],
        Err(found) => found.into_iter().map(|v| v.description).collect(),
    };
    let violation =
        |words| Violation::new("call_list.schedule.cron", words).because("CRON_INVALID").with("expression", cron);
    words.into_iter().map(violation).collect()
}

async fn one(conn: &mut Conn, slug: &str, now: DateTime<Utc>) -> Result<CallList> {
    let row = call_lists::list(conn, Some(slug), "", 1).await?.pop();
    read(row.ok_or_else(|| Error::NotFound(name_of(slug)))?, now)
}

fn read(row: CallListRow, now: DateTime<Utc>) -> Result<CallList> {
    let definition: Definition = serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?;
    let next_mail_at = row.due_at.or_else(|| definition.mailing.next(row.first_waiting_at, now));
    Ok(CallList { row, definition, next_mail_at })
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str, now: DateTime<Utc>) -> Result<CallList> {
    call_lists::lock(conn, slug).await?;
    let list = one(conn, slug, now).await?;
    etag::check(&name_of(slug), etag, list.row.version)?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_due_after_its_first_entry_or_at_the_next_time_of_its_schedule() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (first, now) = (at("2026-11-20T08:00:00Z"), at("2026-11-20T08:05:00Z"));
        assert_eq!(Mailing::AfterFirstEntry(600_000).due_at(first, now), Some(at("2026-11-20T08:10:00Z")));
        let cron = "0 0 9 * * *".to_owned();
        let schedule = Mailing::Schedule { cron, time_zone: "Asia/Kolkata".to_owned() };
        assert_eq!(schedule.due_at(first, now), Some(at("2026-11-21T03:30:00Z")));
        assert_eq!(Mailing::AfterFirstEntry(1).next(None, now), None);
    }
}
