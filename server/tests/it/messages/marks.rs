//! Notes, read marks, typing, receipts: what the business does beside what it says.

use proto::v1;
use server::{services::messages::courtesies, storage::listen, wake::NOTIFY_CHANNEL};
use simulator::Simulator;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use super::{PATIENCE, keys, says, text, whatsapp};
use crate::reading::{Served, reason, violations};

async fn mark(served: &Served, conversation: &str, message: &str, reader: &str) -> Result<v1::ReadMark, tonic::Status> {
    let request = v1::MarkReadRequest {
        conversation: conversation.into(),
        message: message.into(),
        reader: reader.into(),
        ..Default::default()
    };
    Ok(served.messages().mark_read(request).await?.into_inner())
}

#[tokio::test]
async fn a_note_stands_in_the_timeline_and_is_never_sent() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    let conversation = served.message(id).await?.conversation;
    let note = served.note(&conversation, "Called back, line busy").await?;
    assert_eq!(note.direction(), v1::message::Direction::Internal);
    assert_eq!((note.sequence, note.channel.as_str(), note.delivery.as_str()), (2, "", ""));
    assert_eq!(note.sender.clone().map(|party| party.display).as_deref(), Some("Meera"));

    let request = v1::ListActivitiesRequest { parent: conversation.clone(), ..Default::default() };
    let timeline = served.conversations().list_activities(request).await?.into_inner().activities;
    let shown = timeline.iter().find(|activity| activity.message.as_ref() == Some(&note)).expect("in the timeline");
    assert_eq!(shown.description, "a note was written");
    assert_eq!(served.world.count("select count(*) from delivery").await?, 0);
    assert_eq!(served.found("busy", "").await?.len(), 1);
    let request = v1::ListMessagesRequest { direction: v1::message::Direction::Outbound.into(), ..Default::default() };
    assert!(served.messages().list_messages(request).await?.into_inner().messages.is_empty(), "it did not go out");
    served.number().await?;
    let types: Vec<String> =
        sqlx::query_scalar("select type from event_out union all select type from event where kind = 'message'")
            .fetch_all(&served.world.db.pool)
            .await?;
    assert!(types.contains(&"note_added".to_owned()), "{types:?}");
    Ok(())
}

#[tokio::test]
async fn a_note_is_written_once_by_request_id_and_not_into_a_closed_conversation() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    let request = v1::CreateNoteRequest {
        parent: served.message(id).await?.conversation,
        text: "once".into(),
        author: "Meera".into(),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    let first = served.messages().create_note(request.clone()).await?.into_inner();
    assert_eq!(served.messages().create_note(request.clone()).await?.into_inner(), first);
    assert_eq!(served.world.count("select count(*) from message where internal").await?, 1);

    sqlx::query("update conversation set phase = 'closed'").execute(&served.world.db.pool).await?;
    let refused = served.note(&request.parent, "too late").await.expect_err("closed");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));
    let refused = served.messages().create_note(v1::CreateNoteRequest::default()).await.expect_err("empty");
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["parent", "text", "author"]);
    Ok(())
}

#[tokio::test]
async fn each_reader_has_a_mark_of_its_own_that_only_moves_forward() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let channel = keys(&served.world, "sms-main").await?;
    let mut names = Vec::new();
    for n in 1..=3 {
        names.push(format!("messages/{}", says(&served.world, channel, &format!("SM{n}"), text("Hello")).await?));
    }
    let conversation = served.messages().list_messages(v1::ListMessagesRequest::default()).await?.into_inner().messages
        [0]
    .conversation
    .clone();
    let meera = mark(&served, &conversation, &names[1], "meera").await?;
    assert_eq!((meera.sequence, meera.unread_count, meera.message.as_str()), (2, 1, names[1].as_str()));
    assert_eq!(mark(&served, &conversation, &names[0], "meera").await?, meera, "it does not go back");
    let all = mark(&served, &conversation, "", "").await?;
    assert_eq!((all.sequence, all.unread_count), (3, 0));

    let request = v1::ListReadMarksRequest { parent: conversation.clone(), page_size: 1, ..Default::default() };
    let page = served.messages().list_read_marks(request.clone()).await?.into_inner();
    assert_eq!(page.read_marks, [all]);
    let request = v1::ListReadMarksRequest { page_token: page.next_page_token, ..request };
    assert_eq!(served.messages().list_read_marks(request).await?.into_inner().read_marks, [meera]);
    let unknown = mark(&served, &conversation, &format!("messages/{}", Uuid::nil()), "").await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(served.world.count("select count(*) from courtesy").await?, 0, "SMS shows nobody that it was read");
    Ok(())
}

#[tokio::test]
async fn whatsapp_shows_the_person_what_was_read_and_that_somebody_types() -> anyhow::Result<()> {
    let mut config = simulator::Config::default();
    config.meta.token = "secret".into();
    config.meta.phone_number_id = "106540352242922".into();
    let phones = Simulator::start(config).await?;
    let served = Served::new().await?;
    let channel = whatsapp(&served.world, &phones.base_url).await?;
    says(&served.world, channel, "wamid.1", text("Hello")).await?;
    let id = says(&served.world, channel, "wamid.2", text("Anybody there?")).await?;
    let conversation = served.message(id).await?.conversation;

    mark(&served, &conversation, "", "").await?;
    mark(&served, &conversation, "", "").await?;
    let request = v1::SetTypingRequest { conversation, author: "Meera".into(), typing: true, ..Default::default() };
    served.messages().set_typing(request).await?;
    courtesies::give(&served.world.context).await?;
    let signs = phones.signs();
    assert_eq!(
        signs.len(),
        2,
        "the last message stands for those before it, and a mark that stays tells nothing: {signs:?}"
    );
    assert_eq!((signs[0]["message_id"].as_str(), signs[0].get("typing_indicator")), (Some("wamid.2"), None));
    assert_eq!(signs[1]["typing_indicator"]["type"], "text");
    assert_eq!(served.world.count("select count(*) from courtesy").await?, 0);
    Ok(())
}

#[tokio::test]
async fn watchers_in_every_process_hear_who_types_and_nothing_is_stored() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    let conversation = served.message(id).await?.conversation;
    let request = v1::WatchTypingRequest { conversation: conversation.clone() };
    let mut here = served.messages().watch_typing(request).await?.into_inner();
    // Another process hears through Postgres.
    let (another, stop, heard) =
        (served.world.another_process()?, CancellationToken::new(), tokio::sync::Notify::new());
    let mut there = another.typing.watch();
    let listening = listen::listen(&served.world.db.url, NOTIFY_CHANNEL, stop.clone(), |payload| match payload {
        Some(payload) => another.typing.hear(payload),
        None => heard.notify_one(),
    });
    let story = async {
        tokio::time::timeout(PATIENCE, heard.notified()).await?;
        let request = v1::SetTypingRequest {
            conversation: conversation.clone(),
            author: "Meera".into(),
            typing: true,
            ..Default::default()
        };
        served.messages().set_typing(request).await?;
        let told = tokio::time::timeout(PATIENCE, here.next()).await?.expect("a sign")?;
        assert_eq!(
            (told.conversation.as_str(), told.author.as_str(), told.typing),
            (conversation.as_str(), "Meera", true)
        );
        let sign = tokio::time::timeout(PATIENCE, there.recv()).await??;
        assert_eq!((format!("conversations/{}", sign.conversation), sign.typing), (conversation.clone(), true));
        stop.cancel();
        anyhow::Ok(())
    };
    let ((), told) = tokio::join!(listening, story);
    told?;
    let unknown = v1::SetTypingRequest { conversation: format!("conversations/{}", Uuid::nil()), ..Default::default() };
    assert_eq!(served.messages().set_typing(unknown).await.expect_err("unknown").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn receipts_of_a_message_are_listed_in_the_order_of_their_arrival() -> anyhow::Result<()> {
    let served = Served::new().await?;
    says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("STOP")).await?;
    let all = served.messages().list_messages(v1::ListMessagesRequest::default()).await?.into_inner().messages;
    let (ours, theirs) = (&all[0].name, &all[1].name);
    sqlx::query(
        "insert into receipt (delivery_id, n, evidence, received_at, late, body_id)
         select d.id, 1, e.what::delivery_evidence, now() + e.after * interval '1 second', false, 0
           from delivery d, (values ('delivered', 2), ('sent', 1), ('read', 3)) e(what, after)",
    )
    .execute(&served.world.db.pool)
    .await?;
    let mut seen = Vec::new();
    let mut request = v1::ListReceiptsRequest { parent: ours.clone(), page_size: 2, ..Default::default() };
    loop {
        let page = served.messages().list_receipts(request.clone()).await?.into_inner();
        seen.extend(page.receipts.iter().map(v1::Receipt::evidence));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, [v1::Evidence::Sent, v1::Evidence::Delivered, v1::Evidence::Read]);
    let request = v1::ListReceiptsRequest { parent: theirs.clone(), ..Default::default() };
    assert!(served.messages().list_receipts(request).await?.into_inner().receipts.is_empty());
    Ok(())
}
