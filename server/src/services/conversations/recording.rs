//! What a single notification has sent is recorded in the contact's conversation, which begins with it (`AT_SEND`). A campaign's
//! message enters its conversation with the answer (`ON_REPLY`), which is in [`crate::services::inbound`], or as a single one does,
//! where the campaign asks for it.

use uuid::Uuid;

use super::{
    held::By,
    opening,
    sessions::{self, Place},
};
use crate::{
    services::{Context, Result, outgoing},
    storage::{
        Conn, conversation_timers,
        conversations::{self},
        inbound, planning,
    },
};

/// Records one delivery, if its message stands nowhere yet.
///
/// # Errors
/// What storage says.
pub(super) async fn record(context: &Context, conn: &mut Conn, delivery: Uuid, by: By<'_>) -> Result<()> {
    if let Some(sent) = conversations::sent_of(conn, delivery).await? {
        inbound::lock_contact(conn, sent.contact_id).await?;
        let place = Place { channel_id: sent.channel_id, address_id: sent.address_id };
        let (mut held, _) = opening::ensure(context, conn, sent.contact_id, place.channel_id, by).await?;
        sessions::we_write(context, conn, &mut held, place, by).await?;
        if outgoing::append_sent(context, conn, held.id(), delivery, by.at).await? {
            held.row.last_seq += 1;
        }
        held.settle(conn, "NOTIFICATION_SENT", by).await?;
        planning::set_conversation(conn, sent.notification_id, held.id()).await?;
    }
    Ok(conversation_timers::disarm(conn, delivery, conversation_timers::RECORD).await?)
}
