//! What numbered events leave to be looked up: whom a notification, a delivery, a message or a conversation concerns, and the
//! names behind keys.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Conn, Result};

/// Whom something concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concern {
    /// The notification that it belongs to.
    pub notification: Option<Uuid>,
    /// The contact.
    pub contact: Option<i64>,
    /// The conversation.
    pub conversation: Option<Uuid>,
    /// The message that a delivery carries.
    pub message: Option<Uuid>,
}

/// Whom notifications concern.
///
/// # Errors
/// What storage says.
pub async fn of_notifications(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, Concern>> {
    let rows = sqlx::query!("select id, contact_id from notification where id = any($1)", ids).fetch_all(conn).await?;
    let concern = |contact| Concern { contact: Some(contact), ..Concern::default() };
    Ok(rows.into_iter().map(|r| (r.id, concern(r.contact_id))).collect())
}

/// Whom deliveries concern.
///
/// # Errors
/// What storage says.
pub async fn of_deliveries(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, Concern>> {
    let rows = sqlx::query!(
        r#"select d.id as "id!", d.notification_id as "notification_id?", coalesce(n.contact_id, v.contact_id) as "contact_id?",
                  m.conversation_id as "conversation_id?", d.message_id as "message_id?"
             from delivery d left join notification n on n.id = d.notification_id
             left join message m on m.delivery_id = d.id and m.outbound left join conversation v on v.id = m.conversation_id
            where d.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let concern =
        |notification, contact, conversation, message| Concern { notification, contact, conversation, message };
    let concerns =
        rows.into_iter().map(|r| (r.id, concern(r.notification_id, r.contact_id, r.conversation_id, r.message_id)));
    Ok(concerns.collect())
}

/// Whom messages concern.
///
/// # Errors
/// What storage says.
pub async fn of_messages(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, Concern>> {
    let rows = sqlx::query!(
        r#"select m.id as "id!", m.notification_id as "notification_id?", v.contact_id as "contact_id!",
                  v.id as "conversation_id!"
             from message m join conversation v on v.id = m.conversation_id where m.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let concern = |notification, contact, conversation| Concern {
        notification,
        contact: Some(contact),
        conversation: Some(conversation),
        message: None,
    };
    let concerns = rows.into_iter().map(|r| (r.id, concern(r.notification_id, r.contact_id, r.conversation_id)));
    Ok(concerns.collect())
}

/// Whom conversations concern.
///
/// # Errors
/// What storage says.
pub async fn of_conversations(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, Concern>> {
    let rows = sqlx::query!("select id, contact_id from conversation where id = any($1)", ids).fetch_all(conn).await?;
    let concern = |id, contact| Concern { contact: Some(contact), conversation: Some(id), ..Concern::default() };
    Ok(rows.into_iter().map(|r| (r.id, concern(r.id, r.contact_id))).collect())
}

/// The slugs of campaigns.
///
/// # Errors
/// What storage says.
pub async fn campaigns(conn: &mut Conn, ids: &[i64]) -> Result<HashMap<i64, String>> {
    let rows = sqlx::query!("select id, slug from campaign where id = any($1)", ids).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|r| (r.id, r.slug)).collect())
}

/// When the oldest event that is kept happened, in business time.
///
/// # Errors
/// What storage says.
pub async fn oldest_at(conn: &mut Conn) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    let at = sqlx::query_scalar!("select at from event order by number limit 1").fetch_optional(conn).await?;
    Ok(at)
}
