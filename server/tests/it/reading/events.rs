//! The stream of events: every one once and in order, from any cursor, past transactions that commit late, and honest about
//! what is gone.

use std::time::Duration;

use proto::v1::{self, subscribe_response::Update};
use tonic::{Code, Streaming};

use super::{Served, reason, to_phone};

const SOON: Duration = Duration::from_secs(10);

async fn subscribe(
    served: &Served,
    request: v1::SubscribeRequest,
) -> Result<Streaming<v1::SubscribeResponse>, tonic::Status> {
    Ok(served.events().subscribe(request).await?.into_inner())
}

fn from(cursor: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        start_cursor: cursor.into(),
        from_oldest: cursor.is_empty(),
        ..v1::SubscribeRequest::default()
    }
}

/// The next `n` events; checkpoints are passed over.
async fn take(stream: &mut Streaming<v1::SubscribeResponse>, n: usize) -> anyhow::Result<Vec<v1::Event>> {
    let mut events = Vec::new();
    while events.len() < n {
        let next = tokio::time::timeout(SOON, stream.message()).await??;
        match next.and_then(|m| m.update) {
            Some(Update::Event(event)) => events.push(event),
            Some(Update::Checkpoint(_)) => {}
            None => anyhow::bail!("the stream ended after {} of {n}", events.len()),
        }
    }
    Ok(events)
}

/// Says that `n` contacts, told by their names, were updated in one statement.
async fn say(served: &Served, n: i32) -> anyhow::Result<()> {
    sqlx::query("insert into event_out (kind, n, ids, to_state, at)
                 select 'notification', $1, array(select gen_random_uuid() from generate_series(1, $1)), 'reached', now()")
        .bind(n)
        .execute(&served.world.db.pool)
        .await?;
    Ok(())
}

#[tokio::test]
async fn every_event_comes_once_and_in_order_from_any_cursor() -> anyhow::Result<()> {
    let served = Served::new().await?;
    for n in [1, 3, 1, 4] {
        say(&served, n).await?;
    }
    served.number().await?;
    let all = take(&mut subscribe(&served, from("")).await?, 9).await?;
    let ids: Vec<i64> = all.iter().map(|e| e.id.parse().unwrap()).collect();
    assert_eq!(ids, (ids[0]..ids[0] + 9).collect::<Vec<_>>());
    assert_eq!(all.iter().map(|e| &e.subject).collect::<std::collections::HashSet<_>>().len(), 9);
    // Also from inside a row that stands for several.
    for (index, event) in all.iter().enumerate().take(8) {
        let rest = take(&mut subscribe(&served, from(&event.cursor)).await?, 8 - index).await?;
        assert_eq!(rest, all[index + 1..], "after event {index}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_goes_on_from_what_is_stored_to_what_is_new() -> anyhow::Result<()> {
    let served = Served::new().await?;
    say(&served, 2).await?;
    served.number().await?;
    let mut stream = subscribe(&served, from("")).await?;
    let mut numbers: Vec<i64> = take(&mut stream, 2).await?.iter().map(|e| e.id.parse().unwrap()).collect();
    for _ in 0..20 {
        say(&served, 3).await?;
        served.number().await?;
    }
    numbers.extend(take(&mut stream, 60).await?.iter().map(|e| e.id.parse::<i64>().unwrap()));
    assert_eq!(numbers, (numbers[0]..numbers[0] + 62).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_skipped() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let mut late = served.world.context.db.begin().await?;
    sqlx::query("insert into event_out (kind, type, subject, at) values ('channel', 'late', 'channels/late', now())")
        .execute(&mut *late)
        .await?;
    say(&served, 1).await?;
    served.number().await?;
    let mut stream = subscribe(&served, from("")).await?;
    assert_eq!(take(&mut stream, 1).await?[0].r#type, "notification.reached");
    late.commit().await?;
    served.number().await?;
    let next = take(&mut stream, 1).await?.remove(0);
    assert_eq!((next.r#type.as_str(), next.subject.as_str()), ("channel.late", "channels/late"));
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_is_gone_says_so_and_names_the_oldest() -> anyhow::Result<()> {
    let served = Served::new().await?;
    for _ in 0..3 {
        say(&served, 2).await?;
    }
    served.number().await?;
    let all = take(&mut subscribe(&served, from("")).await?, 6).await?;
    sqlx::query("delete from event where number < $1")
        .bind(all[4].id.parse::<i64>()?)
        .execute(&served.world.db.pool)
        .await?;
    let gone = subscribe(&served, from(&all[0].cursor)).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::OutOfRange, "CURSOR_GONE"));
    let oldest = served.events().get_event_cursor(v1::GetEventCursorRequest {}).await?.into_inner();
    assert_eq!(oldest.oldest_cursor, all[3].cursor);
    assert_eq!(take(&mut subscribe(&served, from(&oldest.oldest_cursor)).await?, 2).await?, all[4..]);
    assert_eq!(oldest.cursor, all[5].cursor);
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_was_never_given_is_refused() -> anyhow::Result<()> {
    let served = Served::new().await?;
    for wrong in ["x", "ZXZlbnRzOjk5OTk5"] {
        let refused = subscribe(&served, from(wrong)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "CURSOR_INVALID"), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_lets_through_what_it_means_and_tells_how_far_it_is() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let sent = served.send(to_phone("+919812345678")).await?;
    served.send(to_phone("+919812345679")).await?;
    say(&served, 1500).await?;
    served.number().await?;
    let of = v1::SubscribeRequest { contact: sent.contact.clone(), ..from("") };
    let mut stream = subscribe(&served, of).await?;
    let types: Vec<String> = take(&mut stream, 3).await?.into_iter().map(|e| e.r#type).collect();
    assert_eq!(types, ["contact.created", "notification.created", "delivery.queued"]);
    let next = tokio::time::timeout(SOON, stream.message()).await??.and_then(|m| m.update);
    assert!(matches!(next, Some(Update::Checkpoint(c)) if !c.cursor.is_empty()), "1000 were left out");
    Ok(())
}

#[tokio::test]
async fn a_stream_begins_with_its_position_and_ends_when_the_server_stops() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let mut stream = subscribe(&served, v1::SubscribeRequest::default()).await?;
    let first = tokio::time::timeout(SOON, stream.message()).await??.and_then(|m| m.update);
    assert!(matches!(first, Some(Update::Checkpoint(_))));
    served.stop.cancel();
    let ended = tokio::time::timeout(SOON, stream.message()).await?.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    Ok(())
}
