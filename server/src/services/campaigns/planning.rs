//! From an audience to notifications, a page at a time, each page one transaction: the people who are new in the run, their
//! notifications with first deliveries, and how far the audience was read.
//!
//! A list or a filter is read on where the last page ended. A query is run again after a crash: whoever the run holds from an
//! earlier reading was planned then, whoever comes twice in one reading is a duplicate.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{channel::Lane, schedule::zone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Campaign, name, pace, read, spec::LocalTime, spread, verbs};
use crate::{
    services::{
        Context, Error, Result,
        audiences::{
            reading::{self, Fetched, Person, Reader, Taken},
            sql,
        },
        notifications::{self, NewNotification},
        plans::PinnedPlan,
        templates::{CONTACT, contact_value},
        work::Work,
    },
    storage::{
        self, audiences,
        campaigns::planning::{self, Held},
    },
    wake::Topic,
};

/// People of one page.
pub const PAGE: usize = 1000;
/// How long a planner holds a campaign without having written a page, in seconds of machine time.
pub const LEASE_SECS: f64 = 60.0;
/// When a source that was away is asked again, in seconds of machine time.
const SOURCE_PAUSE_SECS: f64 = 10.0;
/// Rows that are no person which are kept as examples.
const MAX_EXAMPLES: usize = 20;

/// How far an audience was planned, as it is stored with its campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The contact after which the next page begins, for lists and filters.
    pub after: i64,
    /// How often a query was run for this campaign.
    pub reading: i32,
    /// Rows that were read, in this reading.
    pub rows: i64,
    /// How often someone came again, in this reading.
    pub duplicates: i64,
    /// Rows that are no person, in this reading.
    pub unmappable: i64,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// A row of a query that is no person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its place in the result, from 1.
    pub row: i64,
    /// What is wrong with it, without personal data in full.
    pub problem: String,
}

impl Cursor {
    /// Reads what was stored; a campaign that was not planned yet has none.
    #[must_use]
    pub fn read(stored: Option<&Value>) -> Self {
        stored.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
    }

    fn add(&mut self, page: &Fetched, taken: &Taken, met: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let room = MAX_EXAMPLES.saturating_sub(self.examples.len());
        let rows = self.rows;
        let example = |(place, why): &(usize, domain::mapping::Unmappable)| Example {
            row: rows + count(*place) + 1,
            problem: why.to_string(),
        };
        self.examples.extend(taken.unmappable.iter().take(room).map(example));
        self.rows += count(page.len());
        self.duplicates += count(taken.duplicates) + count(met);
        self.unmappable += count(taken.unmappable.len());
        self.after = page.last_contact().unwrap_or(self.after);
    }
}

/// A campaign that this process plans.
#[derive(Debug)]
pub struct Run {
    /// Its key.
    pub id: i64,
    token: Uuid,
    reader: Option<Reader>,
    /// A page that was fetched and is not written yet: a transaction that met another one is tried again with it.
    fetched: Option<Fetched>,
    /// Whether a reading begins with the next page.
    begins: bool,
}

/// What a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paged {
    /// So many people were planned, and there is more.
    More(usize),
    /// The whole audience is planned.
    Done,
    /// The campaign does not run any more, or another process plans it.
    Lost,
}

impl Run {
    /// A campaign that was claimed under `token`.
    #[must_use]
    pub const fn new(id: i64, token: Uuid) -> Self {
        Self { id, token, reader: None, fetched: None, begins: true }
    }

    /// Plans one page.
    ///
    /// # Errors
    /// What storage says: the page may be tried again. What is wrong with the audience ends or delays the campaign instead.
    pub async fn page(&mut self, context: &Context) -> Result<Paged> {
        match self.try_page(context).await {
            Err(error) if sql::may_pass(&error) && !matches!(error, Error::Storage(_)) => {
                self.delay(context, &error).await?;
                Ok(Paged::Lost)
            }
            Err(error @ (Error::Outside { .. } | Error::Invalid(_) | Error::ReferenceNotFound { .. })) => {
                self.give_up(context, &error).await?;
                Ok(Paged::Lost)
            }
            other => other,
        }
    }

    async fn try_page(&mut self, context: &Context) -> Result<Paged> {
        if !self.fetch(context).await? {
            return Ok(Paged::Lost);
        }
        let mut work = Work::begin(context).await?;
        let held = planning::hold(work.conn(), self.id, self.token, LEASE_SECS).await?;
        let (Some(campaign), Some(fetched)) = (held.map(read).transpose()?, &self.fetched) else {
            return Ok(Paged::Lost);
        };
        let mut cursor = self.cursor(&campaign);
        let (now, done) = (work.now(), fetched.is_empty());
        let planned = if done { 0 } else { write(context, &mut work, &campaign, &mut cursor, fetched).await? };
        let stored = serde_json::to_value(&cursor).map_err(storage::Error::from)?;
        planning::save(work.conn(), self.id, &stored, done, now).await?;
        for topic in [Topic::Relay, Topic::Fallback, Topic::Events] {
            work.wake(topic);
        }
        work.commit(context).await?;
        (self.fetched, self.begins) = (None, false);
        Ok(if done { Paged::Done } else { Paged::More(planned) })
    }

    /// Fetches the page that is to be written, unless it is there already. Reading happens before the transaction: a source may
    /// be slow. False when the campaign is gone.
    async fn fetch(&mut self, context: &Context) -> Result<bool> {
        if self.reader.is_none() {
            let conn = &mut *context.lists.conn().await?;
            let Some(campaign) = storage::campaigns::load(conn, self.id).await?.map(read).transpose()? else {
                return Ok(false);
            };
            let slug = &campaign.definition.spec.audience;
            let missing = || Error::ReferenceNotFound { field: "audience".into(), name: format!("audiences/{slug}") };
            let audience = audiences::find(conn, slug).await?.ok_or_else(missing)?;
            let after = Cursor::read(campaign.row.plan_cursor.as_ref()).after;
            self.reader = Some(Reader::open(context, &audience, after).await?);
        }
        if let (None, Some(reader)) = (&self.fetched, &mut self.reader) {
            self.fetched = Some(reader.fetch(context, PAGE).await?);
        }
        Ok(true)
    }

    /// How far the planning is. A query that was run again counts from its beginning.
    fn cursor(&self, campaign: &Campaign) -> Cursor {
        let stored = Cursor::read(campaign.row.plan_cursor.as_ref());
        let resumes = self.reader.as_ref().is_some_and(Reader::resumes);
        match (self.begins, resumes) {
            (true, true) => Cursor { reading: stored.reading.max(1), ..stored },
            (true, false) => Cursor { reading: stored.reading + 1, ..Cursor::default() },
            (false, _) => stored,
        }
    }

    /// Gives the campaign back for a while: its source is away, and nothing of it is lost.
    async fn delay(&self, context: &Context, error: &Error) -> Result<()> {
        let reason = error.to_string();
        tracing::warn!(campaign.id = self.id, reason, "the planning of a campaign waits for its source");
        let conn = &mut *context.lists.conn().await?;
        Ok(planning::release(conn, self.token, &[self.id], SOURCE_PAUSE_SECS, Some(&reason)).await?)
    }

    /// Ends a campaign whose audience cannot be read and of which nobody was planned; else its planning waits, for someone to
    /// mend the audience or to cancel it.
    async fn give_up(&self, context: &Context, error: &Error) -> Result<()> {
        let reason = words(error);
        let mut work = Work::begin(context).await?;
        let held = planning::hold(work.conn(), self.id, self.token, LEASE_SECS).await?;
        let Some(campaign) = held else { return Ok(()) };
        if Cursor::read(campaign.plan_cursor.as_ref()).rows > 0 {
            planning::release(work.conn(), self.token, &[self.id], SOURCE_PAUSE_SECS, Some(&reason)).await?;
        } else {
            verbs::fail(&mut work, &campaign, &reason).await?;
            crate::services::schedules::run_failed(&mut work, campaign.id, &reason).await?;
        }
        work.commit(context).await
    }
}

/// Everything that an error says, for the one who looks at a campaign.
fn words(error: &Error) -> String {
    match error {
        Error::Invalid(found) => {
            let words: Vec<String> = found.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
            words.join("; ")
        }
        other => other.to_string(),
    }
}

/// Writes a page in the caller's transaction. Says how many people were planned.
async fn write(
    context: &Context,
    work: &mut Work,
    campaign: &Campaign,
    cursor: &mut Cursor,
    page: &Fetched,
) -> Result<usize> {
    let taken = reading::take(work, page).await?;
    let id = campaign.row.id;
    let contacts: Vec<i64> = taken.people.iter().map(|person| person.contact_id).collect();
    let held = planning::take_in(work.conn(), id, &contacts, cursor.reading).await?;
    cursor.add(page, &taken, contacts.len() - held.len());
    let new: Vec<&Person> = taken.people.iter().filter(|p| held.get(&p.contact_id) == Some(&Held::New)).collect();
    let items = items(context, work, campaign, &new).await?;
    notifications::begin(context, work.conn(), &items).await?;
    if campaign.definition.spec.at_send {
        let ids: Vec<Uuid> = items.iter().map(|item| item.id).collect();
        storage::planning::set_at_send(work.conn(), &ids).await?;
    }
    // Groups may just have been made: they are held back before anybody can grant them.
    if campaign.definition.spec.window.is_some() {
        let now = work.now();
        pace(work.conn(), id, &campaign.definition.spec, now).await?;
        spread(work.conn(), id, &campaign.definition.spec, now).await?;
    }
    Ok(items.len())
}

async fn items(
    context: &Context,
    work: &mut Work,
    campaign: &Campaign,
    people: &[&Person],
) -> Result<Vec<NewNotification>> {
    let (spec, now) = (&campaign.definition.spec, work.now());
    let unpinned = || storage::Error::Corrupt(format!("{} runs without a plan", name(&campaign.row.slug)));
    let plan = context.plans.load(work.conn(), campaign.row.plan_id.ok_or_else(unpinned)?).await?;
    let valid_for = spec.valid_for_ms.and_then(TimeDelta::try_milliseconds).unwrap_or(plan.valid_for);
    let ids: Vec<i64> = people.iter().map(|p| p.contact_id).collect();
    let zones = match &campaign.definition.local {
        Some(_) => planning::zones(work.conn(), &ids).await?,
        None => HashMap::new(),
    };
    let mut own = of_contacts(work, &plan, &ids).await?;
    let mut item = |person: &&Person| {
        let zone = zones.get(&person.contact_id).map(String::as_str);
        let after = campaign.definition.local.as_ref().map(|local| comes(local, zone)).filter(|at| *at > now);
        NewNotification {
            id: Uuid::now_v7(),
            contact_id: person.contact_id,
            plan: std::sync::Arc::clone(&plan),
            campaign_id: Some(campaign.row.id),
            trigger_id: None,
            weight: spec.weight,
            lane: Lane::Bulk,
            purpose: spec.purpose.clone(),
            variables: Value::Object(variables(&spec.variables, &person.variables, own.remove(&person.contact_id))),
            // A person whose time comes later has as long as everybody else.
            valid_until: Some(after.unwrap_or(now) + valid_for),
            deliver_after: after,
        }
    };
    Ok(people.iter().map(&mut item).collect())
}

/// When a local time comes for a person in this zone.
fn comes(local: &LocalTime, own: Option<&str>) -> DateTime<Utc> {
    let known = |name: &str| name.parse().ok();
    let zone = own.and_then(known).or_else(|| known(&local.default_zone)).unwrap_or(chrono_tz::Tz::UTC);
    zone::resolve(zone, local.at).0
}

/// Who each person is, for templates that say it; empty when none does.
pub(in crate::services) async fn of_contacts(
    work: &mut Work,
    plan: &PinnedPlan,
    ids: &[i64],
) -> Result<HashMap<i64, Value>> {
    if !plan.says_contact {
        return Ok(HashMap::new());
    }
    let found = storage::contacts::load(work.conn(), ids).await?;
    Ok(found.into_iter().map(|contact| (contact.id, contact_value(&contact))).collect())
}

/// What the audience says of a person wins over what holds for all.
pub(super) fn variables(
    all: &Map<String, Value>,
    own: &Map<String, Value>,
    contact: Option<Value>,
) -> Map<String, Value> {
    let mut merged = all.clone();
    merged.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged.extend(contact.map(|contact| (CONTACT.to_owned(), contact)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_own_variables_win_and_the_others_stay() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let all = object(serde_json::json!({"office": "Pune", "amount": 1}));
        let merged = variables(&all, &object(serde_json::json!({"amount": 7, "name": "Asha"})), Some(1.into()));
        let expected = serde_json::json!({"office": "Pune", "amount": 7, "name": "Asha", "contact": 1});
        assert_eq!(Value::Object(merged), expected);
    }

    #[test]
    fn a_local_time_comes_in_each_zone_at_its_own_moment_and_after_a_gap_where_it_is_skipped() {
        let local = |at: &str| LocalTime { at: at.parse().unwrap(), default_zone: "Asia/Kolkata".into() };
        let morning = local("2026-11-20T09:00:00");
        let times: Vec<String> = [Some("Pacific/Kiritimati"), None, Some("Nowhere"), Some("America/New_York")]
            .map(|own| comes(&morning, own).to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
            .into();
        let india = "2026-11-20T03:30:00Z".to_owned();
        assert_eq!(times, ["2026-11-19T19:00:00Z".to_owned(), india.clone(), india, "2026-11-20T14:00:00Z".to_owned()]);
        let skipped = comes(&local("2026-03-29T02:30:00"), Some("Europe/Berlin"));
        assert_eq!(skipped.to_rfc3339(), "2026-03-29T01:00:00+00:00");
    }
}
