//! How many statements the hot path costs. Counts do not depend on the machine or on what else it does, so they are held here, where
//! figures of time cannot be; `docs/BENCHMARKS.md` says how they are measured on a large scale.

use std::{sync::Arc, time::Duration};

use domain::{channel::Lane, delivery::Evidence};
use server::{
    bus::{Bus, Hint, Queue, Ticket, local::LocalBus},
    services::notifications,
    storage::{
        outcomes::Seen,
        queue, receipts,
        taking::{self, Take},
    },
    workers::{
        dispatch::{Dispatch, LEASE},
        fallback,
        planner::Planner,
        providers::Providers,
        relay::Relay,
        sequencer, writer,
    },
};
use sqlx::PgConnection;
use testkit::eventually;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{
    World,
    counting::Counting,
    source::{self, texts_of, tokens},
};

/// How the statements begin that are asked once in a while, whatever goes on: the directory, what providers said of our speed,
/// fallback's look.
const BY_TIME: [&str; 5] = [
    "select clock_timestamp()",
    "select id, slug, channel_type",
    "select id, channel_id, name",
    "select provider_id, throttled",
    "select (select extract(epoch",
];

/// What was counted, without what belongs to the time that passed.
fn counted(counting: &Counting) -> Vec<String> {
    let by_time = |said: &String| BY_TIME.iter().any(|begin| said.starts_with(begin));
    counting.take().into_iter().filter(|said| !by_time(said)).collect()
}

/// A world with a provider that takes everything at once, and so many people.
async fn at_once(people: usize) -> anyhow::Result<(World, i32, Vec<i64>)> {
    let world = World::new().await?;
    let channel = world.at_once_channel("sms-main").await?;
    let mut contacts = Vec::new();
    for n in 0..people {
        contacts.push(world.contact(&format!("+9198{n:08}")).await?);
    }
    Ok((world, channel, contacts))
}

/// Leases what waits to the bus, as the relay does. Gives the tickets.
async fn granted(world: &World, channel: i32) -> anyhow::Result<Vec<Ticket>> {
    let (mut conn, mut tickets) = (world.context.db.conn().await?, Vec::new());
    for group in queue::waiting_groups(&mut conn, world.now()).await? {
        let want =
            queue::Want { send_group_id: group.send_group_id, messages: 5_000, parts: i64::MAX, micros: i64::MAX };
        let chunks = queue::grant(&mut conn, "SMS", group.lane, &[want], 60.0).await?;
        let hint = |size| Some(Hint { channel, size });
        tickets.extend(chunks.iter().map(|chunk| Ticket { chunk: chunk.chunk, hint: hint(chunk.size) }));
    }
    Ok(tickets)
}

/// A dispatch worker with its outcome writer, on this thread.
fn dispatch(world: &World) -> (Dispatch, JoinSet<()>) {
    let (sender, inbox) = mpsc::channel(1000);
    let mut tasks = JoinSet::new();
    tasks.spawn(writer::run(world.context.clone(), inbox));
    (Dispatch::new(world.context.clone(), Providers::new(world.context.clone()), sender), tasks)
}

async fn number(conn: &mut PgConnection, sql: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(conn).await?)
}

/// Claim with mark, and outcomes with the end of the chunk: 0.04 a delivery where a chunk has fifty.
#[tokio::test]
async fn a_chunk_of_fifty_costs_two_statements() -> anyhow::Result<()> {
    let (world, channel, contacts) = at_once(150).await?;
    let plan = world.plan(&["sms-main"], |_, _| {}).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    let tickets = granted(&world, channel).await?;
    assert_eq!(tickets.len(), 3);
    let (dispatch, _tasks) = dispatch(&world);
    world.context.directory.snapshot(&world.context.side).await?;
    let counting = Counting::start(&world).await?;
    for ticket in &tickets {
        dispatch.chunk(*ticket).await?;
    }
    let said = counted(&counting);
    assert_eq!(said.len(), 2 * tickets.len(), "{said:#?}");
    let mut watch = Counting::watch(&world.db.url).await?;
    let sent =
        "select count(*) from delivery where work = 'done' and evidence = 'sent' and attempts = 1 and token is null";
    assert_eq!(number(&mut watch, sent).await?, 150);
    assert_eq!(number(&mut watch, "select count(*) from dispatch").await?, 0, "every chunk has ended");
    for written in ["select count(*) from attempt", "select count(*) from provider_ref", "select count(*) from timer"] {
        assert_eq!(number(&mut watch, written).await?, 150, "{written}");
    }
    Ok(())
}

/// The short way of an outcome rests on what was read with the mark. A receipt that came since goes the long way, and stays.
#[tokio::test]
async fn an_outcome_whose_delivery_has_changed_since_its_mark_is_decided_anew() -> anyhow::Result<()> {
    let (world, channel, contacts) = at_once(2).await?;
    let plan = world.plan(&["sms-main"], |_, _| {}).await?;
    let begun = world.begin(&plan, &contacts, Lane::Bulk).await?;
    let tickets = granted(&world, channel).await?;
    let mut conn = world.context.db.conn().await?;
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&mut *conn).await?;
    let token = Uuid::new_v4();
    let take = Take {
        chunk: tickets[0].chunk,
        token,
        channel_id: channel,
        provider_id: provider,
        calls: 5,
        lease_secs: LEASE.as_secs_f64(),
    };
    let taken = taking::take(&mut conn, &take, world.now()).await?;
    assert_eq!(taken.iter().map(|t| t.attempt).collect::<Vec<_>>(), [Some(1), Some(1)]);
    let fresh = Seen { evidence: Evidence::None, failures: 0, refuted: 0, started: false };
    assert!(taken.iter().all(|t| t.seen == fresh));
    // The first one is read before its outcome is written.
    let first = &taken[0];
    let read = receipts::NewReceipt {
        provider_message_id: "SM1".into(),
        echo: Some((first.claimed.delivery_id, 1)),
        evidence: Evidence::Read,
        failure_class: None,
        failure_code: None,
        provider_time: None,
    };
    receipts::store(&mut conn, provider, 0, &[read]).await?;
    while server::services::receipts::merge(&world.context).await? {}
    drop(conn);
    let went: Vec<_> = taken
        .iter()
        .zip(1..)
        .map(|(taken, n)| server::services::accepting::Went {
            ended: server::services::outcomes::Ended {
                delivery_id: taken.claimed.delivery_id,
                attempt: 1,
                token,
                provider_id: provider,
                after_unknown: domain::delivery::AfterUnknown::Nothing,
                sent: server::channels::Sent::Accepted { provider_message_id: format!("SM{n}") },
            },
            known: Some(server::services::accepting::known(taken, token, 1)),
            chunk: tickets[0].chunk,
        })
        .collect();
    let counting = Counting::start(&world).await?;
    let written = server::services::accepting::store(&world.context, &went).await?;
    let said = counted(&counting);
    assert!(said.len() > 1, "one of them was decided anew: {said:#?}");
    assert!(written.iter().all(|w| w.stored == server::services::outcomes::Stored::Over), "{written:?}");
    assert!(written.iter().all(|w| !w.chunk_gone), "the chunk had an open call when the short way was written");
    assert_eq!(world.delivery(begun[0], 0).await?, "done read");
    assert_eq!(world.delivery(begun[1], 0).await?, "done sent");
    Ok(())
}

/// What one reads of a mark beside another: from the first question about a delivery to what is written of it.
fn questions(module: &str, function: &str) -> String {
    let path = source::root().join(format!("server/src/storage/{module}.rs"));
    let source = std::fs::read_to_string(path).expect("a source");
    let texts = texts_of(&tokens(&source), function).expect("a function");
    let text = texts.into_iter().find(|text| text.contains("set work = 'sending'")).expect("a mark");
    let (begin, end) = (text.find("and (d.valid_until is null"), text.find("order by d.id for update of d"));
    let questions = &text[begin.expect("the first question")..end.expect("the lock")];
    questions.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn both_marks_ask_the_same() {
    let (mark, take) = (questions("dispatch", "mark"), questions("taking", "take"));
    assert!(mark.contains("must_follow") && mark.contains("unmerged_evidence_since"), "{mark}");
    assert_eq!(mark, take);
}

/// Read the facts, write everything: whatever the number of people.
#[tokio::test]
async fn a_page_begins_with_two_statements() -> anyhow::Result<()> {
    let (world, _, contacts) = at_once(60).await?;
    let plan = world.plan(&["sms-main"], |_, _| {}).await?;
    world.begin(&plan, &contacts[..1], Lane::Bulk).await?; // the group is made
    world.begin(&plan, &contacts[..1], Lane::Bulk).await?; // and known
    world.context.directory.snapshot(&world.context.side).await?;
    let counting = Counting::start(&world).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    let said = counted(&counting);
    assert_eq!(said.len(), 2, "{said:#?}");
    drop(counting);
    assert_eq!(world.count("select count(*) from delivery where work = 'queued'").await?, 62);
    assert_eq!(world.count("select coalesce(sum(cardinality(delivery_ids)), 0) from dispatch").await?, 62);
    let events = "select sum(n) from event_out where type = 'created' and kind = ";
    let (notifications, deliveries) = (format!("{events} 'notification'"), format!("{events} 'delivery'"));
    for sql in [notifications, deliveries] {
        let n: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&world.db.pool).await?;
        assert_eq!(n, 62);
    }
    Ok(())
}

/// The relay looks and grants, and what it granted is all that waits: it does not look again.
#[tokio::test]
async fn an_interactive_delivery_costs_six_statements_up_to_its_end() -> anyhow::Result<()> {
    const DELIVERIES: usize = 10;
    let (world, _, contacts) = at_once(DELIVERIES + 1).await?;
    let plan = world.plan(&["sms-main"], |_, _| {}).await?;
    let (context, stop, bus) = (&world.context, CancellationToken::new(), Arc::new(LocalBus::default()));
    let (dispatch, mut tasks) = dispatch(&world);
    tasks.spawn(Relay::new(context.clone(), Arc::clone(&bus) as Arc<dyn Bus>).run(stop.clone()));
    let queue = Queue { channel_type: domain::channel::ChannelType::Sms, lane: Lane::Interactive };
    tasks.spawn(dispatch.run(bus, queue, stop.clone()));
    tasks.spawn(fallback::run(context.clone(), stop.clone()));
    let mut watch = Counting::watch(&world.db.url).await?;
    let counting = Counting::start(&world).await?;
    let mut costs = Vec::new();
    for contact in contacts {
        counting.take();
        let items = world.items(&plan, &[contact], Lane::Interactive);
        let mut tx = context.db.begin().await?;
        let begun = notifications::begin(context, &mut tx, &items).await?;
        tx.commit().await?;
        notifications::wake_begun(context, &begun);
        eventually(Duration::from_secs(20), async || {
            anyhow::ensure!(number(&mut watch, "select count(*) from dispatch").await? == 0, "it is under way");
            Ok(())
        })
        .await?;
        costs.push(counted(&counting));
    }
    // The first one makes the group; a look of the relay that is due by time may fall into any other, more often on a busy machine.
    costs.sort_by_key(Vec::len);
    let usual = &costs[costs.len() / 4];
    assert!(usual.len() <= 6, "{usual:#?}");
    assert_eq!(number(&mut watch, "select count(*) from delivery where evidence = 'sent'").await?, 11);
    Ok(())
}

/// A look at nothing: one statement for each worker that has a pass of its own.
#[tokio::test]
async fn who_has_nothing_to_do_asks_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut planner = Planner::new(world.context.clone());
    planner.pass().await?;
    let counting = Counting::start(&world).await?;
    fallback::pass(&world.context).await?;
    let said = counting.take();
    assert_eq!(said.len(), 1, "fallback: {said:#?}");
    planner.pass().await?;
    let said = counting.take();
    assert_eq!(said.len(), 1, "planner: {said:#?}");
    Ok(())
}

/// The first event is numbered at once, what follows within a moment together.
#[tokio::test]
async fn events_that_follow_each_other_closely_are_numbered_together() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut tasks = JoinSet::new();
    let stop = CancellationToken::new();
    let mut watch = Counting::watch(&world.db.url).await?;
    let counting = Counting::start(&world).await?;
    tasks.spawn(sequencer::run(world.context.clone(), stop.clone()));
    let say = "insert into event_out (kind, type, at) values ('channel', 'state_changed', now())";
    for n in 1..=20_i64 {
        sqlx::query(say).execute(&mut watch).await?;
        world.context.wake.signal(server::wake::Topic::Events);
        if n == 1 {
            eventually(Duration::from_secs(20), async || {
                anyhow::ensure!(number(&mut watch, "select count(*) from event").await? == 1, "it is not numbered yet");
                Ok(())
            })
            .await?;
            counting.take();
        }
    }
    eventually(Duration::from_secs(20), async || {
        anyhow::ensure!(number(&mut watch, "select count(*) from event").await? == 20, "not all are numbered yet");
        Ok(())
    })
    .await?;
    let said = counting.take();
    assert!(said.len() < 19, "{said:#?}");
    Ok(())
}
