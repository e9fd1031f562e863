//! The facts of recipients that the rulebook asks for: addresses, consent, service windows; a page at a time.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// One contact, with everything that decides whether and how it can be reached.
#[derive(Debug, Clone)]
pub struct RecipientRow {
    /// The contact.
    pub contact_id: i64,
    /// Its language, empty when it is not known.
    pub locale: String,
    /// Its time zone, empty when it is not known.
    pub time_zone: String,
    /// Its name.
    pub display_name: String,
    /// Its addresses, the preferred ones first.
    pub addresses: Vec<AddressRow>,
}

/// One address of a contact.
#[derive(Debug, Clone)]
pub struct AddressRow {
    /// Its key.
    pub id: i64,
    /// Its kind.
    pub kind: domain::channel::AddressKind,
    /// Its canonical value.
    pub value: String,
    /// Whether nothing more is sent to it.
    pub suppressed: bool,
    /// What was said about writing to it: (channel type, purpose, opted in).
    pub consents: Vec<(String, String, bool)>,
    /// When the person last wrote from it, by channel.
    pub last_inbound: Vec<(i32, DateTime<Utc>)>,
}

/// Loads the facts of contacts. Those that are deleted or unknown are missing in the answer.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, contacts: &[i64]) -> Result<HashMap<i64, RecipientRow>> {
    let mut found: HashMap<i64, RecipientRow> = sqlx::query!(
        "select id, locale, time_zone, display_name from contact where id = any($1) and deleted_at is null",
        contacts
    )
    .fetch_all(&mut *conn)
    .await?
    .into_iter()
    .map(|r| {
        let row = RecipientRow {
            contact_id: r.id,
            locale: r.locale,
            time_zone: r.time_zone,
            display_name: r.display_name,
            addresses: Vec::new(),
        };
        (r.id, row)
    })
    .collect();
    let addresses = sqlx::query!(
        r#"select c.contact_id, a.id, a.kind::text as "kind!", a.value, a.suppressed_at is not null as "suppressed!"
             from contact_address c join address a on a.id = c.address_id
            where c.contact_id = any($1) order by c.contact_id, c.position, a.id"#,
        contacts
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<i64> = addresses.iter().map(|a| a.id).collect();
    let (mut consents, mut windows) = (consents(&mut *conn, &ids).await?, windows(conn, &ids).await?);
    for row in addresses {
        let Some(recipient) = found.get_mut(&row.contact_id) else { continue };
        recipient.addresses.push(AddressRow {
            id: row.id,
            kind: row.kind.parse()?,
            value: row.value,
            suppressed: row.suppressed,
            consents: consents.entry(row.id).or_default().clone(),
            last_inbound: windows.entry(row.id).or_default().clone(),
        });
    }
    Ok(found)
}

async fn consents(conn: &mut Conn, addresses: &[i64]) -> Result<HashMap<i64, Vec<(String, String, bool)>>> {
    let rows = sqlx::query!(
        "select address_id, channel_type, purpose, opted_in from consent where address_id = any($1)",
        addresses
    )
    .fetch_all(conn)
    .await?;
    let mut by_address: HashMap<i64, Vec<_>> = HashMap::new();
    for row in rows {
        by_address.entry(row.address_id).or_default().push((row.channel_type, row.purpose, row.opted_in));
    }
    Ok(by_address)
}

async fn windows(conn: &mut Conn, addresses: &[i64]) -> Result<HashMap<i64, Vec<(i32, DateTime<Utc>)>>> {
    let rows = sqlx::query!(
        "select address_id, channel_id, last_inbound_at from service_window where address_id = any($1)",
        addresses
    )
    .fetch_all(conn)
    .await?;
    let mut by_address: HashMap<i64, Vec<_>> = HashMap::new();
    for row in rows {
        by_address.entry(row.address_id).or_default().push((row.channel_id, row.last_inbound_at));
    }
    Ok(by_address)
}
