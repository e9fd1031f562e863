//! What a single send looks up before it begins, and what it stores beside the notification itself.

use std::collections::HashMap;

use domain::channel::Address;
use uuid::Uuid;

use super::{Conn, Result};

/// Whether there is a call list with this slug.
///
/// # Errors
/// What storage says.
pub async fn call_list_exists(conn: &mut Conn, slug: &str) -> Result<bool> {
    let found = sqlx::query_scalar!(r#"select exists (select from call_list where slug = $1) as "found!""#, slug);
    Ok(found.fetch_one(conn).await?)
}

/// Those of these contacts that exist and were not deleted.
///
/// # Errors
/// What storage says.
pub async fn existing_contacts(conn: &mut Conn, ids: &[i64]) -> Result<Vec<i64>> {
    let found = sqlx::query_scalar!("select id from contact where id = any($1) and deleted_at is null", ids);
    Ok(found.fetch_all(conn).await?)
}

/// For each address the contact that was written to there last, else the one that has had it longest.
///
/// # Errors
/// What storage says.
pub async fn contacts_of(conn: &mut Conn, addresses: &[&Address]) -> Result<HashMap<Address, i64>> {
    let kinds: Vec<&str> = addresses.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
    let rows = sqlx::query!(
        r#"select distinct on (a.id) a.kind::text as "kind!", a.value as "value!", c.id as "id!"
             from unnest($1::text[], $2::text[]) as x(kind, value)
             join address a on a.kind = x.kind::address_kind and a.value = x.value
             join contact_address l on l.address_id = a.id
             join contact c on c.id = l.contact_id and c.deleted_at is null
            order by a.id, (select n.id from notification n where n.contact_id = c.id order by n.id desc limit 1)
                     desc nulls last, c.id"#,
        &kinds as &[&str],
        &values as &[&str]
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|r| Ok((Address { kind: r.kind.parse()?, value: r.value }, r.id))).collect()
}

/// Locks addresses in the order of their keys, so that two sends to one unknown address make one contact of it.
///
/// # Errors
/// What storage says.
pub async fn lock_addresses(conn: &mut Conn, addresses: &[&Address]) -> Result<()> {
    let kinds: Vec<&str> = addresses.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
    sqlx::query!(
        r#"select id from address
            where (kind, value) in (select x.kind::address_kind, x.value from unnest($1::text[], $2::text[]) as x(kind, value))
            order by id for no key update"#,
        &kinds as &[&str],
        &values as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Writes the caller's marks beside notifications that were made in this transaction.
///
/// # Errors
/// What storage says.
pub async fn set_labels(conn: &mut Conn, ids: &[Uuid], labels: &[serde_json::Value]) -> Result<()> {
    sqlx::query!(
        r#"update notification n set labels = x.labels from unnest($1::uuid[], $2::jsonb[]) as x(id, labels) where n.id = x.id"#,
        ids,
        labels
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A file that the mails of a notification carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRow {
    /// Its notification.
    pub notification_id: Uuid,
    /// Its place among the files of the notification.
    pub position: i16,
    /// The file name.
    pub file_name: String,
    /// The MIME type.
    pub mime_type: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Stores files.
///
/// # Errors
/// What storage says.
pub async fn attach(conn: &mut Conn, rows: &[AttachmentRow]) -> Result<()> {
    let notifications: Vec<Uuid> = rows.iter().map(|r| r.notification_id).collect();
    let positions: Vec<i16> = rows.iter().map(|r| r.position).collect();
    let names: Vec<&str> = rows.iter().map(|r| r.file_name.as_str()).collect();
    let types: Vec<&str> = rows.iter().map(|r| r.mime_type.as_str()).collect();
    let data: Vec<&[u8]> = rows.iter().map(|r| r.data.as_slice()).collect();
    sqlx::query!(
        r#"insert into notification_attachment (notification_id, position, file_name, mime_type, data)
           select * from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::bytea[])"#,
        &notifications,
        &positions,
        &names as &[&str],
        &types as &[&str],
        &data as &[&[u8]]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The files of a notification, in order.
///
/// # Errors
/// What storage says.
pub async fn attachments(conn: &mut Conn, notification_id: Uuid) -> Result<Vec<AttachmentRow>> {
    let rows = sqlx::query_as!(
        AttachmentRow,
        r#"select notification_id, position, file_name, mime_type, data
             from notification_attachment where notification_id = $1 order by position"#,
        notification_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
