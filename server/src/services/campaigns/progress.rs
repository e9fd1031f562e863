//! How far a campaign is: counts that cost the same for ten recipients and ten million, its present pace, and when its first
//! steps will have been begun.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{channel::ChannelType, notification::State};

use super::{Campaign, key, load, planning::Cursor};
use crate::{
    services::{
        Context, Result,
        directory::{Channel, Snapshot},
        work::Work,
    },
    storage::{
        Conn,
        campaigns::progress::{self, CountRow},
    },
};

/// The stretch of time over which the present rate is taken.
const RATE_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// How far a campaign is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The campaign.
    pub campaign: Campaign,
    /// Its recipients so far.
    pub recipients: i64,
    /// How many of its notifications are in each state; only states with any.
    pub states: Vec<(State, i64)>,
    /// Why recipients were skipped, as the rulebook says it; only reasons with any.
    pub skips: Vec<(String, i64)>,
    /// Deliveries by step, channel type (none: no channel was chosen) and state.
    pub deliveries: Vec<DeliveryCount>,
    /// What became of the rows of the audience.
    pub cursor: Cursor,
    /// Recipients of whom evidence or an answer came too late.
    pub late: i64,
    /// Deliveries begun in a second, over the last ten.
    pub rate: f64,
    /// When the first steps will have been begun at this rate; none when that cannot be said.
    pub first_steps_end: Option<DateTime<Utc>>,
    /// The last event that the counts include.
    pub last_number: i64,
}

/// How many deliveries stand somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryCount {
    /// The step, from 0.
    pub step: i16,
    /// The type of their channel.
    pub channel_type: Option<ChannelType>,
    /// The state, as events name it: a work state, or evidence.
    pub state: String,
    /// How many.
    pub n: i64,
}

/// How far a campaign is.
///
/// # Errors
/// [`crate::services::Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Progress> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let conn = &mut *context.lists.conn().await?;
    let id = key(conn, slug).await?;
    let campaign = load(conn, id).await?;
    read(conn, &snapshot, campaign, context.clock.now()).await
}

/// The same inside a transaction, which sees what it has written.
///
/// # Errors
/// [`crate::services::Error::NotFound`].
pub async fn within(context: &Context, work: &mut Work, slug: &str) -> Result<Progress> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let (id, now) = (key(work.conn(), slug).await?, work.now());
    let campaign = load(work.conn(), id).await?;
    read(work.conn(), &snapshot, campaign, now).await
}

/// How far each campaign of a page is.
///
/// # Errors
/// What storage says.
pub async fn of(context: &Context, campaigns: Vec<Campaign>) -> Result<Vec<Progress>> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let conn = &mut *context.lists.conn().await?;
    let mut found = Vec::with_capacity(campaigns.len());
    for campaign in campaigns {
        found.push(read(conn, &snapshot, campaign, context.clock.now()).await?);
    }
    Ok(found)
}

async fn read(conn: &mut Conn, snapshot: &Snapshot, campaign: Campaign, now: DateTime<Utc>) -> Result<Progress> {
    let id = campaign.row.id;
    let aside = progress::aside(conn, id, now, RATE_WINDOW).await?;
    let rows = progress::counts(conn, id).await?;
    let of = |kind: &'static str| rows.iter().filter(move |row| row.kind == kind);
    let states: Vec<(State, i64)> = of("notification")
        .filter(|row| row.reason.is_empty())
        .filter_map(|row| Some((row.state.parse().ok()?, row.n)))
        .collect();
    let skipped = of("notification").filter(|row| row.state == State::Skipped.as_str() && !row.reason.is_empty());
    let skips = skipped.map(|row| (row.reason.clone(), row.n)).collect();
    let deliveries = by_type(of("delivery"), snapshot);
    #[expect(clippy::cast_precision_loss, reason = "deliveries of ten seconds are far below 2^52")]
    let rate = aside.begun as f64 / RATE_WINDOW.as_seconds_f64();
    let queued: i64 = deliveries.iter().filter(|d| d.step == 0 && d.state == "queued").map(|d| d.n).sum();
    Ok(Progress {
        recipients: states.iter().map(|(_, n)| n).sum(),
        first_steps_end: campaign.row.planned_at.and_then(|_| end(now, queued, rate)),
        cursor: Cursor::read(campaign.row.plan_cursor.as_ref()),
        campaign,
        states,
        skips,
        deliveries,
        late: aside.late,
        rate,
        last_number: aside.last_number,
    })
}

/// The counts of channels of one type are one count.
fn by_type<'a>(rows: impl Iterator<Item = &'a CountRow>, snapshot: &Snapshot) -> Vec<DeliveryCount> {
    let mut counts: BTreeMap<(i16, Option<ChannelType>, &str), i64> = BTreeMap::new();
    for row in rows {
        let channel_type = snapshot.channel(row.channel_id).map(Channel::channel_type);
        *counts.entry((row.step, channel_type, &row.state)).or_default() += row.n;
    }
    let count = |((step, channel_type, state), n): ((i16, Option<ChannelType>, &str), i64)| DeliveryCount {
        step,
        channel_type,
        state: state.to_owned(),
        n,
    };
    counts.into_iter().map(count).collect()
}

fn end(now: DateTime<Utc>, queued: i64, rate: f64) -> Option<DateTime<Utc>> {
    if rate <= 0.0 || queued == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = queued as f64 / rate;
    #[expect(clippy::cast_possible_truncation, reason = "an estimate, bounded below a century")]
    now.checked_add_signed(TimeDelta::try_seconds(seconds.min(3e9) as i64)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_said_only_where_something_goes() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(end(now, 100, 10.0), Some(now + TimeDelta::seconds(10)));
        assert_eq!((end(now, 100, 0.0), end(now, 0, 5.0)), (None, None));
    }
}
