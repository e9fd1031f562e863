//! History is brought in once, and handed out again in parts.

use proto::v1::{self, import_messages_request as import, message::Direction};
use tokio_stream::StreamExt;
use tonic::Code;
use uuid::Uuid;

use super::{ASHA, keys, says, text};
use crate::reading::{Served, reason, violations};

fn row(n: i64, direction: Direction, words: &str) -> import::Row {
    let body = v1::content::Body::Text(v1::content::Text { text: words.into() });
    import::Row {
        line: n,
        provider_message_id: format!("old-{n}"),
        direction: direction.into(),
        address: Some(v1::Address { kind: v1::AddressKind::Phone.into(), value: ASHA.into() }),
        sender: "Asha Rao".into(),
        content: Some(v1::Content { body: Some(body) }),
        time: Some(prost_types::Timestamp { seconds: 1_600_000_000 + n, nanos: 0 }),
        language: "en".into(),
    }
}

fn options() -> import::Options {
    import::Options { channel: "channels/sms-main".into(), ..Default::default() }
}

async fn brought(
    served: &Served,
    options: import::Options,
    rows: Vec<import::Row>,
) -> Result<v1::ImportMessagesResponse, tonic::Status> {
    let mut parts = vec![v1::ImportMessagesRequest { options: Some(options), rows: Vec::new() }];
    parts.extend(rows.chunks(2).map(|rows| v1::ImportMessagesRequest { options: None, rows: rows.to_vec() }));
    Ok(served.messages().import_messages(tokio_stream::iter(parts)).await?.into_inner())
}

fn three() -> Vec<import::Row> {
    vec![
        row(1, Direction::Inbound, "Is it open?"),
        row(2, Direction::Outbound, "Yes"),
        row(3, Direction::Inbound, "Thanks"),
    ]
}

#[tokio::test]
async fn history_is_taken_once_into_a_closed_conversation_and_found_again() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let first = brought(&served, options(), three()).await?;
    assert_eq!((first.received_count, first.created_count, first.rejected_count), (3, 3, 0));
    let again = brought(&served, options(), three()).await?;
    assert_eq!((again.created_count, again.unchanged_count), (0, 3));
    let more = brought(&served, options(), vec![row(4, Direction::Outbound, "Bye")]).await?;
    assert_eq!(more.created_count, 1);

    let all = served.messages().list_messages(v1::ListMessagesRequest::default()).await?.into_inner().messages;
    let words: Vec<&str> = all.iter().map(|message| message.plain_text.as_str()).collect();
    assert_eq!(words, ["Bye", "Thanks", "Yes", "Is it open?"], "the newest first, by the time in which they were said");
    assert_eq!(served.found("opening", "").await?, ["Is it open?"]);
    let states = "select string_agg(phase, ' ') from conversation where $1::uuid is not null";
    assert_eq!(served.world.one(states, Uuid::nil()).await?.as_deref(), Some("closed"));
    assert_eq!(served.world.count("select count(*) from event_out").await?, 0, "the past makes no news");
    // The same person writes now: a conversation of its own.
    says(&served.world, keys(&served.world, "sms-main").await?, "SM1", text("Hello")).await?;
    assert_eq!(served.world.count("select count(distinct contact_id) from conversation").await?, 1);
    assert_eq!(served.world.count("select count(*) from conversation").await?, 2);
    Ok(())
}

#[tokio::test]
async fn what_we_received_ourselves_is_not_imported_again() -> anyhow::Result<()> {
    let served = Served::new().await?;
    says(&served.world, keys(&served.world, "sms-main").await?, "old-1", text("Is it open?")).await?;
    let done = brought(&served, options(), three()).await?;
    assert_eq!((done.created_count, done.unchanged_count), (2, 1));
    Ok(())
}

#[tokio::test]
async fn wrong_rows_are_named_and_the_rest_is_taken() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let mut rows = three();
    rows[0].direction = Direction::Internal.into();
    rows[0].content = None;
    rows[1].time = Some(prost_types::Timestamp { seconds: 32_000_000_000, nanos: 0 });
    rows[2].address = None;
    rows.push(row(4, Direction::Inbound, "right"));
    let done = brought(&served, options(), rows).await?;
    assert_eq!((done.received_count, done.created_count, done.rejected_count), (4, 1, 3));
    let named: Vec<(i64, &str)> = done.rejected_rows.iter().map(|row| (row.line, row.field.as_str())).collect();
    assert_eq!(named, [(1, "direction"), (2, "time"), (3, "address")]);
    assert!(done.rejected_rows[0].description.contains("content is missing"), "{}", done.rejected_rows[0].description);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_wrong_options_are_refused() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let dry = import::Options { validate_only: true, ..options() };
    assert_eq!(brought(&served, dry, three()).await?.created_count, 3);
    assert_eq!(served.world.count("select count(*) from message").await?, 0);
    let wrong =
        import::Options { channel: "sms".into(), request_id: "x".into(), default_country: "??".into(), ..options() };
    let refused = brought(&served, wrong, Vec::new()).await.expect_err("wrong");
    assert_eq!(violations(&refused).len(), 3, "{refused:?}");
    let unknown = import::Options { channel: "channels/nowhere".into(), ..options() };
    let refused = brought(&served, unknown, Vec::new()).await.expect_err("unknown");
    assert_eq!(reason(&refused), "REFERENCE_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn an_export_goes_on_behind_its_cursor_in_order() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let rows: Vec<_> = (1..=450).map(|n| row(n, Direction::Inbound, &format!("word {n}"))).collect();
    assert_eq!(brought(&served, options(), rows).await?.created_count, 450);
    let mut parts = served.messages().export_messages(v1::ExportMessagesRequest::default()).await?.into_inner();
    let first = parts.next().await.expect("a part")?;
    assert_eq!(first.messages.len(), 200);
    drop(parts);
    let request = v1::ExportMessagesRequest { cursor: first.cursor, ..Default::default() };
    let mut parts = served.messages().export_messages(request).await?.into_inner();
    let mut words: Vec<String> = Vec::new();
    while let Some(part) = parts.next().await {
        words.extend(part?.messages.into_iter().filter_map(|m| Some(m.message?.plain_text)));
    }
    let wanted: Vec<String> = (201..=450).map(|n| format!("word {n}")).collect();
    assert_eq!(words, wanted);
    let request = v1::ExportMessagesRequest { cursor: "x".into(), ..Default::default() };
    let refused = served.messages().export_messages(request).await.expect_err("no cursor");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
    Ok(())
}
