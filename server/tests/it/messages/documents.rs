//! Messages that read alone, and stay as they were stored.

use domain::message::{CURRENT, Content, Document, PartyKind, read};
use proto::v1;
use tokio_stream::StreamExt;

use super::{keys, says, text};
use crate::reading::Served;

async fn exported(served: &Served) -> anyhow::Result<Vec<Document>> {
    let mut parts = served.messages().export_messages(v1::ExportMessagesRequest::default()).await?.into_inner();
    let mut found = Vec::new();
    while let Some(part) = parts.next().await {
        for message in part?.messages {
            found.push(read(serde_json::from_str(&message.document_json)?)?);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_message_reads_the_same_after_its_channel_and_its_contact_have_changed() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("The road is closed")).await?;
    let before = exported(&served).await?.remove(0);
    sqlx::raw_sql(
        "update channel set slug = 'sms-old', service_identifier = '+19990000000';
         update contact set display_name = 'Somebody Else'; update channel_provider set name = 'other'",
    )
    .execute(&served.world.db.pool)
    .await?;
    served.world.context.directory.invalidate();
    assert_eq!(exported(&served).await?, std::slice::from_ref(&before));

    assert_eq!((before.schema, before.id, before.seq), (CURRENT, id, 1));
    assert_eq!((before.sender.kind, before.sender.display.as_str()), (PartyKind::Contact, "Asha Rao"));
    let channel = before.channel.expect("a channel");
    assert_eq!((channel.name.as_str(), channel.provider.as_deref()), ("sms-main", Some("main")));
    assert_eq!((channel.service_identifier.as_str(), channel.address.value.as_str()), ("+15550001111", super::ASHA));

    let shown = served.message(id).await?;
    assert_eq!((shown.channel.as_str(), shown.sequence), ("channels/sms-main", 1));
    assert_eq!(shown.sender.map(|party| party.display).as_deref(), Some("Asha Rao"));
    Ok(())
}

#[tokio::test]
async fn a_row_of_version_1_0_is_lifted_and_a_later_version_is_shown_by_its_words() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let id = says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    // The trigger would refuse it: as it was stored by another version of the program.
    sqlx::raw_sql(
        "alter table message disable trigger message_is_immutable;
         update message set envelope = null, schema_version = '1.0'",
    )
    .execute(&served.world.db.pool)
    .await?;
    let old = served.message(id).await?;
    assert_eq!(old.sender.map(|party| party.display).as_deref(), Some("Asha Rao"));
    assert_eq!((old.channel.as_str(), old.plain_text.as_str()), ("channels/sms-main", "Hello"));
    assert_eq!(exported(&served).await?[0].schema, CURRENT);

    sqlx::raw_sql(r#"update message set schema_version = '9.0', content = '{"hologram": 1}', envelope = '{"a": 2}'"#)
        .execute(&served.world.db.pool)
        .await?;
    let future = served.message(id).await?;
    let body = future.content.and_then(|content| content.body);
    assert!(matches!(body, Some(v1::content::Body::Unsupported(said)) if said.text == "Hello"));
    assert_eq!(future.schema_version, 9);
    Ok(())
}

#[tokio::test]
async fn the_database_refuses_to_change_a_stored_message() -> anyhow::Result<()> {
    let served = Served::new().await?;
    says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    for change in [
        "update message set plain_text = 'Goodbye'",
        "update message set sender = 'Nobody'",
        "update message set seq = 7",
        r#"update message set redaction = '{}', content = '{"type": "text", "text": "forged"}'"#,
        r#"update message set redaction = '{}', content = '{"type": "redacted"}', provider_message_id = 'x'"#,
    ] {
        let refused = sqlx::raw_sql(change).execute(&served.world.db.pool).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("never changes")), "{change}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_notification_said_keeps_its_template_with_parameters_and_language() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let sent = served.send(crate::reading::to_phone(super::ASHA)).await?;
    let id: uuid::Uuid = sent.name.trim_start_matches("notifications/").parse()?;
    // As if its provider had taken it: what is answered must have been marked.
    sqlx::query("update delivery set attempt_started_at = now(), attempts = 1 where notification_id = $1")
        .bind(id)
        .execute(&served.world.db.pool)
        .await?;
    let delivery = served.world.one("select id::text from delivery where notification_id = $1", id).await?;
    let delivery = delivery.expect("a delivery").parse()?;
    let context = &served.world.context;
    let contact: i64 = sqlx::query_scalar("select contact_id from notification where id = $1")
        .bind(id)
        .fetch_one(&served.world.db.pool)
        .await?;
    let mut tx = context.db.begin().await?;
    let now = served.world.now();
    let fresh = uuid::Uuid::now_v7();
    let (conversation, _) = server::storage::conversations::ensure_open(&mut tx, fresh, contact, 1, now).await?;
    server::services::outgoing::append_sent(context, &mut tx, conversation, delivery, now).await?;
    tx.commit().await?;
    let document = exported(&served).await?.remove(0);
    assert_eq!(document.content, Content::Text { text: "The dam opens at noon.".into() });
    let template = document.references.template.expect("a template");
    assert_eq!((template.name.as_str(), template.version, template.language.as_str()), ("dam", 1, "en"));
    assert_eq!(serde_json::Value::Object(template.parameters), serde_json::json!({"hour": "noon"}));
    assert_eq!(document.references.notification, Some(id));
    Ok(())
}
