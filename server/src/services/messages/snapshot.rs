//! What makes a message readable on its own: who speaks and the channel as they are at the moment in which it is stored.
//! Whoever stores a message gives it an envelope from here.

use domain::{
    channel::Address,
    message::{ChannelSnapshot, Envelope, Party, PartyKind, TemplateRef},
};

use crate::services::directory::Channel;

/// The channel as it is now. `provider` is the key of the one that brought or took the message, where that is known.
#[must_use]
pub fn of_channel(channel: &Channel, provider: Option<i32>, address: &Address) -> ChannelSnapshot {
    let provider = provider.and_then(|id| channel.providers.iter().find(|p| p.row.id == id));
    ChannelSnapshot {
        channel_type: channel.channel_type(),
        name: channel.row.slug.clone(),
        provider: provider.map(|p| p.row.name.clone()),
        service_identifier: channel.row.service_identifier.clone(),
        address: address.clone(),
    }
}

/// The envelope of a message from the contact, who is shown as `display`.
#[must_use]
pub fn inbound(channel: ChannelSnapshot, display: String) -> Envelope {
    let receiver = Party { kind: PartyKind::Business, display: channel.service_identifier.clone() };
    envelope(Party { kind: PartyKind::Contact, display }, Some(receiver), Some(channel))
}

/// The envelope of a message to the contact, in the name of the business.
#[must_use]
pub fn outbound(channel: ChannelSnapshot) -> Envelope {
    let sender = Party { kind: PartyKind::Business, display: channel.service_identifier.clone() };
    let receiver = Party { kind: PartyKind::Contact, display: channel.address.value.clone() };
    envelope(sender, Some(receiver), Some(channel))
}

/// The envelope of a note.
#[must_use]
pub fn note(author: String, language: Option<String>) -> Envelope {
    Envelope { language, ..envelope(Party { kind: PartyKind::Operator, display: author }, None, None) }
}

/// The same envelope of what was rendered from a template.
#[must_use]
pub fn rendered(envelope: Envelope, template: Option<TemplateRef>, campaign: Option<i64>) -> Envelope {
    let language = template.as_ref().map(|t| t.language.clone()).or(envelope.language);
    Envelope { language, template, campaign, ..envelope }
}

fn envelope(sender: Party, receiver: Option<Party>, channel: Option<ChannelSnapshot>) -> Envelope {
    Envelope { sender, receiver, channel, language: None, campaign: None, template: None, flow: None }
}
