//! All that is known of a conversation, in one record. It is gathered twice, before the file is written and again under the lock of the
//! conversation: only what is the same both times may leave the tables.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{
    archive::{Activity, CURRENT, Conversation, Kept, Participant, ReadMark, Receipt, Record, Session},
    conversation::Kind,
};
use uuid::Uuid;

use crate::{
    services::{
        Result,
        messages::{self, Message},
    },
    storage::{
        self, Conn, activities,
        archive::moving,
        history,
        messages::{self as stored, Wanted, marks},
        participants, sessions,
    },
};

/// Rows that are read at once.
const PAGE: i64 = 1_000;

/// The record of a conversation; none when it does not exist.
///
/// # Errors
/// What storage says.
pub async fn record(conn: &mut Conn, id: Uuid, archived_at: DateTime<Utc>) -> Result<Option<Record>> {
    let Some(conversation) = conversation(conn, id).await? else { return Ok(None) };
    Ok(Some(Record {
        schema: CURRENT,
        archived_at,
        conversation,
        messages: kept(conn, id).await?,
        channel_sessions: channel_sessions(conn, id).await?,
        participants: who_took_part(conn, id).await?,
        activities: timeline(conn, id).await?,
        read_marks: read_marks(conn, id).await?,
    }))
}

async fn conversation(conn: &mut Conn, id: Uuid) -> Result<Option<Conversation>> {
    let row = activities::conversations(conn, &[id]).await?.pop();
    let Some((row, besides)) = row.zip(moving::besides(conn, id).await?) else { return Ok(None) };
    Ok(Some(Conversation {
        id,
        contact: row.contact_id,
        contact_name: besides.contact_name,
        active_channel: row.active_channel,
        previous_conversation: row.previous_conversation,
        merged_into: row.merged_into,
        priority: row.priority,
        labels: row.labels,
        attributes: row.attributes,
        created_at: row.created_at,
        closed_at: row.closed_at,
        close_reason: row.close_reason,
    }))
}

async fn kept(conn: &mut Conn, id: Uuid) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    let mut wanted = Wanted { conversation: Some(id), oldest_first: true, ..Wanted::default() };
    loop {
        let ids = stored::page(conn, &wanted, PAGE).await?;
        let page = messages::load(conn, &ids).await?;
        let deliveries: Vec<Uuid> = page.iter().filter_map(|m| m.row.delivery_id.filter(|_| m.row.outbound)).collect();
        let mut receipts: HashMap<Uuid, Vec<Receipt>> = HashMap::new();
        for row in history::receipts(conn, &deliveries).await? {
            receipts.entry(row.delivery_id).or_default().push(receipt(row));
        }
        all.extend(page.into_iter().map(|message| one(message, &mut receipts)));
        wanted.before = ids.last().copied();
        if is_last(ids.len()) {
            break;
        }
    }
    // A merge of two conversations gave messages another order than their ids have.
    all.sort_by_key(|kept| kept.document.seq);
    Ok(all)
}

fn is_last(found: usize) -> bool {
    i64::try_from(found).is_ok_and(|found| found < PAGE)
}

fn one(message: Message, receipts: &mut HashMap<Uuid, Vec<Receipt>>) -> Kept {
    let Message { row, document, .. } = message;
    let template = row.template.filter(|_| document.references.template.is_none());
    let receipts = row.delivery_id.filter(|_| row.outbound).and_then(|id| receipts.remove(&id)).unwrap_or_default();
    Kept { document, evidence: row.evidence, template, receipts }
}

fn receipt(row: history::ReceiptRow) -> Receipt {
    Receipt {
        attempt: row.n,
        evidence: row.evidence,
        failure_code: row.failure_code,
        provider_time: row.provider_time,
        received_at: row.received_at,
        late: row.late,
    }
}

async fn channel_sessions(conn: &mut Conn, id: Uuid) -> Result<Vec<Session>> {
    let mut all = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let page = sessions::list(conn, id, false, after, PAGE).await?;
        let found = page.len();
        after = page.last().map_or(after, |row| row.id);
        all.extend(page.into_iter().map(|row| Session {
            id: row.id,
            channel_id: row.channel_id,
            address_id: row.address_id,
            direction: row.direction,
            state: row.state,
            data: row.data,
            wrote: row.wrote,
            last_at: row.last_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            end_reason: row.end_reason,
        }));
        if is_last(found) {
            return Ok(all);
        }
    }
}

async fn who_took_part(conn: &mut Conn, id: Uuid) -> Result<Vec<Participant>> {
    let mut all = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let page = participants::list(conn, id, false, after, PAGE).await?;
        let found = page.len();
        after = page.last().map_or(after, |row| row.id);
        // The contact's sessions stand among the sessions.
        all.extend(page.into_iter().filter(|row| row.kind != Kind::Session).map(|row| Participant {
            id: row.id,
            kind: row.kind,
            subject: row.subject,
            display_name: row.display_name,
            role: row.role,
            joined_at: row.joined_at,
            left_at: row.left_at,
            left_reason: row.left_reason,
        }));
        if is_last(found) {
            return Ok(all);
        }
    }
}

async fn timeline(conn: &mut Conn, id: Uuid) -> storage::Result<Vec<Activity>> {
    let mut all: Vec<Activity> = Vec::new();
    loop {
        let after = all.last().map(|activity| activity.number);
        let page = activities::activities(conn, id, after, false, PAGE).await?;
        let found = page.len();
        all.extend(page.into_iter().map(|row| Activity {
            number: row.number,
            at: row.at,
            kind: row.kind,
            subject: row.subject,
            word: row.word,
            message: row.message_id,
            channel: row.channel,
            cause: row.cause,
            actor: row.actor,
        }));
        if is_last(found) {
            return Ok(all);
        }
    }
}

async fn read_marks(conn: &mut Conn, id: Uuid) -> storage::Result<Vec<ReadMark>> {
    let mut all: Vec<ReadMark> = Vec::new();
    loop {
        let after = all.last().map(|mark| mark.reader.clone());
        let page = marks::marks(conn, id, (None, after.as_deref()), PAGE).await?;
        let found = page.len();
        all.extend(page.into_iter().map(|row| ReadMark {
            reader: row.reader,
            message: row.message_id,
            seq: row.seq,
            read_at: row.read_at,
            unread: row.unread,
        }));
        if is_last(found) {
            return Ok(all);
        }
    }
}
