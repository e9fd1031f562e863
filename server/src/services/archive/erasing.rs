//! A contact is erased: what the tables hold goes in one transaction, and nothing of it is read from then on; the files of the archive
//! are written anew without it, and the copies of its files removed, soon after. The receipt says what went, and when the last
//! of it was gone.
//!
//! The row of the contact stays, empty, so that what refers to it leads to nobody. Addresses that others have too stay theirs.

use serde_json::{Map, Value};
use uuid::Uuid;

pub use crate::storage::archive::erasing::{ErasureRow, Wanted};
use crate::{
    services::{
        Context, Error, Result,
        contacts::{self, ContactName},
        conversations::{
            closing,
            held::{By, Held},
        },
        work::Work,
    },
    storage::{
        archive::{erasing as stored, files, moving},
        contacts as stored_contacts, conversation_state, events,
    },
    wake::Topic,
};

/// The name of an erasure in the API.
#[must_use]
pub fn name_of(id: Uuid) -> String {
    format!("erasures/{id}")
}

/// Erases a contact, one that was deleted or erased before too. Says the receipt.
///
/// # Errors
/// [`Error::NotFound`]; STATE_WRONG while a message to the contact is on its way to the provider.
pub async fn erase(work: &mut Work, name: &ContactName, reason: &str) -> Result<ErasureRow> {
    let (contact, who) = (key(work, name).await?, work.who());
    let by = By::of(&who);
    let deleted = stored::lock_contact(work.conn(), contact).await?.ok_or_else(|| Error::NotFound(name.to_string()))?;
    if let Some(open) = conversation_state::lock_open(work.conn(), contact).await? {
        closing::force(work.conn(), &mut Held::from(open), by).await?;
    }
    let conversations = stored::lock_conversations(work.conn(), contact).await?;
    if deleted.is_none() {
        contacts::delete(work, &ContactName::Id(contact), "").await?;
    }
    if stored::on_the_wire(work.conn(), &conversations).await? > 0 {
        let message = format!("a message to contacts/{contact} is on its way to the provider: erase it in a minute");
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    }
    let id = Uuid::now_v7();
    stored::begin(work.conn(), id, contact, reason, by.at).await?;
    let mut erased = conversations_go(work, id, &conversations).await?;
    let addresses = stored::own_addresses(work.conn(), contact).await?;
    let mut wiped = stored::wipe_contact(work.conn(), contact).await?;
    wiped.extend(stored::wipe_addresses(work.conn(), &addresses).await?);
    erased.extend(wiped.into_iter().map(|(what, n)| (what.to_owned(), n.into())));
    stored::empty_contact(work.conn(), contact, by.at).await?;
    stored::note(work.conn(), id, &Value::Object(erased)).await?;
    events::say(work.conn(), "contact", "erased", &format!("contacts/{contact}"), None, None, by.at).await?;
    work.wake(Topic::Events);
    work.wake(Topic::Media);
    one(work, id).await
}

/// The conversations go, out of the tables and out of the index of the archive. Says how many of what.
async fn conversations_go(work: &mut Work, id: Uuid, conversations: &[Uuid]) -> Result<Map<String, Value>> {
    files::lock_of(work.conn(), conversations).await?;
    let messages = stored::count_messages(work.conn(), conversations).await?;
    let copies = stored::mark_media(work.conn(), conversations, id).await?;
    let (archived, in_files) = stored::unplace(work.conn(), conversations, "erased", Some(id)).await?;
    moving::drop_parts(work.conn(), conversations).await?;
    stored::remove_conversations(work.conn(), conversations).await?;
    let counts = [
        ("conversations", Value::from(conversations.len())),
        ("archived_conversations", archived.into()),
        ("archive_files", in_files.into()),
        ("messages", messages.into()),
        ("media_copies", copies.into()),
    ];
    Ok(counts.into_iter().map(|(what, n)| (what.to_owned(), n)).collect())
}

/// The key of a contact, of one that was deleted too.
async fn key(work: &mut Work, name: &ContactName) -> Result<i64> {
    match name {
        ContactName::Id(id) => Ok(*id),
        ContactName::External(external) => {
            let found = stored_contacts::by_external_id(work.conn(), &[external]).await?;
            found.get(external).copied().ok_or_else(|| Error::NotFound(name.to_string()))
        }
    }
}

async fn one(work: &mut Work, id: Uuid) -> Result<ErasureRow> {
    stored::load(work.conn(), &[id]).await?.pop().ok_or_else(|| Error::NotFound(name_of(id)))
}

/// One receipt.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<ErasureRow> {
    let found = stored::load(&mut *context.lists.conn().await?, &[id]).await?.pop();
    found.ok_or_else(|| Error::NotFound(name_of(id)))
}

/// A page of receipts, the newest first.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<ErasureRow>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = stored::page(conn, wanted, limit).await?;
    Ok(stored::load(conn, &ids).await?)
}
