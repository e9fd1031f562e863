//! Contacts with their addresses, many at once: a single contact is a set of one.
//!
//! Rows are written in the order of their ids and addresses in that of kind and value, so that two imports that overlap wait
//! for each other and never in a circle. What is to be written is decided in [`crate::services::contacts`].

mod filter;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{channel::Address, filter::Filter};
use sqlx::{QueryBuilder, Row};

use super::{Conn, Result};

/// A contact as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactRow {
    /// Its key.
    pub id: i64,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// What the person is called.
    pub display_name: String,
    /// The language, empty when it is not known.
    pub locale: String,
    /// The time zone, empty when it is not known.
    pub time_zone: String,
    /// Anything else, a flat object of texts.
    pub attributes: serde_json::Value,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// The addresses, the preferred ones first.
    pub addresses: Vec<Address>,
}

/// Contacts by their keys, in their order; those that were deleted are missing.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[i64]) -> Result<Vec<ContactRow>> {
    let rows = sqlx::query!(
        r#"select id, external_id, display_name, locale, time_zone, attributes, version, created_at, updated_at
             from contact where id = any($1) and deleted_at is null order by id"#,
        ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut addresses = addresses(conn, ids).await?;
    let contact = rows.into_iter().map(|r| ContactRow {
        id: r.id,
        external_id: r.external_id,
        display_name: r.display_name,
        locale: r.locale,
        time_zone: r.time_zone,
        attributes: r.attributes,
        version: r.version,
        created_at: r.created_at,
        updated_at: r.updated_at,
        addresses: addresses.remove(&r.id).unwrap_or_default(),
    });
    Ok(contact.collect())
}

async fn addresses(conn: &mut Conn, contacts: &[i64]) -> Result<HashMap<i64, Vec<Address>>> {
    let rows = sqlx::query!(
        r#"select c.contact_id, a.kind::text as "kind!", a.value
             from contact_address c join address a on a.id = c.address_id
            where c.contact_id = any($1) order by c.contact_id, c.position, a.id"#,
        contacts
    )
    .fetch_all(conn)
    .await?;
    let mut by_contact: HashMap<i64, Vec<Address>> = HashMap::new();
    for row in rows {
        let address = Address { kind: row.kind.parse()?, value: row.value };
        by_contact.entry(row.contact_id).or_default().push(address);
    }
    Ok(by_contact)
}

/// Locks contacts in the order of their keys; says which of them exist.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, ids: &[i64]) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        "select id from contact where id = any($1) and deleted_at is null order by id for update",
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// The keys of contacts by the caller's own keys.
///
/// # Errors
/// What storage says.
pub async fn by_external_id(conn: &mut Conn, external_ids: &[&str]) -> Result<HashMap<String, i64>> {
    let rows = sqlx::query!(
        r#"select id, external_id as "external_id!" from contact where external_id = any($1) and deleted_at is null"#,
        external_ids as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.external_id, r.id)).collect())
}

/// For each address the contact that has had it longest.
///
/// # Errors
/// What storage says.
pub async fn by_address(conn: &mut Conn, addresses: &[&Address]) -> Result<HashMap<Address, i64>> {
    let kinds: Vec<&str> = addresses.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
    let rows = sqlx::query!(
        r#"select a.kind::text as "kind!", a.value, min(c.id) as "id!"
             from unnest($1::text[], $2::text[]) as x(kind, value)
             join address a on a.kind = x.kind::address_kind and a.value = x.value
             join contact_address l on l.address_id = a.id
             join contact c on c.id = l.contact_id and c.deleted_at is null
            group by a.kind, a.value"#,
        &kinds as &[&str],
        &values as &[&str]
    )
    .fetch_all(conn)
    .await?;
    let entry = |r: (String, String, i64)| Ok((Address { kind: r.0.parse()?, value: r.1 }, r.2));
    rows.into_iter().map(|r| entry((r.kind, r.value, r.id))).collect()
}

/// The contacts that have an address, the one that was last written to there first, then the oldest.
///
/// # Errors
/// What storage says.
pub async fn all_by_address(conn: &mut Conn, address: &Address, limit: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select c.id from address a join contact_address l on l.address_id = a.id
             join contact c on c.id = l.contact_id and c.deleted_at is null
            where a.kind = $1::text::address_kind and a.value = $2
            order by (select max(n.id::text) from notification n where n.contact_id = c.id) desc nulls last, c.id
            limit $3"#,
        address.kind.as_str(),
        address.value,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// The keys of the contacts that a filter means, in their order, from one key on.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, filter: &Filter, after: i64, limit: i64) -> Result<Vec<i64>> {
    let mut query = QueryBuilder::new("select c.id from contact c where c.deleted_at is null and c.id > ");
    query.push_bind(after).push(" and ");
    filter::push(&mut query, filter);
    query.push(" order by c.id limit ").push_bind(limit);
    let rows = query.build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// How many contacts a filter means.
///
/// # Errors
/// What storage says.
pub async fn count(conn: &mut Conn, filter: &Filter) -> Result<i64> {
    let mut query = QueryBuilder::new("select count(*) from contact c where c.deleted_at is null and ");
    filter::push(&mut query, filter);
    Ok(query.build().fetch_one(conn).await?.try_get(0)?)
}

/// What is written of a contact.
#[derive(Debug, Clone)]
pub struct ContactWrite {
    /// Its key, which [`new_ids`] gave.
    pub id: i64,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// What the person is called.
    pub display_name: String,
    /// The language.
    pub locale: String,
    /// The time zone.
    pub time_zone: String,
    /// Anything else, a flat object of texts.
    pub attributes: serde_json::Value,
}

/// Keys for contacts that are about to be created.
///
/// # Errors
/// What storage says.
pub async fn new_ids(conn: &mut Conn, count: usize) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select nextval(pg_get_serial_sequence('contact', 'id')) as "id!" from generate_series(1, $1)"#,
        i32::try_from(count).unwrap_or(i32::MAX)
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Creates contacts, without their addresses.
///
/// # Errors
/// [`super::Error::Exists`] when an external id is taken.
pub async fn insert(conn: &mut Conn, contacts: &[ContactWrite], now: DateTime<Utc>) -> Result<()> {
    let columns = Columns::of(contacts);
    sqlx::query!(
        r#"insert into contact (id, external_id, display_name, locale, time_zone, attributes, created_at, updated_at)
           overriding system value
           select x.id, x.external_id, x.display_name, x.locale, x.time_zone, x.attributes, $7, $7
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
               as x(id, external_id, display_name, locale, time_zone, attributes) order by x.external_id, x.id"#,
        &columns.ids,
        &columns.external_ids as &[Option<&str>],
        &columns.display_names as &[&str],
        &columns.locales as &[&str],
        &columns.time_zones as &[&str],
        &columns.attributes as &[&serde_json::Value],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes contacts that the caller has locked.
///
/// # Errors
/// [`super::Error::Exists`] when an external id is taken.
pub async fn update(conn: &mut Conn, contacts: &[ContactWrite], now: DateTime<Utc>) -> Result<()> {
    let columns = Columns::of(contacts);
    sqlx::query!(
        r#"update contact c
              set external_id = x.external_id, display_name = x.display_name, locale = x.locale, time_zone = x.time_zone,
                  attributes = x.attributes, version = c.version + 1, updated_at = $7
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
               as x(id, external_id, display_name, locale, time_zone, attributes) where c.id = x.id"#,
        &columns.ids,
        &columns.external_ids as &[Option<&str>],
        &columns.display_names as &[&str],
        &columns.locales as &[&str],
        &columns.time_zones as &[&str],
        &columns.attributes as &[&serde_json::Value],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Columns<'a> {
    ids: Vec<i64>,
    external_ids: Vec<Option<&'a str>>,
    display_names: Vec<&'a str>,
    locales: Vec<&'a str>,
    time_zones: Vec<&'a str>,
    attributes: Vec<&'a serde_json::Value>,
}

impl<'a> Columns<'a> {
    fn of(contacts: &'a [ContactWrite]) -> Self {
        Self {
            ids: contacts.iter().map(|c| c.id).collect(),
            external_ids: contacts.iter().map(|c| c.external_id.as_deref()).collect(),
            display_names: contacts.iter().map(|c| c.display_name.as_str()).collect(),
            locales: contacts.iter().map(|c| c.locale.as_str()).collect(),
            time_zones: contacts.iter().map(|c| c.time_zone.as_str()).collect(),
            attributes: contacts.iter().map(|c| &c.attributes).collect(),
        }
    }
}

/// Gives contacts exactly these addresses, in this order of preference.
///
/// # Errors
/// What storage says.
pub async fn set_addresses(conn: &mut Conn, links: &[(i64, &[Address])], now: DateTime<Utc>) -> Result<()> {
    let all: Vec<&Address> = links.iter().flat_map(|(_, addresses)| addresses.iter()).collect();
    ensure_addresses(conn, &all, now).await?;
    let contacts: Vec<i64> = links.iter().map(|(contact, _)| *contact).collect();
    sqlx::query!("delete from contact_address where contact_id = any($1)", &contacts).execute(&mut *conn).await?;
    let owners: Vec<i64> = links.iter().flat_map(|(contact, a)| a.iter().map(move |_| *contact)).collect();
    let positions: Vec<i16> =
        links.iter().flat_map(|(_, a)| (0..a.len()).map(|i| i16::try_from(i).unwrap_or(i16::MAX))).collect();
    let kinds: Vec<&str> = all.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = all.iter().map(|a| a.value.as_str()).collect();
    sqlx::query!(
        r#"insert into contact_address (contact_id, address_id, position)
           select x.contact_id, a.id, min(x.position)
             from unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[]) as x(contact_id, kind, value, position)
             join address a on a.kind = x.kind::address_kind and a.value = x.value
            group by x.contact_id, a.id"#,
        &owners,
        &kinds as &[&str],
        &values as &[&str],
        &positions
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the addresses that do not exist yet.
///
/// # Errors
/// What storage says.
pub async fn ensure_addresses(conn: &mut Conn, addresses: &[&Address], now: DateTime<Utc>) -> Result<()> {
    let kinds: Vec<&str> = addresses.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
    sqlx::query!(
        r#"insert into address (kind, value, created_at)
           select distinct x.kind::address_kind, x.value, $3::timestamptz
             from unnest($1::text[], $2::text[]) as x(kind, value) order by 1, 2
           on conflict (kind, value) do nothing"#,
        &kinds as &[&str],
        &values as &[&str],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a contact that the caller has locked; its external id is free again. Messages and consents stay.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update contact set deleted_at = $2, external_id = null, version = version + 1, updated_at = $2 where id = $1"#,
        id,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("delete from audience_member where contact_id = $1", id).execute(conn).await?;
    Ok(())
}

/// The unfinished notifications of a contact, in the order of their ids.
///
/// # Errors
/// What storage says.
pub async fn unfinished_notifications(conn: &mut Conn, id: i64) -> Result<Vec<uuid::Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from notification where contact_id = $1 and state in ('pending', 'waiting') order by id",
        id
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Puts contacts on an audience of kind list; those that are on it already stay as they are.
///
/// # Errors
/// What storage says.
pub async fn add_to_audience(conn: &mut Conn, audience_id: i64, contacts: &[i64]) -> Result<()> {
    sqlx::query!(
        r#"insert into audience_member (audience_id, contact_id)
           select $1, x.id from unnest($2::bigint[]) as x(id) order by x.id on conflict do nothing"#,
        audience_id,
        contacts
    )
    .execute(conn)
    .await?;
    Ok(())
}
