//! Conversations and messages as they are shown.

use domain::{channel::Address, message::Content};
use proto::v1::{self, activity::Kind, message::Direction};
use server::storage::conversations::{self, NewMessage};
use tonic::Code;
use uuid::Uuid;

use super::{Served, to_phone};

/// A notification whose person has answered: its words and the answer stand in one conversation.
async fn talk(served: &Served) -> anyhow::Result<(v1::Notification, Uuid)> {
    let sent = served.send(to_phone("+919812345678")).await?;
    let now = served.world.now();
    let contact = sent.contact.trim_start_matches("contacts/").parse()?;
    let mut tx = served.world.context.db.begin().await?;
    let address: Address = Address { kind: domain::channel::AddressKind::Phone, value: "+919812345678".into() };
    let address_id = server::storage::inbound::ensure_address(&mut tx, &address, now).await?;
    let (conversation, _) = conversations::ensure_open(&mut tx, Uuid::now_v7(), contact, 1, now).await?;
    for (outbound, words) in [(true, "The dam opens at noon."), (false, "Thank you")] {
        let content = Content::Text { text: words.into() };
        let (ours, theirs) = ("+15550001111".to_owned(), address.value.clone());
        let message = NewMessage {
            id: Uuid::now_v7(),
            conversation_id: conversation,
            outbound,
            channel_id: 1,
            address_id,
            sender: if outbound { ours.clone() } else { theirs.clone() },
            receiver: if outbound { theirs } else { ours },
            content: serde_json::to_value(&content)?,
            plain_text: words.into(),
            provider_message_id: None,
            in_reply_to: None,
            notification_id: sent.name.trim_start_matches("notifications/").parse().ok(),
            delivery_id: None,
            provider_time: None,
            received_at: now,
            ..NewMessage::default()
        };
        conversations::append(&mut tx, &message, now).await?;
    }
    tx.commit().await?;
    Ok((sent, conversation))
}

#[tokio::test]
async fn a_conversation_shows_its_messages_and_what_happened_in_it() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let (sent, id) = talk(&served).await?;
    let list = v1::ListConversationsRequest { contact: sent.contact.clone(), ..Default::default() };
    let found = served.conversations().list_conversations(list).await?.into_inner().conversations;
    let [conversation] = found.as_slice() else { anyhow::bail!("{found:?}") };
    assert_eq!((conversation.message_count, conversation.state()), (2, v1::conversation::State::Created));
    let parent = format!("conversations/{id}");
    let ask = |newest_first, page_token: &str| v1::ListActivitiesRequest {
        parent: parent.clone(),
        newest_first,
        page_size: 2,
        page_token: page_token.into(),
    };
    let first = served.conversations().list_activities(ask(false, "")).await?.into_inner();
    let second = served.conversations().list_activities(ask(false, &first.next_page_token)).await?.into_inner();
    let all: Vec<&v1::Activity> = first.activities.iter().chain(&second.activities).collect();
    assert_eq!(all.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all.iter().map(|a| a.kind()).collect::<Vec<_>>(), [Kind::Notification, Kind::Message, Kind::Message]);
    assert_eq!(conversation.last_activity_number, 3);
    let newest = served.conversations().list_activities(ask(true, "")).await?.into_inner().activities;
    assert_eq!(newest.iter().map(|a| a.number).collect::<Vec<_>>(), [3, 2]);
    Ok(())
}

#[tokio::test]
async fn messages_are_found_by_what_they_belong_to() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let (sent, id) = talk(&served).await?;
    let words = async |request: v1::ListMessagesRequest| -> anyhow::Result<Vec<String>> {
        let page = served.messages().list_messages(request).await?.into_inner();
        Ok(page.messages.into_iter().map(|m| m.plain_text).collect())
    };
    let all = v1::ListMessagesRequest::default();
    let both = ["Thank you", "The dam opens at noon."];
    for of in [
        v1::ListMessagesRequest { conversation: format!("conversations/{id}"), ..all.clone() },
        v1::ListMessagesRequest { contact: sent.contact, ..all.clone() },
        v1::ListMessagesRequest { notification: sent.name, ..all.clone() },
        v1::ListMessagesRequest { channel: "channels/sms-main".into(), ..all.clone() },
    ] {
        assert_eq!(words(of).await?, both);
    }
    let inbound = v1::ListMessagesRequest { direction: Direction::Inbound.into(), ..all };
    assert_eq!(words(inbound).await?, ["Thank you"]);
    let request = v1::GetMessageRequest { name: format!("messages/{}", Uuid::now_v7()) };
    assert_eq!(served.messages().get_message(request).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}
