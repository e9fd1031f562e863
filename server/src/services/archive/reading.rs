//! What is in the archive, read back as it was: a conversation's record is found in the index, read alone out of its file, and shown
//! by the same requests as what stands in the tables. What was redacted since is shown with its mark, also before its file is
//! written anew.
//!
//! The side connections are asked, since some callers hold a transaction.

use std::collections::HashMap;

use domain::{
    archive::{Kept, Record, Session},
    message::Direction,
};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::file;
use crate::{
    blobs::{self, Key},
    services::{
        Context, Error, Result,
        messages::{Message, MessageRow},
    },
    storage::{
        archive::finding::{self, Place},
        history::ReceiptRow,
        messages::marks::MarkRow,
        participants::ParticipantRow,
        sessions::SessionRow,
    },
};

/// Records that are read at once for one page of messages.
const AT_ONCE: usize = 4;

/// A conversation of the archive.
#[derive(Debug, Clone)]
pub struct Found {
    /// All that is known of it.
    pub record: Record,
    /// The person, as it is now.
    pub contact_id: i64,
}

/// Reads a conversation; none when it is not in the archive.
///
/// # Errors
/// What storage or the file store says.
pub async fn open(context: &Context, conversation: Uuid) -> Result<Option<Found>> {
    let Some(mut place) = place_of(context, conversation).await? else { return Ok(None) };
    let packed = match part(context, &place).await {
        // It was written anew between the look and the read: the index says where it lies now.
        Err(Error::Files(blobs::Error::NotFound(_))) => match place_of(context, conversation).await? {
            None => return Ok(None),
            Some(moved) => {
                place = moved;
                part(context, &place).await?
            }
        },
        other => other?,
    };
    let mut record = file::unpack(&packed)?;
    for (message, mark) in finding::redactions(&mut *context.side.conn().await?, conversation).await? {
        let mark = serde_json::from_value(mark).map_err(crate::storage::Error::from)?;
        record.redact(message, &mark);
    }
    Ok(Some(Found { record, contact_id: place.contact_id }))
}

async fn place_of(context: &Context, conversation: Uuid) -> Result<Option<Place>> {
    Ok(finding::place(&mut *context.side.conn().await?, conversation).await?)
}

async fn part(context: &Context, place: &Place) -> Result<bytes::Bytes> {
    let (first, bytes) = (u64::try_from(place.first_byte).unwrap_or(0), u64::try_from(place.bytes).unwrap_or(0));
    Ok(context.blobs.get_part(&Key::parse(&place.file)?, first, bytes).await?)
}

/// Messages by their ids; those that are not in the archive are missing.
///
/// # Errors
/// What storage or the file store says.
pub async fn messages(context: &Context, ids: &[Uuid]) -> Result<HashMap<Uuid, Message>> {
    let mut conn = context.side.conn().await?;
    let wanted: HashMap<Uuid, Uuid> = finding::by_messages(&mut conn, ids).await?.into_iter().collect();
    let kept: Vec<Uuid> = wanted.keys().copied().collect();
    let copies = finding::media(&mut conn, &kept).await?;
    drop(conn);
    let mut media: HashMap<Uuid, (String, Option<i64>)> =
        copies.into_iter().map(|(id, state, size)| (id, (state, size))).collect();
    let mut conversations: Vec<Uuid> = wanted.values().copied().collect();
    conversations.sort_unstable();
    conversations.dedup();
    let found: Vec<Option<Found>> =
        stream::iter(conversations).map(|id| open(context, id)).buffered(AT_ONCE).try_collect().await?;
    let mut messages = HashMap::with_capacity(wanted.len());
    for found in found.into_iter().flatten() {
        for kept in found.record.messages.into_iter().filter(|kept| wanted.contains_key(&kept.document.id)) {
            let (id, copy) = (kept.document.id, media.remove(&kept.document.id));
            messages.insert(id, message(kept, found.contact_id, copy));
        }
    }
    Ok(messages)
}

/// Those messages of a conversation in hand that are asked for.
///
/// # Errors
/// What storage says.
pub async fn messages_of(context: &Context, found: Found, ids: &[Uuid]) -> Result<HashMap<Uuid, Message>> {
    let copies = finding::media(&mut *context.side.conn().await?, ids).await?;
    let mut media: HashMap<Uuid, (String, Option<i64>)> =
        copies.into_iter().map(|(id, state, size)| (id, (state, size))).collect();
    let wanted = found.record.messages.into_iter().filter(|kept| ids.contains(&kept.document.id));
    let shown = wanted.map(|kept| {
        let (id, copy) = (kept.document.id, media.remove(&kept.document.id));
        (id, message(kept, found.contact_id, copy))
    });
    Ok(shown.collect())
}

fn message(kept: Kept, contact_id: i64, media: Option<(String, Option<i64>)>) -> Message {
    let document = kept.document;
    let row = MessageRow {
        id: document.id,
        conversation_id: document.conversation,
        seq: document.seq,
        contact_id,
        outbound: document.direction != Direction::Inbound,
        internal: document.direction == Direction::Internal,
        channel: document.channel.as_ref().map(|c| (c.name.clone(), c.channel_type, c.address.clone())),
        sender: document.sender.display.clone(),
        receiver: document.receiver.as_ref().map(|party| party.display.clone()).unwrap_or_default(),
        content: serde_json::to_value(&document.content).unwrap_or_default(),
        plain_text: document.plain_text.clone(),
        schema_version: document.schema.version(),
        envelope: None,
        redaction: document.redaction.as_ref().and_then(|mark| serde_json::to_value(mark).ok()),
        provider_message_id: document.references.provider_message.clone(),
        in_reply_to: document.references.in_reply_to,
        notification_id: document.references.notification,
        delivery_id: document.references.delivery,
        evidence: kept.evidence,
        template: kept.template,
        media,
        provider_time: document.times.provider,
        received_at: document.times.received,
        stored_at: document.times.stored,
    };
    Message { content: document.content.clone(), row, document }
}

/// The receipts of a message in the archive; none when it is not there.
///
/// # Errors
/// What storage or the file store says.
pub async fn receipts(context: &Context, message: Uuid) -> Result<Option<Vec<ReceiptRow>>> {
    let conversation = finding::by_messages(&mut *context.side.conn().await?, &[message]).await?.pop();
    let Some((_, conversation)) = conversation else { return Ok(None) };
    let found = open(context, conversation).await?;
    let kept = found.and_then(|f| f.record.messages.into_iter().find(|kept| kept.document.id == message));
    Ok(kept.map(|kept| {
        let delivery_id = kept.document.references.delivery.unwrap_or_default();
        let row = |receipt: domain::archive::Receipt| ReceiptRow {
            delivery_id,
            n: receipt.attempt,
            evidence: receipt.evidence,
            failure_code: receipt.failure_code,
            provider_time: receipt.provider_time,
            received_at: receipt.received_at,
            late: receipt.late,
        };
        kept.receipts.into_iter().map(row).collect()
    }))
}

/// The conversation of the archive that has this channel session or participant.
///
/// # Errors
/// What storage or the file store says.
pub async fn by_part(context: &Context, part: Uuid) -> Result<Option<Found>> {
    match finding::by_part(&mut *context.side.conn().await?, part).await? {
        Some(conversation) => open(context, conversation).await,
        None => Ok(None),
    }
}

impl Found {
    /// Its channel sessions, by id.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRow> {
        self.record.channel_sessions.iter().map(|session| self.session(session)).collect()
    }

    fn session(&self, session: &Session) -> SessionRow {
        SessionRow {
            id: session.id,
            conversation_id: self.record.conversation.id,
            channel_id: session.channel_id,
            address_id: session.address_id,
            direction: session.direction.clone(),
            state: session.state,
            data: session.data.clone(),
            wrote: session.wrote,
            silent_since: None,
            last_at: session.last_at,
            generation: 0,
            started_at: session.started_at,
            ended_at: session.ended_at,
            end_reason: session.end_reason.clone(),
        }
    }

    /// Who took part, its channel sessions among them, by id.
    #[must_use]
    pub fn participants(&self) -> Vec<ParticipantRow> {
        let conversation_id = self.record.conversation.id;
        let present = self.record.channel_sessions.iter().map(|session| ParticipantRow {
            id: session.id,
            conversation_id,
            kind: domain::conversation::Kind::Session,
            subject: crate::services::conversations::sessions::name_of(session.id),
            display_name: self.record.conversation.contact_name.clone(),
            role: domain::conversation::Role::Customer,
            joined_at: session.started_at,
            left_at: session.ended_at,
            left_reason: session.end_reason.clone(),
        });
        let others = self.record.participants.iter().map(|who| ParticipantRow {
            id: who.id,
            conversation_id,
            kind: who.kind,
            subject: who.subject.clone(),
            display_name: who.display_name.clone(),
            role: who.role,
            joined_at: who.joined_at,
            left_at: who.left_at,
            left_reason: who.left_reason.clone(),
        });
        let mut all: Vec<ParticipantRow> = present.chain(others).collect();
        all.sort_by_key(|who| who.id);
        all
    }

    /// How far the business had read, by reader.
    #[must_use]
    pub fn marks(&self) -> Vec<MarkRow> {
        let row = |mark: &domain::archive::ReadMark| MarkRow {
            conversation_id: self.record.conversation.id,
            reader: mark.reader.clone(),
            message_id: mark.message,
            seq: mark.seq,
            read_at: mark.read_at,
            unread: mark.unread,
        };
        self.record.read_marks.iter().map(row).collect()
    }
}
