//! History that was said elsewhere. A row is one message of the past; a batch is one transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::Address,
    message::{Content, Envelope, Party, PartyKind},
};
use uuid::{NoContext, Timestamp, Uuid};

use super::snapshot;
use crate::{
    services::{Context, Error, Result, directory::Channel, work::Work},
    storage::{self, conversations::NewMessage, inbound, messages::past},
};

/// Rows that are taken in one transaction.
pub const BATCH: usize = 200;

/// One message of the past.
#[derive(Debug, Clone)]
pub struct Row {
    /// The provider's id.
    pub provider_message_id: String,
    /// To the contact, or from it.
    pub outbound: bool,
    /// The contact's address.
    pub address: Address,
    /// Who said it, as displayed; empty: the address or our line.
    pub sender: String,
    /// What was said.
    pub content: Content,
    /// When it was said.
    pub time: DateTime<Utc>,
    /// The language of the words.
    pub language: Option<String>,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were stored.
    pub created: i64,
    /// Messages that were known before.
    pub unchanged: i64,
}

/// The channel of an import.
///
/// # Errors
/// [`Error::ReferenceNotFound`].
pub async fn channel(context: &Context, slug: &str) -> Result<Channel> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let found = snapshot.channels.iter().find(|channel| channel.row.slug == slug).cloned();
    found.ok_or_else(|| Error::ReferenceNotFound { field: "options.channel".into(), name: format!("channels/{slug}") })
}

/// Takes rows, a batch a transaction; with `validate_only` each batch is taken back at its end.
///
/// # Errors
/// What storage says; the batches before are stored then.
pub async fn take(context: &Context, channel: &Channel, rows: &[Row], validate_only: bool) -> Result<Counts> {
    let mut all = Counts::default();
    for batch in rows.chunks(BATCH) {
        let mut work = Work::begin(context).await?;
        let counts = batch_of(&mut work, channel, batch).await?;
        if !validate_only {
            work.commit(context).await?;
        }
        all.created += counts.created;
        all.unchanged += counts.unchanged;
    }
    Ok(all)
}

async fn batch_of(work: &mut Work, channel: &Channel, rows: &[Row]) -> Result<Counts> {
    let people = people(work, rows).await?;
    let mut counts = Counts::default();
    for row in rows {
        let Some(person) = people.get(&row.address) else { continue };
        if one(work, channel, row, *person).await? { counts.created += 1 } else { counts.unchanged += 1 }
    }
    Ok(counts)
}

/// The address and the contact of each row; contacts are made where an address is not known, and locked by ascending id.
async fn people(work: &mut Work, rows: &[Row]) -> Result<HashMap<Address, (i64, i64)>> {
    let now = work.now();
    let mut addresses: Vec<&Address> = rows.iter().map(|row| &row.address).collect();
    // In one order in every import: two of them make the same addresses without waiting for each other in a circle.
    addresses.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
    addresses.dedup();
    let mut people = HashMap::new();
    for address in addresses {
        let id = inbound::ensure_address(work.conn(), address, now).await?;
        let contact = match inbound::contact_of(work.conn(), &[id]).await? {
            Some(contact) => contact,
            None => {
                let said = |row: &&Row| !row.outbound && row.address == *address && !row.sender.is_empty();
                let name = rows.iter().find(said).map_or("", |row| row.sender.as_str());
                inbound::new_contact(work.conn(), name, &[id], now).await?
            }
        };
        people.insert(address.clone(), (id, contact));
    }
    let mut contacts: Vec<i64> = people.values().map(|(_, contact)| *contact).collect();
    contacts.sort_unstable();
    contacts.dedup();
    for contact in contacts {
        inbound::lock_contact(work.conn(), contact).await?;
    }
    Ok(people)
}

/// Says whether the message is new.
async fn one(work: &mut Work, channel: &Channel, row: &Row, (address, contact): (i64, i64)) -> Result<bool> {
    // The id is of the time of the message: lists by id then show history where it belongs.
    let id = Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        u64::try_from(row.time.timestamp()).unwrap_or_default(),
        row.time.timestamp_subsec_nanos(),
    ));
    if !past::take_ref(work.conn(), channel.row.id, &row.provider_message_id, id).await? {
        return Ok(false);
    }
    let conversation = past::conversation(work.conn(), contact, channel.row.id, Uuid::now_v7(), row.time).await?;
    let envelope = envelope(channel, row);
    let message = NewMessage {
        id,
        conversation_id: conversation,
        outbound: row.outbound,
        channel_id: channel.row.id,
        address_id: address,
        sender: envelope.sender.display.clone(),
        receiver: envelope.receiver.as_ref().map(|party| party.display.clone()).unwrap_or_default(),
        content: serde_json::to_value(&row.content).map_err(storage::Error::from)?,
        plain_text: row.content.plain_text(),
        provider_message_id: Some(row.provider_message_id.clone()),
        provider_time: Some(row.time),
        received_at: row.time,
        envelope: Some(envelope),
        ..NewMessage::default()
    };
    past::append(work.conn(), &message).await?;
    if let Content::Media { reference, mime_type, .. } = &row.content {
        storage::messages::media::want(work.conn(), id, (channel.row.id, None), (reference, mime_type)).await?;
        work.wake(crate::wake::Topic::Media);
    }
    Ok(true)
}

fn envelope(channel: &Channel, row: &Row) -> Envelope {
    let at = snapshot::of_channel(channel, None, &row.address);
    let envelope = match row.outbound {
        true => snapshot::outbound(at),
        false => snapshot::inbound(at, row.address.value.clone()),
    };
    let sender = match (row.sender.as_str(), row.outbound) {
        ("", _) => envelope.sender,
        (name, true) => Party { kind: PartyKind::Operator, display: name.to_owned() },
        (name, false) => Party { kind: PartyKind::Contact, display: name.to_owned() },
    };
    Envelope { sender, language: row.language.clone(), ..envelope }
}
