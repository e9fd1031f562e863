//! Sending: from requests to notifications that have begun, and taking one back. All that is wrong is found before anything
//! is written; what is right is stored in the caller's transaction, many at once as one.

pub mod recipients;
pub mod way;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    channel::Lane,
    delivery,
    notification::{Event, Reason, State},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::{
    recipients::Recipient,
    way::{Pinned, Way},
};
use super::{
    Context, Error, Result, Violation, campaigns,
    history::{self, Notification},
    notifications::{self, NewNotification},
    plans::PinnedPlan,
    templates::CONTACT,
    work::Work,
};
use crate::{
    storage::{
        deciding, planning,
        sending::{self, AttachmentRow},
    },
    wake::Topic,
};

/// A notification as a request asks for it, with what the request alone shows to be wrong.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Whom to reach; none when that is among the violations.
    pub recipient: Option<Recipient>,
    /// Which way to take.
    pub way: Way,
    /// The values of the templates' variables.
    pub variables: Map<String, Value>,
    /// What it is for; empty: as the policy says.
    pub purpose: String,
    /// The lane.
    pub lane: Lane,
    /// When the first step may begin.
    pub deliver_after: Option<DateTime<Utc>>,
    /// When it expires; none: as the policy says.
    pub valid_until: Option<DateTime<Utc>>,
    /// Files for the steps that go by email.
    pub attachments: Vec<Attachment>,
    /// The caller's own marks.
    pub labels: BTreeMap<String, String>,
    /// What is wrong with it.
    pub violations: Vec<Violation>,
}

/// A file of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file name.
    pub file_name: String,
    /// The MIME type.
    pub mime_type: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A draft with nothing wrong, its plan and its recipient.
type Right<'a> = (&'a Draft, &'a Arc<PinnedPlan>, &'a Recipient);

/// What became of one draft.
pub type Sent = std::result::Result<Notification, Vec<Violation>>;

/// Sends one notification.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong; [`Error::ReferenceNotFound`] when all of that is one missing resource.
pub async fn send(context: &Context, work: &mut Work, draft: Draft) -> Result<Notification> {
    let mut sent = send_all(context, work, vec![draft]).await?;
    match sent.pop() {
        Some(Ok(notification)) => {
            // Its conversation begins with it; those of many begin with the answer.
            planning::set_at_send(work.conn(), &[notification.row.id]).await?;
            Ok(notification)
        }
        Some(Err(violations)) => Err(refused(violations)),
        None => Err(Error::Invalid(Vec::new())),
    }
}

/// Sends many. With `allow_partial` the right ones are sent and the others come back as their violations.
///
/// # Errors
/// Without `allow_partial`, everything that is wrong, each beneath `requests[i]`.
pub async fn send_batch(
    context: &Context,
    work: &mut Work,
    drafts: Vec<Draft>,
    allow_partial: bool,
) -> Result<Vec<Sent>> {
    let sent = send_all(context, work, drafts).await?;
    if allow_partial {
        return Ok(sent);
    }
    let wrong = sent.iter().enumerate().filter_map(|(index, sent)| Some((index, sent.as_ref().err()?)));
    let wrong: Vec<Violation> = wrong
        .flat_map(|(index, found)| found.iter().map(move |v| v.clone().inside(&format!("requests[{index}]"))))
        .collect();
    if wrong.is_empty() { Ok(sent) } else { Err(refused(wrong)) }
}

/// Takes a notification back: what is queued is not sent, what is on the wire is let go.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG when it has ended otherwise.
pub async fn cancel(context: &Context, work: &mut Work, id: Uuid, etag: &str) -> Result<Notification> {
    let name = format!("notifications/{id}");
    let locked = deciding::lock(work.conn(), &[id], false).await?.pop().ok_or_else(|| Error::NotFound(name.clone()))?;
    let before =
        history::basic(context, work.conn(), &[id]).await?.pop().ok_or_else(|| Error::NotFound(name.clone()))?;
    if !etag.is_empty() && etag != before.etag() {
        return Err(Error::EtagMismatch(name));
    }
    if locked.state == State::Cancelled {
        return Ok(before);
    }
    let Some(to) = locked.state.after(Event::Cancelled) else {
        let message = format!("{name} has ended as {}; only what has not ended can be cancelled", locked.state);
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    };
    let (now, because) = (work.now(), Reason::CancelledByOwner.as_str());
    planning::cancel_queued(work.conn(), &[id], delivery::Work::Cancelled, because, now).await?;
    let ended = planning::Move {
        id,
        campaign_id: locked.campaign_id,
        from: locked.state,
        to,
        step: locked.step,
        reason: Some(because.to_owned()),
        answered_by: None,
        late: false,
    };
    planning::move_notifications(work.conn(), &[ended], now).await?;
    planning::leave_call_lists(work.conn(), &[id], now).await?;
    planning::disarm_timers(work.conn(), &[id]).await?;
    work.wake(Topic::Events);
    history::basic(context, work.conn(), &[id]).await?.pop().ok_or(Error::NotFound(name))
}

/// One missing resource is a failed precondition; anything else, or more than that, is an invalid request.
pub(super) fn refused(mut violations: Vec<Violation>) -> Error {
    match violations.as_slice() {
        [only] if only.reason == way::REFERENCE_NOT_FOUND => {
            let only = violations.remove(0);
            let name = only.metadata.into_iter().find(|(key, _)| *key == "name").map(|(_, name)| name);
            Error::ReferenceNotFound { field: only.field, name: name.unwrap_or_default() }
        }
        _ => Error::Invalid(violations),
    }
}

async fn send_all(context: &Context, work: &mut Work, mut drafts: Vec<Draft>) -> Result<Vec<Sent>> {
    let plans = check(context, work, &mut drafts).await?;
    let right: Vec<Right<'_>> = drafts
        .iter()
        .zip(&plans)
        .filter(|(draft, _)| draft.violations.is_empty())
        .filter_map(|(draft, plan)| Some((draft, plan.as_ref()?, draft.recipient.as_ref()?)))
        .collect();
    let mut sent = begin(context, work, &right).await?.into_iter();
    let results = drafts.iter().map(|draft| match draft.violations.is_empty() {
        true => sent.next().ok_or_else(Vec::new),
        false => Err(draft.violations.clone()),
    });
    Ok(results.collect())
}

/// Finds what drafts refer to, and adds what is wrong to their violations.
async fn check(context: &Context, work: &mut Work, drafts: &mut [Draft]) -> Result<Vec<Option<Arc<PinnedPlan>>>> {
    let whom: Vec<Option<&Recipient>> = drafts.iter().map(|d| d.recipient.as_ref()).collect();
    let mut unknown = recipients::check(work, &whom).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    // Most batches have one way.
    let mut ways: Vec<(Way, Pinned)> = Vec::new();
    let mut plans = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter_mut().enumerate() {
        draft.violations.extend(unknown.remove(&index));
        // A way that cannot be read is not looked up: what was found wrong with it says more.
        if draft.violations.iter().any(|v| v.field.starts_with("plan")) {
            plans.push(None);
            continue;
        }
        let known = match ways.iter().position(|(way, _)| *way == draft.way) {
            Some(known) => known,
            None => {
                let now = work.now();
                ways.push((draft.way.clone(), way::pin(context, work.conn(), &draft.way, now).await?));
                ways.len() - 1
            }
        };
        plans.push(match ways.get(known).map(|(_, pinned)| pinned) {
            Some(Ok(plan)) => {
                draft.violations.extend(missing_variables(plan, &snapshot, &draft.variables));
                Some(Arc::clone(plan))
            }
            Some(Err(found)) => {
                draft.violations.extend(found.iter().map(|v| v.clone().inside("plan")));
                None
            }
            None => None,
        });
    }
    Ok(plans)
}

fn missing_variables(
    plan: &PinnedPlan,
    snapshot: &super::directory::Snapshot,
    given: &Map<String, Value>,
) -> Option<Violation> {
    let missing = way::missing_variables(plan, snapshot, given);
    if missing.is_empty() {
        return None;
    }
    let names = missing.join(",");
    let text = format!("has no value for {}, which the templates require", missing.join(", "));
    Some(Violation::new("variables", text).because("VARIABLE_MISSING").with("variables", names))
}

async fn begin(context: &Context, work: &mut Work, right: &[Right<'_>]) -> Result<Vec<Notification>> {
    if right.is_empty() {
        return Ok(Vec::new());
    }
    let whom: Vec<&Recipient> = right.iter().map(|(_, _, recipient)| *recipient).collect();
    let contacts = recipients::ensure(work, &whom).await?;
    let now = work.now();
    let who = who(work, right, &contacts).await?;
    let items: Vec<NewNotification> = right
        .iter()
        .zip(contacts)
        .map(|((draft, plan, _), contact_id)| NewNotification {
            id: Uuid::now_v7(),
            contact_id,
            plan: Arc::clone(plan),
            campaign_id: None,
            trigger_id: None,
            weight: 1,
            lane: draft.lane,
            purpose: draft.purpose.clone(),
            variables: Value::Object(with_contact(draft, who.get(&contact_id).filter(|_| plan.says_contact))),
            valid_until: draft
                .valid_until
                .or_else(|| draft.deliver_after.unwrap_or(now).max(now).checked_add_signed(plan.valid_for)),
            deliver_after: draft.deliver_after,
        })
        .collect();
    let begun = notifications::begin(context, work.conn(), &items).await?;
    let ids: Vec<Uuid> = items.iter().map(|item| item.id).collect();
    store_rest(work, &ids, right).await?;
    notifications::topics_of(&begun).for_each(|topic| work.wake(topic));
    history::basic(context, work.conn(), &ids).await
}

/// Who each person is, for templates that say it.
async fn who(work: &mut Work, right: &[Right<'_>], contacts: &[i64]) -> Result<HashMap<i64, Value>> {
    match right.iter().find(|(_, plan, _)| plan.says_contact) {
        Some((_, plan, _)) => campaigns::planning::of_contacts(work, plan, contacts).await,
        None => Ok(HashMap::new()),
    }
}

/// What the caller says of the person wins over what is stored.
fn with_contact(draft: &Draft, contact: Option<&Value>) -> Map<String, Value> {
    let mut variables = draft.variables.clone();
    if let Some(contact) = contact {
        variables.entry(CONTACT).or_insert_with(|| contact.clone());
    }
    variables
}

/// Labels and files, where there are any.
async fn store_rest(work: &mut Work, ids: &[Uuid], right: &[Right<'_>]) -> Result<()> {
    let (mut labelled, mut labels, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (id, (draft, _, _)) in ids.iter().zip(right) {
        if !draft.labels.is_empty() {
            labelled.push(*id);
            labels.push(serde_json::json!(draft.labels));
        }
        for (position, file) in (0_i16..).zip(&draft.attachments) {
            files.push(AttachmentRow {
                notification_id: *id,
                position,
                file_name: file.file_name.clone(),
                mime_type: file.mime_type.clone(),
                data: file.data.clone(),
            });
        }
    }
    if !labelled.is_empty() {
        sending::set_labels(work.conn(), &labelled, &labels).await?;
    }
    if !files.is_empty() {
        sending::attach(work.conn(), &files).await?;
    }
    Ok(())
}
