//! What is in the archive is read by the same requests, and is the same; what would change it is refused.

use proto::v1;
use tokio_stream::StreamExt;
use tonic::Code;

use super::Shelf;
use crate::{
    conversations::{PHONE, id_of, operator},
    reading::reason,
};

/// Everything that can be read of a conversation.
#[derive(Debug, PartialEq)]
struct Whole {
    conversation: v1::Conversation,
    messages: Vec<v1::Message>,
    activities: Vec<v1::Activity>,
    sessions: Vec<v1::ChannelSession>,
    participants: Vec<v1::Participant>,
    marks: Vec<v1::ReadMark>,
    receipts: Vec<v1::Receipt>,
    exported: Vec<v1::Message>,
}

async fn whole(shelf: &Shelf, name: &str) -> anyhow::Result<Whole> {
    let (served, parent) = (&shelf.stage.served, name.to_owned());
    let messages = shelf.messages(name).await?;
    let activities = v1::ListActivitiesRequest { parent: parent.clone(), ..Default::default() };
    let participants = v1::ListParticipantsRequest { parent: parent.clone(), ..Default::default() };
    let marks = v1::ListReadMarksRequest { parent: parent.clone(), ..Default::default() };
    let mut receipts = Vec::new();
    for message in &messages {
        let request = v1::ListReceiptsRequest { parent: message.name.clone(), ..Default::default() };
        receipts.extend(served.messages().list_receipts(request).await?.into_inner().receipts);
        assert_eq!(&served.message(id_of(&message.name)).await?, message, "one by one as in the list");
    }
    let export = v1::ExportMessagesRequest { conversation: parent.clone(), ..Default::default() };
    let mut stream = served.messages().export_messages(export).await?.into_inner();
    let mut exported = Vec::new();
    while let Some(page) = stream.next().await {
        exported.extend(page?.messages.into_iter().filter_map(|message| message.message));
    }
    Ok(Whole {
        conversation: shelf.stage.get(name).await?,
        activities: served.conversations().list_activities(activities).await?.into_inner().activities,
        sessions: shelf.stage.sessions(name).await?,
        participants: served.conversations().list_participants(participants).await?.into_inner().participants,
        marks: served.messages().list_read_marks(marks).await?.into_inner().read_marks,
        messages,
        receipts,
        exported,
    })
}

#[tokio::test]
async fn a_conversation_reads_the_same_from_the_archive() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let served = &shelf.stage.served;
    shelf.stage.says(shelf.stage.sms, PHONE, "The road is under water").await?;
    let name = shelf.stage.newest(PHONE).await?.name;
    let joins = v1::AddParticipantRequest {
        parent: name.clone(),
        participant: operator("asha", v1::participant::Role::Primary),
        ..Default::default()
    };
    served.conversations().add_participant(joins).await?;
    shelf.answered(&name, "Help is on its way.").await?;
    served.note(&name, "Sent to ward 7").await?;
    served.messages().mark_read(v1::MarkReadRequest { conversation: name.clone(), ..Default::default() }).await?;
    let close = v1::CloseConversationRequest { name: name.clone(), ..Default::default() };
    let forced = v1::ForceCloseConversationRequest { name: name.clone(), ..Default::default() };
    if served.conversations().close_conversation(close).await.is_err() {
        served.conversations().force_close_conversation(forced).await?;
    }
    shelf.stage.due().await?;
    shelf.later().await?;

    let before = whole(&shelf, &name).await?;
    assert_eq!((before.messages.len(), before.participants.len(), before.receipts.len()), (3, 2, 1), "{before:?}");
    assert_eq!((before.marks.len(), before.exported.len()), (1, 3));
    shelf.kept().await?;
    let after = whole(&shelf, &name).await?;
    assert!(after.conversation.archive_time.is_some());
    let shown = v1::Conversation { archive_time: None, ..after.conversation.clone() };
    assert_eq!(Whole { conversation: shown, ..after }, before);
    for table in [
        "select count(*) from message",
        "select count(*) from channel_session",
        "select count(*) from participant",
        "select count(*) from conversation_change",
        "select count(*) from read_mark",
        "select count(*) from delivery",
        "select count(*) from receipt",
        "select count(*) from attempt",
    ] {
        assert_eq!(shelf.count(table).await?, 0, "{table}");
    }

    let pages =
        v1::ListActivitiesRequest { parent: name.clone(), page_size: 2, newest_first: true, ..Default::default() };
    let page = served.conversations().list_activities(pages.clone()).await?.into_inner();
    let next = v1::ListActivitiesRequest { page_token: page.next_page_token.clone(), ..pages };
    let next = served.conversations().list_activities(next).await?.into_inner();
    let numbers: Vec<i64> = page.activities.iter().chain(&next.activities).map(|a| a.number).collect();
    let last = before.conversation.last_activity_number;
    assert_eq!(numbers, [last, last - 1, last - 2, last - 3]);
    let session = v1::GetChannelSessionRequest { name: before.sessions[0].name.clone() };
    assert_eq!(served.conversations().get_channel_session(session).await?.into_inner(), before.sessions[0]);
    Ok(())
}

#[tokio::test]
async fn a_list_shows_what_is_in_the_archive_and_what_is_not_in_one_order() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    shelf.closed(PHONE, "one").await?;
    shelf.later().await?;
    shelf.kept().await?;
    shelf.stage.says(shelf.stage.sms, PHONE, "two").await?;
    let contact = shelf.stage.newest(PHONE).await?.contact;
    let mut words = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            v1::ListMessagesRequest { contact: contact.clone(), page_size: 2, page_token, ..Default::default() };
        let page = shelf.stage.served.messages().list_messages(request).await?.into_inner();
        words.extend(page.messages.into_iter().map(|message| message.plain_text));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(words, ["two", "Thank you.", "one"]);
    assert_eq!(
        shelf.stage.served.found("one", "").await?,
        Vec::<String>::new(),
        "words in the archive are not searched"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_to_it_and_a_new_message_begins_another_one() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let served = &shelf.stage.served;
    let to = Some(v1::send_message_request::To::Conversation(name.clone()));
    let send = v1::SendMessageRequest { to, content: crate::conversations::text("x"), ..Default::default() };
    let mark = v1::MarkReadRequest { conversation: name.clone(), ..Default::default() };
    let hold = v1::HoldConversationRequest { name: name.clone(), ..Default::default() };
    for refused in [
        served.note(&name, "late").await.expect_err("a note"),
        served.messages().send_message(send).await.expect_err("a message"),
        served.messages().mark_read(mark).await.expect_err("a mark"),
        served.conversations().hold_conversation(hold).await.expect_err("a hold"),
    ] {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"), "{refused}");
    }
    shelf.stage.says(shelf.stage.sms, PHONE, "Again").await?;
    let newest = shelf.stage.newest(PHONE).await?;
    assert_eq!((newest.previous_conversation, newest.archive_time), (name, None));
    Ok(())
}

#[tokio::test]
async fn words_that_are_taken_away_in_the_archive_are_gone_for_readers_at_once_and_from_the_file_soon()
-> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "My word is marigold").await?;
    let other = shelf.closed("+919812345679", "Nothing to hide").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let message = shelf.messages(&name).await?.pop().expect("a message").name;
    let redacted = shelf.stage.served.redact(&message).await?;
    assert!(redacted.redaction.is_some() && !redacted.plain_text.contains("marigold"));
    assert_eq!(shelf.stage.served.message(id_of(&message)).await?, redacted);
    assert_eq!(shelf.stage.served.redact(&message).await?.redaction, redacted.redaction, "the first mark stays");
    assert!(shelf.said().await?.contains("marigold"), "the file is not written anew yet");
    let old = shelf.files("archive").await?;
    shelf.kept().await?;
    assert!(!shelf.said().await?.contains("marigold"));
    let new = shelf.files("archive").await?;
    assert!(new.len() == 1 && new != old, "{old:?} {new:?}");
    assert_eq!(shelf.stage.served.message(id_of(&message)).await?, redacted);
    assert_eq!(shelf.words(&other).await?, ["Nothing to hide", "Thank you."]);
    Ok(())
}
