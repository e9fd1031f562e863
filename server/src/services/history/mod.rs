//! History: where a notification stands and how it came there, from what is stored. Nothing here changes anything.

mod timeline;
pub mod watch;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use domain::{
    channel::ChannelType,
    fallback::{Step, Target},
    message::Content,
};
use uuid::Uuid;

pub use self::timeline::{Happened, Kind, Skipped, sentence};
use super::{Context, Error, Result, rendering};
pub use crate::storage::history::{AttemptRow, DeliveryRow, ListedRow, NotificationRow, ReceiptRow, Wanted};
use crate::storage::{self, Conn, dispatch::Claimed, history};

/// A notification with the steps that it follows.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Where it stands.
    pub row: NotificationRow,
    /// Its steps.
    pub steps: Arc<Vec<ShownStep>>,
}

/// A step with the version of the template that was pinned for it, such as `welcome/versions/3`.
#[derive(Debug, Clone)]
pub struct ShownStep {
    /// The step.
    pub step: Step,
    /// The template; none for call lists, and for templates that were deleted.
    pub template: Option<String>,
}

/// All that is known of a notification.
#[derive(Debug, Clone)]
pub struct Full {
    /// Where it stands.
    pub notification: Notification,
    /// Its deliveries, in the order of their steps.
    pub deliveries: Vec<Delivery>,
    /// The steps that could not apply.
    pub skipped: Vec<Skipped>,
    /// What happened, in order.
    pub timeline: Vec<Happened>,
}

/// One delivery with all that became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The delivery.
    pub row: DeliveryRow,
    /// Its attempts that are over, in order.
    pub attempts: Vec<AttemptRow>,
    /// Its receipts, in the order of their arrival.
    pub receipts: Vec<ReceiptRow>,
    /// What was said; none as long as nothing was.
    pub content: Option<Content>,
}

impl ShownStep {
    /// The step with the template that was pinned for it.
    #[must_use]
    pub fn pinned(&self) -> Step {
        Step { template: self.template.clone().or_else(|| self.step.template.clone()), ..self.step.clone() }
    }
}

impl Notification {
    /// Changes with every move.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{}-{}", self.row.generation, self.row.changed_at.timestamp_micros())
    }
}

/// Notifications by their ids, in this order; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn basic(context: &Context, conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<Notification>> {
    let rows = history::notifications(conn, ids).await?;
    let mut steps: HashMap<i64, Arc<Vec<ShownStep>>> = HashMap::new();
    for row in &rows {
        if let Entry::Vacant(unknown) = steps.entry(row.plan_id) {
            unknown.insert(Arc::new(shown_steps(context, conn, row.plan_id).await?));
        }
    }
    let steps_of = |row: &NotificationRow| steps.get(&row.plan_id).map(Arc::clone).unwrap_or_default();
    Ok(rows.into_iter().map(|row| Notification { steps: steps_of(&row), row }).collect())
}

/// One notification as it stands.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<Notification> {
    let conn = &mut *context.lists.conn().await?;
    basic(context, conn, &[id]).await?.pop().ok_or_else(|| missing(id))
}

/// One notification with all that is known of it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_full(context: &Context, id: Uuid) -> Result<Full> {
    let conn = &mut *context.lists.conn().await?;
    let notification = basic(context, conn, &[id]).await?.pop().ok_or_else(|| missing(id))?;
    let deliveries = deliveries(context, conn, &notification).await?;
    let listed = history::listed(conn, id).await?;
    let answer = match notification.row.answered_by {
        Some(message) => history::answer(conn, message).await?,
        None => None,
    };
    let (skipped, timeline) = timeline::of(&notification, &deliveries, listed.as_ref(), answer);
    // What never had an address is a skipped step, and shown as one.
    let deliveries = deliveries.into_iter().filter(|d| d.row.address.is_some()).collect();
    Ok(Full { notification, deliveries, skipped, timeline })
}

/// A page of notifications, the newest first.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<Notification>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = history::page(conn, wanted, limit).await?;
    basic(context, conn, &ids).await
}

/// The step of this index.
fn step_of(notification: &Notification, step: i16) -> Option<&ShownStep> {
    usize::try_from(step).ok().and_then(|step| notification.steps.get(step))
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("notifications/{id}"))
}

async fn shown_steps(context: &Context, conn: &mut Conn, plan_id: i64) -> Result<Vec<ShownStep>> {
    let plan = context.plans.load(conn, plan_id).await?;
    let versions = storage::templates::versions(conn, &plan.template_version_ids).await?;
    let named = |id: &i64| {
        let version = versions.iter().find(|v| v.id == *id)?;
        Some(format!("{}/versions/{}", version.slug, version.number))
    };
    let shown = |(step, id): (&Step, &i64)| ShownStep { step: step.clone(), template: named(id) };
    Ok(plan.policy.steps.iter().zip(&plan.template_version_ids).map(shown).collect())
}

async fn deliveries(context: &Context, conn: &mut Conn, notification: &Notification) -> Result<Vec<Delivery>> {
    let rows = history::deliveries(conn, notification.row.id).await?;
    let ids: Vec<Uuid> = rows.iter().map(|r| r.id).collect();
    let (mut attempts, mut receipts): (HashMap<Uuid, Vec<_>>, HashMap<Uuid, Vec<_>>) = Default::default();
    for attempt in history::attempts(conn, &ids).await? {
        attempts.entry(attempt.delivery_id).or_default().push(attempt);
    }
    for receipt in history::receipts(conn, &ids).await? {
        receipts.entry(receipt.delivery_id).or_default().push(receipt);
    }
    let spoken_to = history::spoken_to(conn, notification.row.contact_id).await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        let content = content(context, notification, &row, &spoken_to).await?;
        let (attempts, receipts) = (attempts.remove(&row.id), receipts.remove(&row.id));
        let (attempts, receipts) = (attempts.unwrap_or_default(), receipts.unwrap_or_default());
        shown.push(Delivery { row, attempts, receipts, content });
    }
    Ok(shown)
}

/// What was said: from the conversation where it stands there, else rendered again from the pinned template, which gives the
/// same words. Nothing before the first attempt.
async fn content(
    context: &Context,
    notification: &Notification,
    row: &DeliveryRow,
    (locale, contact): &(String, serde_json::Value),
) -> Result<Option<Content>> {
    if let Some((_, content)) = &row.message {
        return Ok(Some(serde_json::from_value(content.clone()).map_err(storage::Error::from)?));
    }
    let (Some((channel_id, _, channel_type)), Some((address_id, to))) = (&row.channel, &row.address) else {
        return Ok(None);
    };
    if row.attempts == 0 {
        return Ok(None);
    }
    let mut variables = notification.row.variables.clone();
    if let (Some(all), Some(contact)) = (variables.as_object_mut(), contact.as_object()) {
        all.extend(contact.clone());
    }
    let said = Claimed {
        delivery_id: row.id,
        notification_id: Some(notification.row.id),
        step: row.step,
        generation: 0,
        channel_id: *channel_id,
        address_id: *address_id,
        to: to.clone(),
        purpose: notification.row.purpose.clone(),
        content: None,
        plan_id: Some(notification.row.plan_id),
        variables,
        locale: locale.clone(),
        attempts: 0,
        failures: 0,
        throttles: 0,
        last_inbound_at: None,
        valid_until: None,
    };
    Ok(rendering::words(context, &said, *channel_type).await.ok())
}

/// The medium of a step, as far as the step itself says it.
fn channel_type_of(step: &Step) -> Option<ChannelType> {
    match &step.target {
        Target::ChannelType(channel_type) => Some(*channel_type),
        Target::Channel(_) | Target::CallList(_) => None,
    }
}
