//! From pending firings to notifications: taken in their order, mapped, de-duplicated, their people written and their
//! notifications begun, in one transaction with what became of each. A crash at any moment leaves them pending or done.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::mapping::{Mapped, MappedContact};
use uuid::Uuid;

use super::{
    State, Why, list,
    mapper::{Found, Mapper, Mappers},
    people,
};
use crate::{
    services::{
        Context, Error, Result,
        notifications::{self, Begun, NewNotification},
    },
    storage::{
        self, Conn, Tx,
        firings::{self, Decided, PendingRow, Take},
    },
    wake::Topic,
};

/// How often a firing that fails alone is tried.
const TRIES: i16 = 3;
/// How long one that failed rests, in seconds of machine time, after its first failure.
const REST_SECS: f64 = 1.0;
/// The longest external id: an index must hold it.
const MAX_EXTERNAL_ID: usize = 200;

/// Decides up to `limit` pending firings, and one that failed before. Says how many were taken.
///
/// # Errors
/// What storage says for a while; a firing that fails for good is tried alone and then failed, and the rest goes on.
pub async fn take(context: &Context, mappers: &Mappers, limit: i64) -> Result<usize> {
    let suspects = decide_taken(context, mappers, Take::Suspect).await?;
    Ok(suspects + decide_taken(context, mappers, Take::Next(limit)).await?)
}

async fn decide_taken(context: &Context, mappers: &Mappers, take: Take) -> Result<usize> {
    let mut tx = context.db.begin().await?;
    let rows = firings::take(&mut tx, take).await?;
    if rows.is_empty() {
        tx.commit().await.map_err(storage::Error::from)?;
        return Ok(0);
    }
    let taken = rows.len();
    let Err(error) = finish(context, mappers, tx, &rows).await else { return Ok(taken) };
    if is_temporary(&error) {
        return Err(error);
    }
    match (rows.as_slice(), take) {
        ([one], _) => count(context, one.id, &error).await?,
        (many, _) => {
            tracing::warn!(firings = taken, %error, "a batch of firings failed; each is tried alone");
            for row in many {
                Box::pin(decide_taken(context, mappers, Take::One(row.id))).await?;
            }
        }
    }
    Ok(taken)
}

async fn finish(context: &Context, mappers: &Mappers, mut tx: Tx, rows: &[PendingRow]) -> Result<()> {
    let now = context.clock.now();
    decide(context, mappers, &mut tx, rows, now).await?;
    tx.commit().await.map_err(storage::Error::from)?;
    notifications::wake(context);
    context.wake.signal(Topic::Events);
    Ok(())
}

/// Two batches that create the same person meet in a unique index: the second finds the person when it is tried again.
const fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Storage(error) => error.is_transient() || matches!(error, storage::Error::Exists { .. }),
        _ => false,
    }
}

/// Counts a failure of a firing that was alone; after the last one it is failed, with its cause.
async fn count(context: &Context, id: i64, error: &Error) -> Result<()> {
    let mut tx = context.db.begin().await?;
    let tries = firings::count_failure(&mut tx, id, REST_SECS).await?;
    tracing::warn!(firing.id = id, tries, %error, "a firing could not be decided");
    if tries >= TRIES {
        let why = Why::plain("INTERNAL", format!("could not be turned into a notification: {error}"));
        firings::decide(&mut tx, &[refused(id, State::Failed, &[why])], context.clock.now()).await?;
    }
    tx.commit().await.map_err(storage::Error::from)?;
    context.wake.signal(Topic::Events);
    Ok(())
}

/// A row that became a person and variables.
struct Ready<'a> {
    row: &'a PendingRow,
    mapper: Arc<Mapper>,
    mapped: Mapped,
}

/// Decides firings that the caller has locked.
async fn decide(
    context: &Context,
    mappers: &Mappers,
    conn: &mut Conn,
    rows: &[PendingRow],
    now: DateTime<Utc>,
) -> Result<()> {
    let triggers: BTreeSet<i64> = rows.iter().map(|row| row.trigger_id).collect();
    let found = mappers.of(context, conn, &triggers, now).await?;
    let (mut ready, mut decided) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        match map(row, found.get(&row.trigger_id)) {
            Ok(one) => ready.push(one),
            Err(refused) => decided.push(refused),
        }
    }
    let ready = without_duplicates(conn, ready, &mut decided).await?;
    let begun = begin(context, conn, &ready, now).await?;
    let fired = ready.iter().zip(begun).map(|(ready, begun)| Decided {
        id: ready.row.id,
        state: State::Fired,
        reason: None,
        reasons: list(&[]),
        notification_id: Some(begun.id),
    });
    decided.extend(fired);
    decided.sort_by_key(|one| one.id);
    Ok(firings::decide(conn, &decided, now).await?)
}

fn map<'a>(row: &'a PendingRow, found: Option<&Found>) -> std::result::Result<Ready<'a>, Decided> {
    let mapper = match found {
        Some(Ok(mapper)) => Arc::clone(mapper),
        Some(Err(why)) => return Err(refused(row.id, State::Failed, std::slice::from_ref(why))),
        None => {
            let why = Why::plain("TARGET_INVALID", "the trigger does not exist any more");
            return Err(refused(row.id, State::Failed, &[why]));
        }
    };
    let mapped = mapper.map(row.row.as_ref(), row.old_row.as_ref());
    let mapped = mapped.and_then(fits).map_err(|whys| refused(row.id, State::Unmappable, &whys))?;
    Ok(Ready { row, mapper, mapped })
}

fn fits(mapped: Mapped) -> std::result::Result<Mapped, Vec<Why>> {
    let length = mapped.contact.external_id.as_ref().map_or(0, |id| id.chars().count());
    if length > MAX_EXTERNAL_ID {
        let words = format!("the external id has {length} characters, at most {MAX_EXTERNAL_ID} are allowed");
        return Err(vec![Why { field: "external_id".to_owned(), fault: "VALUE_INVALID".to_owned(), reason: words }]);
    }
    Ok(mapped)
}

fn refused(id: i64, state: State, whys: &[Why]) -> Decided {
    let reason = whys.first().map(|why| why.fault.clone());
    Decided { id, state, reason, reasons: list(whys), notification_id: None }
}

/// Keys of rows of one trigger, each with the time of its row.
type Keys = Vec<(Vec<u8>, DateTime<Utc>)>;

/// Leaves out rows whose key was taken within its trigger's window, by an earlier row of the batch too. A replay is a person's
/// wish and is never one.
async fn without_duplicates<'a>(
    conn: &mut Conn,
    ready: Vec<Ready<'a>>,
    decided: &mut Vec<Decided>,
) -> Result<Vec<Ready<'a>>> {
    let key = |one: &Ready<'_>| one.mapper.dedup_key(one.row.row.as_ref()).filter(|_| one.row.replay_of.is_none());
    let mut first: HashMap<(i64, Vec<u8>), &Ready<'_>> = HashMap::new();
    for one in &ready {
        if let Some(key) = key(one) {
            first.entry((one.row.trigger_id, key)).or_insert(one);
        }
    }
    let mut by_trigger: HashMap<i64, (Arc<Mapper>, Keys)> = HashMap::new();
    for ((trigger, key), one) in &first {
        let keys = by_trigger.entry(*trigger).or_insert_with(|| (Arc::clone(&one.mapper), Vec::new()));
        keys.1.push((key.clone(), one.row.captured_at));
    }
    let mut fire: BTreeSet<i64> = BTreeSet::new();
    for (trigger, (mapper, keys)) in by_trigger {
        for key in firings::take_keys(conn, trigger, &keys, mapper.watch.dedup_window()).await? {
            fire.extend(first.get(&(trigger, key)).map(|one| one.row.id));
        }
    }
    let (kept, left): (Vec<_>, Vec<_>) =
        ready.into_iter().partition(|one| fire.contains(&one.row.id) || key(one).is_none());
    let why = Why::plain("DUPLICATE", "an earlier row had the same values in the deduplication columns");
    decided.extend(left.iter().map(|one| refused(one.row.id, State::Skipped, std::slice::from_ref(&why))));
    Ok(kept)
}

async fn begin(context: &Context, conn: &mut Conn, ready: &[Ready<'_>], now: DateTime<Utc>) -> Result<Vec<Begun>> {
    if ready.is_empty() {
        return Ok(Vec::new());
    }
    let contacts: Vec<&MappedContact> = ready.iter().map(|one| &one.mapped.contact).collect();
    let people = people::upsert(conn, &contacts, now).await?;
    let items: Vec<NewNotification> =
        ready.iter().zip(people).map(|(one, (contact_id, _))| new_notification(one, contact_id, now)).collect();
    notifications::begin(context, conn, &items).await
}

fn new_notification(one: &Ready<'_>, contact_id: i64, now: DateTime<Utc>) -> NewNotification {
    NewNotification {
        id: Uuid::now_v7(),
        contact_id,
        plan: Arc::clone(&one.mapper.plan),
        campaign_id: None,
        trigger_id: Some(one.row.trigger_id),
        weight: 1,
        lane: one.mapper.lane(one.row.lane),
        purpose: one.mapper.watch.purpose().to_owned(),
        variables: serde_json::Value::Object(one.mapped.variables.clone()),
        valid_until: Some(one.mapper.valid_until(one.row.captured_at, now)),
        deliver_after: None,
    }
}

/// What a row would become: its person, the contact that exists already, and where its notification would stand.
#[derive(Debug)]
pub struct Preview {
    /// The person and the variables.
    pub mapped: Mapped,
    /// The contact, where there is one already.
    pub contact: Option<i64>,
    /// The notification as it would begin.
    pub begun: Begun,
}

/// Begins notifications for rows inside a transaction that the caller rolls back.
///
/// # Errors
/// What storage says. Reasons of rows are in the answer.
pub async fn preview(
    context: &Context,
    conn: &mut Conn,
    mapper: &Arc<Mapper>,
    rows: &[PendingRow],
) -> Result<Vec<std::result::Result<Preview, Vec<Why>>>> {
    let now = context.clock.now();
    let mapped: Vec<_> =
        rows.iter().map(|row| mapper.map(row.row.as_ref(), row.old_row.as_ref()).and_then(fits)).collect();
    let ready: Vec<Ready<'_>> = rows
        .iter()
        .zip(&mapped)
        .filter_map(|(row, mapped)| {
            Some(Ready { row, mapper: Arc::clone(mapper), mapped: mapped.as_ref().ok()?.clone() })
        })
        .collect();
    let contacts: Vec<&MappedContact> = ready.iter().map(|one| &one.mapped.contact).collect();
    let people = people::upsert(conn, &contacts, now).await?;
    let items: Vec<NewNotification> =
        ready.iter().zip(&people).map(|(one, (contact, _))| new_notification(one, *contact, now)).collect();
    let mut begun = notifications::begin(context, conn, &items).await?.into_iter().zip(people);
    let preview = |mapped: Mapped| {
        let (begun, (contact, created)) = begun.next()?;
        Some(Preview { mapped, contact: (!created).then_some(contact), begun })
    };
    let missing = || Error::Storage(storage::Error::Corrupt("a row began no notification".to_owned()));
    let mut preview = preview;
    mapped
        .into_iter()
        .map(|one| one.map(|m| preview(m).ok_or_else(missing)).map_or_else(|w| Ok(Err(w)), |p| p.map(Ok)))
        .collect()
}
