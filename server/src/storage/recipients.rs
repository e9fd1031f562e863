//! The facts of recipients that the rulebook asks for: addresses, consent, service windows, and what caps there are; a page at a
//! time, in one statement.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::caps::Cap;

use super::{Conn, Error, Result};

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
    Ok(load_with_caps(conn, contacts).await?.0)
}

/// The same with the frequency caps, in the order of their creation: all that planning asks for, in one statement.
///
/// # Errors
/// What storage says.
pub async fn load_with_caps(conn: &mut Conn, contacts: &[i64]) -> Result<(HashMap<i64, RecipientRow>, Vec<Cap>)> {
    // A row is a contact with one of its addresses, a consent or a window of an address, or a cap.
    let rows = sqlx::query!(
        r#"with p as materialized (
             select c.id as contact_id, c.locale, c.time_zone, c.display_name, l.position, a.id as address_id,
                    a.kind::text as kind, a.value, a.suppressed_at is not null as suppressed
               from contact c
               left join contact_address l on l.contact_id = c.id
               left join address a on a.id = l.address_id
              where c.id = any($1) and c.deleted_at is null),
           a as (select distinct p.address_id from p where p.address_id is not null)
           select p.contact_id as "contact_id?", p.locale as "locale?", p.time_zone as "time_zone?",
                  p.display_name as "display_name?", p.position as "position?", p.address_id as "address_id?", p.kind as "kind?",
                  p.value as "value?", p.suppressed as "suppressed?", null::text as "channel_type?", null::text as "purpose?",
                  null::boolean as "opted_in?", null::int as "channel_id?", null::timestamptz as "last_inbound_at?",
                  null::bigint as "cap_id?", null::int as "messages?", null::bigint as "millis?"
             from p
           union all
           select null, null, null, null, null, a.address_id, null, null, null, s.channel_type, s.purpose, s.opted_in, null, null,
                  null, null, null
             from a cross join lateral (select y.channel_type, y.purpose, y.opted_in from consent y
                                         where y.address_id = a.address_id offset 0) s
           union all
           select null, null, null, null, null, a.address_id, null, null, null, null, null, null, w.channel_id, w.last_inbound_at,
                  null, null, null
             from a cross join lateral (select y.channel_id, y.last_inbound_at from service_window y
                                         where y.address_id = a.address_id offset 0) w
           union all
           select null, null, null, null, null, null, null, null, null, f.channel_type, f.purpose, null, null, null, f.id,
                  f.messages, (extract(epoch from f.period) * 1000)::bigint
             from (select * from frequency_cap where id > 0 order by id limit 100) f"#,
        contacts
    )
    .fetch_all(conn)
    .await?;
    let (mut found, mut caps): (HashMap<i64, RecipientRow>, Vec<(i64, Cap)>) = (HashMap::new(), Vec::new());
    let (mut addresses, mut consents, mut windows) = (Vec::new(), HashMap::new(), HashMap::new());
    for r in rows {
        match (r.contact_id, r.address_id, r.cap_id) {
            (Some(contact_id), address_id, _) => {
                let row = RecipientRow {
                    contact_id,
                    locale: r.locale.unwrap_or_default(),
                    time_zone: r.time_zone.unwrap_or_default(),
                    display_name: r.display_name.unwrap_or_default(),
                    addresses: Vec::new(),
                };
                found.entry(contact_id).or_insert(row);
                if let (Some(id), Some(kind), Some(value)) = (address_id, r.kind, r.value) {
                    let suppressed = r.suppressed.unwrap_or_default();
                    addresses.push((contact_id, r.position, id, kind.parse()?, value, suppressed));
                }
            }
            (None, Some(address_id), _) => {
                match (r.channel_type, r.purpose, r.opted_in, r.channel_id, r.last_inbound_at) {
                    (Some(channel_type), Some(purpose), Some(opted_in), ..) => {
                        let said: &mut Vec<_> = consents.entry(address_id).or_default();
                        said.push((channel_type, purpose, opted_in));
                    }
                    (.., Some(channel_id), Some(at)) => {
                        let open: &mut Vec<_> = windows.entry(address_id).or_default();
                        open.push((channel_id, at));
                    }
                    _ => {}
                }
            }
            (None, None, Some(id)) => caps.push((id, cap(r.channel_type, r.purpose, r.messages, r.millis)?)),
            (None, None, None) => {}
        }
    }
    addresses.sort_by_key(|(contact, position, id, ..)| (*contact, *position, *id));
    for (contact, _, id, kind, value, suppressed) in addresses {
        let (consents, last_inbound) =
            (consents.get(&id).cloned().unwrap_or_default(), windows.get(&id).cloned().unwrap_or_default());
        let address = AddressRow { id, kind, value, suppressed, consents, last_inbound };
        found.entry(contact).and_modify(|recipient| recipient.addresses.push(address));
    }
    caps.sort_by_key(|(id, _)| *id);
    Ok((found, caps.into_iter().map(|(_, cap)| cap).collect()))
}

fn cap(
    channel_type: Option<String>,
    purpose: Option<String>,
    messages: Option<i32>,
    millis: Option<i64>,
) -> Result<Cap> {
    let missing = || Error::Corrupt("a frequency cap is not whole".into());
    let channel_type = channel_type.ok_or_else(missing)?;
    Ok(Cap {
        channel_type: if channel_type == "*" { None } else { Some(channel_type.parse()?) },
        purpose: purpose.ok_or_else(missing)?,
        messages: messages.ok_or_else(missing)?,
        period: TimeDelta::milliseconds(millis.ok_or_else(missing)?),
    })
}
