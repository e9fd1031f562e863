//! Requests about what stands beside messages: searches, notes, marks, exports, and history from elsewhere.

use chrono::{DateTime, Utc};
use domain::message::Content;
use proto::v1::{self, message::Direction};
use uuid::Uuid;

use super::{Faults, common, message::directed, notification, said, sending};
use crate::services::messages::{
    self, Message, Search,
    marks::{AfterReceipt, MarkRow},
    past::Row,
    typing::Sign,
    writing::Note,
};
use crate::storage::history::ReceiptRow;

const MAX_QUERY: usize = 500;
const MAX_NAME: usize = 200;
const MAX_REASON: usize = 500;
const MAX_NOTE: usize = 4096;
const MAX_ID: usize = 512;

/// What is searched for, and where.
pub fn search(request: &v1::SearchMessagesRequest, faults: &mut Faults) -> (Search, messages::Wanted) {
    let search = Search {
        query: faults.required_text("query", request.query.clone(), MAX_QUERY),
        language: faults.locale("language", &request.language),
    };
    let mut wanted = messages::Wanted {
        conversation: sending::optional_uuid_name("conversation", "conversations", &request.conversation, faults),
        contact: notification::optional_contact("contact", &request.contact, faults),
        channel: faults.optional_name("channel", "channels", &request.channel),
        from: faults.time("from_time", request.from_time),
        until: faults.time("until_time", request.until_time),
        ..messages::Wanted::default()
    };
    directed(request.direction, &mut wanted, faults);
    in_order(&wanted, faults);
    (search, wanted)
}

/// What is to be exported, behind the cursor.
pub fn export(request: &v1::ExportMessagesRequest, faults: &mut Faults) -> messages::Wanted {
    let mut wanted = messages::Wanted {
        conversation: sending::optional_uuid_name("conversation", "conversations", &request.conversation, faults),
        contact: notification::optional_contact("contact", &request.contact, faults),
        channel: faults.optional_name("channel", "channels", &request.channel),
        from: faults.time("from_time", request.from_time),
        until: faults.time("until_time", request.until_time),
        before: match request.cursor.as_str() {
            "" => None,
            cursor => {
                let read = Uuid::try_parse(cursor).ok();
                if read.is_none() {
                    let words = "is no cursor of an export: give the one of the last part, or none";
                    faults.add(crate::services::Violation::new("cursor", words).because("CURSOR_INVALID"));
                }
                read
            }
        },
        ..messages::Wanted::default()
    };
    directed(request.direction, &mut wanted, faults);
    in_order(&wanted, faults);
    wanted
}

fn in_order(wanted: &messages::Wanted, faults: &mut Faults) {
    if let (Some(from), Some(until)) = (wanted.from, wanted.until)
        && from >= until
    {
        faults.note("until_time", "must be after from_time");
    }
}

/// A part of an export.
#[must_use]
pub fn exported(page: Vec<Message>) -> v1::ExportMessagesResponse {
    let cursor = page.last().map(|message| message.row.id.to_string()).unwrap_or_default();
    let one = |message: Message| {
        // A document is made of texts, numbers and maps with text keys, which JSON always has a form for.
        let document_json = serde_json::to_string(&message.document).unwrap_or_default();
        let message = Some(super::message::message(message));
        v1::export_messages_response::Exported { message, document_json }
    };
    v1::ExportMessagesResponse { messages: page.into_iter().map(one).collect(), cursor }
}

/// Which message is redacted, by whom and why.
pub fn redact(request: v1::RedactMessageRequest, faults: &mut Faults) -> (Uuid, String, String) {
    (
        sending::uuid_name("name", "messages", &request.name, faults),
        faults.required_text("by", request.by, MAX_NAME),
        faults.required_text("reason", request.reason, MAX_REASON),
    )
}

/// A note.
pub fn note(request: v1::CreateNoteRequest, faults: &mut Faults) -> Note {
    Note {
        conversation: sending::uuid_name("parent", "conversations", &request.parent, faults),
        text: faults.required_text("text", request.text, MAX_NOTE),
        author: faults.required_text("author", request.author, MAX_NAME),
        language: Some(faults.locale("language", &request.language)).filter(|language| !language.is_empty()),
    }
}

/// Up to where a conversation was read, and by whom.
pub fn mark(request: v1::MarkReadRequest, faults: &mut Faults) -> (Uuid, Option<Uuid>, String) {
    (
        sending::uuid_name("conversation", "conversations", &request.conversation, faults),
        sending::optional_uuid_name("message", "messages", &request.message, faults),
        faults.text("reader", request.reader, MAX_NAME),
    )
}

/// A read mark of the contract.
#[must_use]
pub fn read_mark(row: MarkRow) -> v1::ReadMark {
    v1::ReadMark {
        conversation: format!("conversations/{}", row.conversation_id),
        reader: row.reader,
        message: format!("messages/{}", row.message_id),
        sequence: row.seq,
        read_time: Some(common::timestamp(row.read_at)),
        unread_count: row.unread,
    }
}

/// Who types where.
pub fn typing(request: v1::SetTypingRequest, faults: &mut Faults) -> Sign {
    Sign {
        conversation: sending::uuid_name("conversation", "conversations", &request.conversation, faults),
        author: faults.text("author", request.author, MAX_NAME),
        typing: request.typing,
    }
}

/// Where a page of receipts ended.
#[must_use]
pub fn after_receipt(row: &ReceiptRow) -> AfterReceipt {
    (row.received_at, row.n, row.evidence.as_str().to_owned())
}

/// One message of the past.
pub fn row(row: v1::import_messages_request::Row, now: DateTime<Utc>, faults: &mut Faults) -> Option<Row> {
    let outbound = |direction: Direction| match direction {
        Direction::Inbound => Some(false),
        Direction::Outbound => Some(true),
        Direction::Unspecified | Direction::Internal => None,
    };
    let outbound = faults.code("direction", row.direction, outbound);
    let address = faults.address("address", row.address);
    let content = said::content("content", row.content, faults);
    if matches!(content, Some(Content::Note { .. })) {
        faults.note("content", "is a note, which went neither in nor out");
    }
    if row.time.is_none() {
        faults.note("time", "is missing");
    }
    let time = faults.time("time", row.time);
    if time.is_some_and(|time| time > now) {
        faults.note("time", "lies in the future");
    }
    if time.is_some_and(|time| time < DateTime::UNIX_EPOCH) {
        faults.note("time", "lies before 1970");
    }
    Some(Row {
        provider_message_id: faults.required_text("provider_message_id", row.provider_message_id, MAX_ID),
        sender: faults.text("sender", row.sender, MAX_NAME),
        language: Some(faults.locale("language", &row.language)).filter(|language| !language.is_empty()),
        outbound: outbound?,
        address: address?,
        content: content?,
        time: time?,
    })
}
