//! What a call under way asks for: the delivery that it speaks.

use uuid::Uuid;

use super::{Conn, Result};

/// A delivery, as far as its script asks.
#[derive(Debug, Clone)]
pub struct Spoken {
    /// The content, where it is a conversation's message.
    pub content: Option<serde_json::Value>,
    /// The pinned plan that renders it, where it is a notification's.
    pub plan_id: Option<i64>,
    /// The step of the notification.
    pub step: i16,
    /// The variables of the template.
    pub variables: serde_json::Value,
    /// The contact's locale.
    pub locale: String,
}

/// The delivery that is spoken on a channel; none when it belongs to another channel or does not exist.
///
/// # Errors
/// What storage says.
pub async fn spoken(conn: &mut Conn, delivery_id: Uuid, channel_id: i32) -> Result<Option<Spoken>> {
    let row = sqlx::query_as!(
        Spoken,
        r#"select m.content as "content?", n.plan_id as "plan_id?", d.step as "step!",
                  coalesce(n.variables || contact_variable(k), '{}') as "variables!", coalesce(k.locale, '') as "locale!"
             from delivery d
             left join message m on m.id = d.message_id
             left join notification n on n.id = d.notification_id
             left join contact k on k.id = n.contact_id
            where d.id = $1 and d.channel_id = $2"#,
        delivery_id,
        channel_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}
