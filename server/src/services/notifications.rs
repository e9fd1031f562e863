//! Notifications: where they begin. The one service call in which an RPC, a watched row and a schedule end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{channel::Lane, notification::State};
use uuid::Uuid;

use super::{
    Context, Result,
    planning::{Page, Placed, Subject},
    plans::PinnedPlan,
};
use crate::{
    storage::{Conn, planning::NotificationRow},
    wake::Topic,
};

/// A notification to begin.
#[derive(Debug, Clone)]
pub struct NewNotification {
    /// A UUIDv7, made by the caller.
    pub id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// The pinned plan.
    pub plan: Arc<PinnedPlan>,
    /// The campaign, where it is one's.
    pub campaign_id: Option<i64>,
    /// The trigger, where one caused it.
    pub trigger_id: Option<i64>,
    /// The share of the campaign in its channels.
    pub weight: i32,
    /// The lane.
    pub lane: Lane,
    /// Why one writes; empty: as the policy says.
    pub purpose: String,
    /// The variables of its templates, a JSON object.
    pub variables: serde_json::Value,
    /// Past this nothing is sent.
    pub valid_until: Option<DateTime<Utc>>,
    /// Before this nothing is sent.
    pub deliver_after: Option<DateTime<Utc>>,
}

/// What began.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The notification.
    pub id: Uuid,
    /// Where it stands.
    pub placed: Placed,
}

/// Begins notifications in the caller's transaction: a page at a time, set-based. After the commit the caller calls [`wake`].
///
/// # Errors
/// What storage says; nothing is half-done, because the transaction is the caller's.
pub async fn begin(context: &Context, conn: &mut Conn, items: &[NewNotification]) -> Result<Vec<Begun>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let contacts: Vec<i64> = items.iter().map(|item| item.contact_id).collect();
    let mut page = Page::load(context, context.directory.snapshot(&context.side).await?, conn, &contacts).await?;
    let now = page.now();
    let (mut rows, mut begun) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for item in items {
        let purpose = if item.purpose.is_empty() { &item.plan.policy.purpose } else { &item.purpose };
        let subject = Subject {
            id: item.id,
            contact_id: item.contact_id,
            campaign_id: item.campaign_id,
            weight: item.weight,
            lane: item.lane,
            plan: Arc::clone(&item.plan),
            from_step: 0,
            because: None,
            purpose: purpose.clone(),
            variables: item.variables.clone(),
            valid_until: item.valid_until,
            planned_at: now,
            ever_sent: false,
            generation: 0,
        };
        let placed = match item.deliver_after {
            Some(after) if after > now => page.defer(conn, &subject, after).await?,
            _ => page.place(conn, &subject).await?,
        };
        rows.push(row(item, purpose, &placed));
        begun.push(Begun { id: item.id, placed });
    }
    page.begin(conn, &rows).await?;
    Ok(begun)
}

/// Wakes who has work after notifications began or moved.
pub fn wake(context: &Context) {
    for topic in [Topic::Relay, Topic::Fallback, Topic::Events] {
        context.wake.signal(topic);
    }
}

/// Wakes who has work after these began. Fallback is woken only where one of them begins later: what is queued has no timer yet.
pub fn wake_begun(context: &Context, begun: &[Begun]) {
    topics_of(begun).for_each(|topic| context.wake.signal(topic));
}

/// Who has work after these began.
pub fn topics_of(begun: &[Begun]) -> impl Iterator<Item = Topic> + use<> {
    let is_later = begun.iter().any(|begun| begun.placed.state == State::Pending);
    [Topic::Relay, Topic::Events].into_iter().chain(is_later.then_some(Topic::Fallback))
}

fn row(item: &NewNotification, purpose: &str, placed: &Placed) -> NotificationRow {
    let reason = match placed.state {
        State::Waiting => None,
        _ => placed.reason,
    };
    NotificationRow {
        id: item.id,
        plan_id: item.plan.id,
        contact_id: item.contact_id,
        campaign_id: item.campaign_id,
        trigger_id: item.trigger_id,
        lane: item.lane,
        state: placed.state,
        step: placed.step,
        reason: reason.map(|r| r.as_str().to_owned()),
        purpose: purpose.to_owned(),
        variables: item.variables.clone(),
        valid_until: item.valid_until,
        deliver_after: item.deliver_after,
    }
}
