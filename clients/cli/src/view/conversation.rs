//! One message: who, where, when, and the words.

use std::io;

use proto::v1::Message;

use super::notification::words;
use super::record::pair;
use super::value::{address, when, word};
use crate::error::clean;
use crate::out::Out;

/// Writes a message.
///
/// # Errors
/// What the system says.
pub fn message(out: &mut Out, it: &Message) -> io::Result<()> {
    pair(out, "message", &it.name)?;
    pair(out, "direction", &word("Message.Direction", it.direction))?;
    pair(out, "channel", &format!("{} {}", word("ChannelType", it.channel_type), it.channel))?;
    pair(out, "person", &format!("{} {}", it.contact, address(it.address.as_ref())))?;
    if let Some(sender) = &it.sender {
        pair(out, "said by", &clean(&sender.display))?;
    }
    pair(out, "our address", &it.service_identifier)?;
    pair(out, "conversation", &it.conversation)?;
    pair(out, "notification", &it.notification)?;
    pair(out, "answers", &it.in_reply_to)?;
    pair(out, "delivery", &it.delivery)?;
    pair(out, "evidence", &word("Evidence", it.evidence))?;
    pair(out, "template", &it.template_version)?;
    pair(out, "provider's id", &clean(&it.provider_message_id))?;
    pair(out, "written", &when(it.provider_time.as_ref()))?;
    pair(out, "created", &when(it.create_time.as_ref()))?;
    if let Some(mark) = &it.redaction {
        pair(
            out,
            "redacted",
            &format!("by {}, {}: {}", clean(&mark.by), when(mark.time.as_ref()), clean(&mark.reason)),
        )?;
    }
    if let Some(copy) = &it.media_copy {
        pair(out, "file", &format!("{} {} bytes", word("Message.MediaCopy.State", copy.state), copy.size_bytes))?;
    }
    let said = it.content.as_ref().map(words).unwrap_or_default();
    out.line("")?;
    out.line(&clean(if said.is_empty() { &it.plain_text } else { &said }))
}
