//! What is redacted is gone from every place where it can be read.

use proto::v1;
use tokio_stream::StreamExt;
use tonic::Code;
use uuid::Uuid;

use super::{keys, says, text};
use crate::reading::{Served, reason, violations};

const SECRET: &str = "umbrella";

/// Everything that the API says of the message: its own reads, lists, searches, timeline, export.
async fn everything(served: &Served, id: Uuid) -> anyhow::Result<String> {
    let message = served.message(id).await?;
    let list = served.messages().list_messages(v1::ListMessagesRequest::default()).await?.into_inner();
    let parent = message.conversation.clone();
    let request = v1::ListActivitiesRequest { parent, ..Default::default() };
    let timeline = served.conversations().list_activities(request).await?.into_inner();
    let mut parts = served.messages().export_messages(v1::ExportMessagesRequest::default()).await?.into_inner();
    let mut all = format!("{message:?} {list:?} {timeline:?}");
    while let Some(part) = parts.next().await {
        all.push_str(&format!("{:?}", part?));
    }
    let rows: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(m)::text from message m union all select to_jsonb(e)::text from event_out e",
    )
    .fetch_all(&served.world.db.pool)
    .await?;
    Ok(all + &rows.concat())
}

#[tokio::test]
async fn redacted_words_are_gone_from_every_read_and_the_mark_stays() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("my umbrella")).await?;
    assert!(everything(&served, id).await?.contains(SECRET));
    assert_eq!(served.found(SECRET, "").await?.len(), 1);

    let redacted = served.redact(&format!("messages/{id}")).await?;
    let mark = redacted.redaction.clone().expect("a mark");
    assert_eq!((mark.by.as_str(), mark.reason.as_str()), ("privacy@example.org", "asked for by the contact"));
    assert!(matches!(redacted.content.as_ref().and_then(|c| c.body.as_ref()), Some(v1::content::Body::Redacted(_))));
    assert!(!everything(&served, id).await?.contains(SECRET));
    for query in [SECRET, "redacted"] {
        assert!(served.found(query, "").await?.is_empty(), "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn redacting_twice_keeps_the_first_mark_and_tells_once() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("my umbrella")).await?;
    let name = format!("messages/{id}");
    let first = served.redact(&name).await?;
    let request = v1::RedactMessageRequest { name, by: "other".into(), reason: "again".into(), ..Default::default() };
    let second = served.messages().redact_message(request).await?.into_inner();
    assert_eq!(second, first);
    let told =
        served.world.count("select count(*) from event_out where kind = 'message' and type = 'redacted'").await?;
    assert_eq!(told, 1);
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_still_to_be_sent_cannot_be_redacted() -> anyhow::Result<()> {
    let served = Served::new().await?;
    // STOP is confirmed with a message of ours, which nobody sends here.
    says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("STOP")).await?;
    let request = v1::ListMessagesRequest { direction: v1::message::Direction::Outbound.into(), ..Default::default() };
    let ours = served.messages().list_messages(request).await?.into_inner().messages.remove(0);
    let refused = served.redact(&ours.name).await.expect_err("still queued");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));
    sqlx::query("update delivery set work = 'done', evidence = 'sent'").execute(&served.world.db.pool).await?;
    assert!(served.redact(&ours.name).await?.redaction.is_some());
    Ok(())
}

#[tokio::test]
async fn who_and_why_must_be_said_and_the_message_must_exist() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let refused = served
        .messages()
        .redact_message(v1::RedactMessageRequest { name: "x".into(), ..Default::default() })
        .await
        .expect_err("wrong");
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "by", "reason"]);
    let refused = served.redact(&format!("messages/{}", Uuid::nil())).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound);
    Ok(())
}
