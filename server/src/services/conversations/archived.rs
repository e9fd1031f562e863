//! A conversation of the archive, shown as if it stood in the tables.

use uuid::Uuid;

use super::{Activity, Span, participants::Participant};
use crate::{
    services::{Context, Error, Result, archive::reading},
    storage::{activities::ActivityRow, sessions::SessionRow},
};

/// A page of what happened in it.
///
/// # Errors
/// [`Error::NotFound`] when it was erased meanwhile; what the file store says.
pub(super) async fn timeline(context: &Context, id: Uuid, span: Span) -> Result<Vec<Activity>> {
    let found = open(context, id).await?;
    let mut rows: Vec<ActivityRow> = found
        .record
        .activities
        .iter()
        .filter(|activity| match (span.after, span.newest_first) {
            (None, _) => true,
            (Some(after), true) => activity.number < after,
            (Some(after), false) => activity.number > after,
        })
        .map(row)
        .collect();
    if span.newest_first {
        rows.reverse();
    }
    rows.truncate(usize::try_from(span.limit).unwrap_or_default());
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.message_id).collect();
    let mut messages = reading::messages_of(context, found, &ids).await?;
    let activity = |row: ActivityRow| Activity { message: row.message_id.and_then(|id| messages.remove(&id)), row };
    Ok(rows.into_iter().map(activity).collect())
}

fn row(activity: &domain::archive::Activity) -> ActivityRow {
    ActivityRow {
        number: activity.number,
        at: activity.at,
        kind: activity.kind.clone(),
        subject: activity.subject.clone(),
        word: activity.word.clone(),
        message_id: activity.message,
        channel: activity.channel.clone(),
        cause: activity.cause.clone(),
        actor: activity.actor.clone(),
    }
}

/// A page of its channel sessions, by id; all of them have ended.
///
/// # Errors
/// As [`timeline`].
pub(super) async fn sessions(
    context: &Context,
    id: Uuid,
    open_only: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<SessionRow>> {
    let all = open(context, id).await?.sessions().into_iter();
    let wanted = all.filter(|session| session.id > after && !(open_only && session.ended_at.is_some()));
    Ok(wanted.take(usize::try_from(limit).unwrap_or_default()).collect())
}

/// One channel session; none when it is not in the archive.
///
/// # Errors
/// What the file store says.
pub(super) async fn session(context: &Context, id: Uuid) -> Result<Option<SessionRow>> {
    let found = reading::by_part(context, id).await?;
    Ok(found.and_then(|found| found.sessions().into_iter().find(|session| session.id == id)))
}

/// A page of who took part, by id.
///
/// # Errors
/// As [`timeline`].
pub(super) async fn participants(
    context: &Context,
    id: Uuid,
    present: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Participant>> {
    let all = open(context, id).await?.participants().into_iter();
    let wanted = all.filter(|who| who.id > after && !(present && who.left_at.is_some()));
    Ok(wanted.take(usize::try_from(limit).unwrap_or_default()).collect())
}

async fn open(context: &Context, id: Uuid) -> Result<reading::Found> {
    reading::open(context, id).await?.ok_or_else(|| Error::NotFound(super::held::name_of(id)))
}
