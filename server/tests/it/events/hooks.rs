//! Telling webhooks: in order, signed, past receivers that hang, fail and lie, and again when asked.

use std::time::Duration;

use server::{
    bus::post::{Poster, Reach},
    services::hooks::{self as service, Definition, New, Replay, telling::Patience},
    services::work::Work,
    workers::hooks,
};
use testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Outward, SOON,
    receiver::{Mood, Receiver},
    say,
};
use crate::support::World;

/// A patience that tests can wait for.
const IMPATIENT: Patience = Patience {
    batch: 10,
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(200),
    give_up_after: Duration::from_secs(3600),
    disable_after: Duration::from_secs(3600),
    failing_from: 3,
};

/// A world in which events are numbered and told; it stops with this value.
struct Telling {
    world: World,
    _tasks: JoinSet<()>,
    _numbering: Outward,
    _stops: DropGuard,
}

impl Telling {
    async fn with(patience: Patience) -> anyhow::Result<Self> {
        let world = World::new().await?;
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let poster = Poster::new(Reach::default(), Duration::from_secs(2));
        tasks.spawn(hooks::tell(world.context.clone(), poster, patience, stop.clone()));
        let numbering = Outward::numbering(&world.context);
        Ok(Self { world, _tasks: tasks, _numbering: numbering, _stops: stop.drop_guard() })
    }

    async fn hook(&self, slug: &str, receiver: &Receiver) -> anyhow::Result<()> {
        let definition = Definition {
            types: vec!["notification.*".into(), "webhook.*".into()],
            secret_env: Some("SECRET".into()),
            ..Definition::default()
        };
        let (slug, url) = (slug.to_owned(), receiver.url.clone());
        let new = New { slug, display_name: String::new(), url, definition, start: Some(0) };
        let mut work = Work::begin(&self.world.context).await?;
        service::create(&self.world.context, &mut work, new).await?;
        Ok(work.commit(&self.world.context).await?)
    }

    async fn row(&self, slug: &str) -> anyhow::Result<service::HookRow> {
        Ok(service::get(&self.world.context, slug).await?.row)
    }

    async fn stands(&self, slug: &str, state: &str) -> anyhow::Result<service::HookRow> {
        eventually(SOON, async || {
            let row = self.row(slug).await?;
            anyhow::ensure!(row.state == state, "{} is {}: {:?}", slug, row.state, row.state_reason);
            Ok(row)
        })
        .await
    }

    async fn replay(&self, slug: &str, replay: Replay) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.world.context).await?;
        service::replay(&mut work, slug, replay).await?;
        Ok(work.commit(&self.world.context).await?)
    }
}

/// Waits until a receiver has taken so many.
async fn taken(receiver: &Receiver, n: usize) -> anyhow::Result<Vec<i64>> {
    eventually(SOON, async || {
        let numbers = receiver.numbers();
        anyhow::ensure!(numbers.len() >= n, "{} of {n} are taken", numbers.len());
        Ok(numbers)
    })
    .await
}

#[tokio::test]
async fn a_webhook_is_told_in_order_in_signed_batches_through_failures() -> anyhow::Result<()> {
    let telling = Telling::with(IMPATIENT).await?;
    let receiver = Receiver::start(Mood::Answer(503)).await?;
    telling.hook("first", &receiver).await?;
    say(&telling.world, 23).await?;
    say(&telling.world, 2).await?;
    let row = telling.stands("first", "failing").await?;
    assert_eq!(row.state_reason.as_deref(), Some("it answered 503"));
    let tries = receiver.posted();
    assert!(
        tries.iter().all(|posted| posted.events.len() == 10 && posted.id == tries[0].id),
        "the same again: {tries:?}"
    );
    receiver.is_now(Mood::Take);
    let numbers = taken(&receiver, 27).await?;
    assert_eq!(numbers, (1..=27).collect::<Vec<_>>(), "what failed and recovered is told too");
    assert_eq!(telling.stands("first", "enabled").await?.failures, 0);
    let last = receiver.posted().into_iter().flat_map(|posted| posted.events).last();
    assert_eq!(last.map(|event| event["type"].clone()), Some("org.switchboard.webhook.recovered".into()));
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_back_nobody_else() -> anyhow::Result<()> {
    let telling = Telling::with(IMPATIENT).await?;
    let (slow, quick) = (Receiver::start(Mood::Hang).await?, Receiver::start(Mood::Take).await?);
    telling.hook("a-slow", &slow).await?;
    telling.hook("b-quick", &quick).await?;
    say(&telling.world, 30).await?;
    let numbers = taken(&quick, 30).await?;
    assert_eq!(numbers[..30], (1..=30).collect::<Vec<_>>());
    assert!(slow.numbers().is_empty());
    let row = eventually(SOON, async || {
        let row = telling.row("a-slow").await?;
        anyhow::ensure!(row.failures > 0, "it still waits");
        Ok(row)
    })
    .await?;
    assert_eq!(row.state_reason.as_deref(), Some("it did not answer in time"));
    Ok(())
}

#[tokio::test]
async fn what_is_not_taken_in_time_is_a_dead_letter_and_is_told_again_when_asked() -> anyhow::Result<()> {
    let patience = Patience { give_up_after: Duration::from_millis(100), batch: 5, ..IMPATIENT };
    let telling = Telling::with(patience).await?;
    let receiver = Receiver::start(Mood::Answer(500)).await?;
    telling.hook("first", &receiver).await?;
    say(&telling.world, 5).await?;
    let letters = eventually(SOON, async || {
        let letters = service::dead_letters(&telling.world.context, "first", i64::MAX, 10).await?;
        anyhow::ensure!(!letters.is_empty(), "nothing was given up yet");
        Ok(letters)
    })
    .await?;
    let first = letters.last().expect("it is there").clone();
    assert_eq!((first.first, first.last, first.n, first.reason.as_str()), (1, 5, 5, "it answered 500"));
    receiver.is_now(Mood::Take);
    // What came after the dead letter goes on without it.
    eventually(SOON, async || {
        anyhow::ensure!(telling.row("first").await?.lag == 0, "it is behind");
        Ok(())
    })
    .await?;
    telling.replay("first", Replay::Letter(first.id)).await?;
    eventually(SOON, async || {
        let numbers = receiver.numbers();
        anyhow::ensure!((1..=5).all(|n| numbers.contains(&n)), "{numbers:?}");
        Ok(())
    })
    .await?;
    let after = eventually(SOON, async || {
        let letters = service::dead_letters(&telling.world.context, "first", i64::MAX, 10).await?;
        let letter = letters.into_iter().find(|letter| letter.id == first.id).expect("it is there");
        anyhow::ensure!(letter.replayed_at.is_some(), "not noted yet");
        Ok(letter)
    })
    .await?;
    assert!(after.replay_at.is_none());
    Ok(())
}

#[tokio::test]
async fn events_after_a_cursor_are_told_again() -> anyhow::Result<()> {
    let telling = Telling::with(IMPATIENT).await?;
    let receiver = Receiver::start(Mood::Take).await?;
    telling.hook("first", &receiver).await?;
    say(&telling.world, 12).await?;
    taken(&receiver, 12).await?;
    telling.replay("first", Replay::After(7)).await?;
    let numbers = taken(&receiver, 17).await?;
    assert_eq!(numbers[12..], [8, 9, 10, 11, 12]);
    Ok(())
}

#[tokio::test]
async fn redirects_are_not_followed_and_a_receiver_that_is_gone_is_left_alone() -> anyhow::Result<()> {
    let telling = Telling::with(IMPATIENT).await?;
    let elsewhere = Receiver::start(Mood::Take).await?;
    let receiver = Receiver::start(Mood::Redirect(elsewhere.url.clone())).await?;
    telling.hook("first", &receiver).await?;
    say(&telling.world, 1).await?;
    let row = telling.stands("first", "failing").await?;
    assert_eq!(row.state_reason.as_deref(), Some("it answered 307, and redirects are not followed"));
    assert!(elsewhere.posted().is_empty());
    receiver.is_now(Mood::Answer(410));
    let row = telling.stands("first", "disabled").await?;
    assert!(row.state_reason.is_some_and(|reason| reason.contains("410")));
    let tries = receiver.posted().len();
    say(&telling.world, 1).await?;
    // Enabled again, it goes on where it stopped.
    receiver.is_now(Mood::Take);
    let mut work = Work::begin(&telling.world.context).await?;
    service::enable(&mut work, "first", "").await?;
    work.commit(&telling.world.context).await?;
    let numbers = taken(&receiver, 2).await?;
    assert_eq!(numbers[0], 1);
    assert_eq!(receiver.posted()[tries].events[0]["sequence"], "00000000000000000001", "nothing came in between");
    Ok(())
}

#[tokio::test]
async fn a_webhook_that_fails_for_too_long_is_disabled_and_an_event_says_so() -> anyhow::Result<()> {
    let patience = Patience { disable_after: Duration::from_millis(200), ..IMPATIENT };
    let telling = Telling::with(patience).await?;
    let receiver = Receiver::start(Mood::Answer(500)).await?;
    telling.hook("first", &receiver).await?;
    say(&telling.world, 1).await?;
    let row = telling.stands("first", "disabled").await?;
    assert_eq!((row.state_reason.as_deref(), row.position), (Some("it failed for too long"), 0));
    eventually(SOON, async || {
        let n = telling.world.count("select count(*) from event where kind = 'webhook' and type = 'disabled'").await?;
        anyhow::ensure!(n == 1, "{n} events");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hundred_webhooks_are_all_told() -> anyhow::Result<()> {
    let telling = Telling::with(IMPATIENT).await?;
    let receiver = Receiver::start(Mood::Take).await?;
    for n in 0..100 {
        telling.hook(&format!("hook-{n:03}"), &receiver).await?;
    }
    let began = std::time::Instant::now();
    say(&telling.world, 10).await?;
    let numbers = taken(&receiver, 1000).await?;
    for n in 1..=10 {
        assert_eq!(numbers.iter().filter(|number| **number == n).count(), 100, "event {n}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Ok(())
}
