//! The dispatch protocol, one interleaving at a time: every numbered counterexample that an earlier wording of the protocol
//! allowed, played by hand on the real statements.

use std::time::Duration;

use domain::{
    channel::Lane,
    delivery::{AfterUnknown, Evidence, FailureClass},
};
use server::{
    channels::{Refusal, Sent},
    services::{
        outcomes::{self, Ended, Stored},
        receipts,
    },
    storage::{
        dispatch::{self, Finished},
        planning, queue,
        receipts::NewReceipt,
    },
    workers::{fallback, sweep},
};
use uuid::Uuid;

use crate::support::World;

/// A lease that is over as soon as it is given.
const OVER: f64 = -1.0;
/// A lease that outlasts the test.
const LONG: f64 = 60.0;

/// A worker that holds a claim, played by hand.
struct Worker<'a> {
    world: &'a World,
    chunk: i64,
    token: Uuid,
    delivery: Uuid,
    provider: i32,
}

impl<'a> Worker<'a> {
    /// Publishes what waits, and claims it.
    async fn claim(world: &'a World, lease: f64) -> anyhow::Result<Option<Self>> {
        publish(world, LONG).await?;
        Self::claim_published(world, lease).await
    }

    async fn claim_published(world: &'a World, lease: f64) -> anyhow::Result<Option<Self>> {
        let chunk: Option<i64> =
            sqlx::query_scalar("select id from dispatch where published_at is not null order by id limit 1")
                .fetch_optional(&world.db.pool)
                .await?;
        let Some(chunk) = chunk else { return Ok(None) };
        let token = Uuid::new_v4();
        let claimed = dispatch::claim(&mut *world.context.db.conn().await?, chunk, token, lease).await?;
        let Some(first) = claimed.first() else { return Ok(None) };
        let provider = sqlx::query_scalar("select id from channel_provider where channel_id = $1")
            .bind(first.channel_id)
            .fetch_one(&world.db.pool)
            .await?;
        Ok(Some(Self { world, chunk, token, delivery: first.delivery_id, provider }))
    }

    async fn mark(&self, lease: f64) -> anyhow::Result<Option<i16>> {
        let mut conn = self.world.context.db.conn().await?;
        let now = self.world.now();
        let marked =
            dispatch::mark(&mut conn, self.chunk, self.token, &[self.delivery], self.provider, lease, now).await?;
        Ok(marked.first().map(|(_, attempt)| *attempt))
    }

    async fn outcome(&self, attempt: i16, sent: Sent) -> anyhow::Result<Stored> {
        self.outcome_with(attempt, sent, AfterUnknown::Nothing).await
    }

    async fn outcome_with(&self, attempt: i16, sent: Sent, after_unknown: AfterUnknown) -> anyhow::Result<Stored> {
        let ended = Ended {
            delivery_id: self.delivery,
            attempt,
            token: self.token,
            provider_id: self.provider,
            after_unknown,
            sent,
        };
        Ok(outcomes::store(&self.world.context, &[ended]).await?.remove(0))
    }

    async fn finish(&self) -> anyhow::Result<Finished> {
        let mut conn = self.world.context.db.conn().await?;
        Ok(dispatch::finish(&mut conn, self.chunk, self.token, 0.0, false).await?)
    }

    /// A receipt of attempt `n`, as the provider would send it with our ids.
    async fn receipt(&self, n: i16, evidence: Evidence) -> anyhow::Result<()> {
        let receipt = NewReceipt {
            provider_message_id: format!("SM{}{n}", self.delivery.simple()),
            echo: Some((self.delivery, n)),
            evidence,
            failure_class: (evidence == Evidence::Failed).then(|| FailureClass::FallOver.as_str().to_owned()),
            failure_code: None,
            provider_time: None,
        };
        let mut conn = self.world.context.db.conn().await?;
        server::storage::receipts::store(&mut conn, self.provider, 0, &[receipt]).await?;
        Ok(())
    }
}

async fn publish(world: &World, lease: f64) -> anyhow::Result<()> {
    let mut conn = world.context.db.conn().await?;
    let groups = queue::waiting_groups(&mut conn, world.now()).await?;
    for group in groups {
        let name = group.channel_type.as_str();
        let want = queue::Want { send_group_id: group.send_group_id, messages: 500, parts: i64::MAX, micros: i64::MAX };
        queue::grant(&mut conn, name, group.lane, &[want], lease).await?;
    }
    Ok(())
}

fn accepted() -> Sent {
    Sent::Accepted { provider_message_id: format!("SM{}", Uuid::new_v4().simple()) }
}

fn unknown() -> Sent {
    Sent::Unknown { detail: "no answer in time".into() }
}

async fn pause(world: &World, running: bool) -> anyhow::Result<()> {
    sqlx::query("update send_group set running = $1").bind(running).execute(&world.db.pool).await?;
    Ok(())
}

async fn sweep_all(world: &World) -> anyhow::Result<()> {
    while sweep::pass(&world.context).await? {}
    Ok(())
}

async fn end_leases(world: &World) -> anyhow::Result<()> {
    sqlx::query(
        "update dispatch set lease_until = clock_timestamp() - interval '1 second' where lease_until is not null",
    )
    .execute(&world.db.pool)
    .await?;
    sqlx::query(
        "update delivery set lease_until = clock_timestamp() - interval '1 second' where lease_until is not null",
    )
    .execute(&world.db.pool)
    .await?;
    Ok(())
}

#[tokio::test]
async fn cx01_a_claim_during_a_pause_takes_nothing_and_loses_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    publish(&world, LONG).await?;
    pause(&world, false).await?;
    assert!(Worker::claim_published(&world, LONG).await?.is_none(), "a paused group is not claimed");
    pause(&world, true).await?;
    end_leases(&world).await?;
    sweep_all(&world).await?;
    let worker = Worker::claim(&world, LONG).await?.expect("the chunk waits again after the pause");
    assert_eq!(worker.mark(LONG).await?, Some(1));
    assert_eq!(world.delivery(begun.notification, 0).await?, "sending none");
    Ok(())
}

#[tokio::test]
async fn cx02_a_claim_whose_lease_ends_is_queued_again_with_its_row() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    Worker::claim(&world, OVER).await?.expect("claimed");
    sweep_all(&world).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "queued none");
    let again = Worker::claim(&world, LONG).await?.expect("it can be claimed again");
    assert_eq!(again.mark(LONG).await?, Some(1), "no attempt was counted for a lease without a mark");
    Ok(())
}

#[tokio::test]
async fn cx03_three_lost_leases_fail_the_delivery_and_its_step_goes_on() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    for _ in 0..3 {
        Worker::claim(&world, OVER).await?.expect("claimed");
        sweep_all(&world).await?;
    }
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 1", "the next channel is taken");
    let reason = world.one("select reason from delivery where notification_id = $1 and step = 0", begun.notification);
    assert_eq!(reason.await?.as_deref(), Some("LEASES_LOST"));
    Ok(())
}

#[tokio::test]
async fn cx04_nothing_is_marked_for_a_step_that_was_left() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let first = Worker::claim(&world, LONG).await?.expect("claimed");
    assert_eq!(first.mark(LONG).await?, Some(1));
    // A connector with a key repeats after UNKNOWN: the repeat is queued and claimed, and then the step is left.
    first.outcome_with(1, unknown(), AfterUnknown::Key).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "queued unknown");
    assert_eq!(first.finish().await?, Finished::GivenBack);
    let second = Worker::claim(&world, LONG).await?.expect("the repeat is claimed");
    world.advance(Duration::from_secs(3601));
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 1");
    assert_eq!(second.mark(LONG).await?, None, "its step was left");
    assert_eq!(world.delivery(begun.notification, 0).await?, "done unknown", "the repeat was taken back");
    Ok(())
}

#[tokio::test]
async fn cx05_a_repeat_is_not_queued_after_its_step_was_left() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    world.leave_step(begun.notification).await?;
    let stored = worker.outcome_with(1, unknown(), AfterUnknown::Key).await?;
    assert_eq!(stored, Stored::Over, "another step is under way: nothing is repeated");
    assert_eq!(world.delivery(begun.notification, 0).await?, "done unknown");
    Ok(())
}

#[tokio::test]
async fn cx06_a_later_step_is_not_marked_while_evidence_lies_unmerged() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let first = Worker::claim(&world, OVER).await?.expect("claimed");
    first.mark(OVER).await?; // its worker is killed here
    sweep_all(&world).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "done unknown");
    world.advance(Duration::from_secs(3601));
    fallback::pass(&world.context).await?;
    let second = Worker::claim(&world, LONG).await?.expect("the next step is claimed");
    first.receipt(1, Evidence::Delivered).await?;
    assert_eq!(second.mark(LONG).await?, None, "the receipt could end everything");
    receipts::merge(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "reached 1");
    assert_eq!(second.mark(LONG).await?, None);
    assert_eq!(world.delivery(begun.notification, 1).await?, "cancelled none");
    Ok(())
}

#[tokio::test]
async fn fallback_itself_waits_for_evidence_that_lies_unmerged() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    worker.outcome(1, accepted()).await?;
    worker.receipt(1, Evidence::Delivered).await?;
    world.advance(Duration::from_secs(3601));
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 0", "held back");
    receipts::merge(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "reached 0");
    Ok(())
}

/// Case 15 of the edge cases of conversations, where the receipt comes before our own insert.
#[tokio::test]
async fn cx08_a_receipt_that_outruns_the_outcome_leaves_no_open_attempt() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, OVER).await?.expect("claimed");
    worker.mark(OVER).await?;
    worker.receipt(1, Evidence::Delivered).await?;
    receipts::merge(&world.context).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "sending delivered");
    sweep_all(&world).await?; // the worker was killed
    assert_eq!(world.delivery(begun.notification, 0).await?, "done delivered");
    let attempt = world.one("select outcome::text from attempt where delivery_id = $1", worker.delivery).await?;
    assert_eq!(attempt.as_deref(), Some("unknown"), "recorded, though evidence says more");
    assert_eq!(world.count("select count(*) from dispatch").await?, 0);
    assert_eq!(
        world.count("select count(*) from delivery where token is not null or lease_until is not null").await?,
        0
    );
    Ok(())
}

#[tokio::test]
async fn cx09_a_failure_that_was_merged_first_is_not_lifted_by_our_own_outcome() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    worker.receipt(1, Evidence::Failed).await?;
    receipts::merge(&world.context).await?;
    worker.outcome(1, accepted()).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "done failed");
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 1", "a failure for good goes on at once");
    Ok(())
}

#[tokio::test]
async fn cx10_a_late_acceptance_takes_the_queued_repeat_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let slow = Worker::claim(&world, OVER).await?.expect("claimed");
    slow.mark(OVER).await?;
    // The sweep records UNKNOWN; with a key the repeat is queued.
    slow.outcome_with(1, unknown(), AfterUnknown::Key).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "queued unknown");
    assert_eq!(slow.outcome(1, accepted()).await?, Stored::Late);
    receipts::merge(&world.context).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "done sent", "known to be accepted: not repeated");
    end_leases(&world).await?;
    sweep_all(&world).await?;
    assert!(Worker::claim(&world, LONG).await?.is_none(), "no chunk is left");
    Ok(())
}

#[tokio::test]
async fn cx10b_a_call_that_was_not_made_is_not_repeated_when_the_first_is_known_to_be_accepted() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let slow = Worker::claim(&world, LONG).await?.expect("claimed");
    slow.mark(LONG).await?;
    slow.outcome_with(1, unknown(), AfterUnknown::Key).await?;
    slow.finish().await?;
    let second = Worker::claim(&world, LONG).await?.expect("the repeat");
    assert_eq!(second.mark(LONG).await?, Some(2));
    slow.receipt(1, Evidence::Sent).await?;
    receipts::merge(&world.context).await?;
    let stored = second.outcome(2, Sent::NotSent { detail: "the lease would not outlast the call".into() }).await?;
    assert_eq!(stored, Stored::Over);
    assert_eq!(world.delivery(begun.notification, 0).await?, "done sent");
    Ok(())
}

#[tokio::test]
async fn cx11_evidence_stays_when_the_work_goes_back_to_the_queue() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    worker.outcome_with(1, unknown(), AfterUnknown::Key).await?;
    worker.finish().await?;
    Worker::claim(&world, OVER).await?.expect("claimed again");
    sweep_all(&world).await?;
    assert_eq!(world.delivery(begun.notification, 0).await?, "queued unknown");
    Ok(())
}

#[tokio::test]
async fn an_attempt_without_an_outcome_is_unknown_and_is_not_repeated() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, OVER).await?.expect("claimed");
    worker.mark(OVER).await?;
    sweep_all(&world).await?;
    assert!(Worker::claim(&world, LONG).await?.is_none(), "nothing of step 0 goes out a second time");
    world.advance(Duration::from_secs(3599));
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 0", "UNKNOWN starts the wait as SENT would");
    world.advance(Duration::from_secs(2));
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 1");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_can_neither_mark_nor_write_as_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.two_steps().await?;
    let zombie = Worker::claim(&world, OVER).await?.expect("claimed");
    sweep_all(&world).await?;
    let owner = Worker::claim(&world, LONG).await?.expect("claimed by another");
    assert_eq!(zombie.mark(LONG).await?, None, "the claim is another's");
    assert_eq!(owner.mark(LONG).await?, Some(1));
    assert_eq!(zombie.outcome(1, unknown()).await?, Stored::Late);
    assert_eq!(owner.outcome(1, accepted()).await?, Stored::Over);
    assert_eq!(owner.finish().await?, Finished::Gone);
    Ok(())
}

#[tokio::test]
async fn a_pause_stops_what_was_claimed_and_not_marked() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    pause(&world, false).await?;
    assert_eq!(worker.mark(LONG).await?, None);
    pause(&world, true).await?;
    assert_eq!(worker.mark(LONG).await?, Some(1));
    Ok(())
}

#[tokio::test]
async fn what_was_not_sent_is_queued_again_and_counts_no_failure() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    let stored = worker.outcome(1, Sent::NotSent { detail: "connection refused".into() }).await?;
    assert!(matches!(stored, Stored::Again(_)));
    assert_eq!(world.delivery(begun.notification, 0).await?, "queued none");
    assert_eq!(world.count("select failures::bigint from delivery where step = 0").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_permanent_refusal_takes_the_next_channel_at_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let worker = Worker::claim(&world, LONG).await?.expect("claimed");
    worker.mark(LONG).await?;
    let refusal =
        Refusal { class: FailureClass::FallOver, code: "21612".into(), detail: "no route".into(), retry_after: None };
    worker.outcome(1, Sent::Refused(refusal)).await?;
    assert_eq!(worker.finish().await?, Finished::Gone);
    fallback::pass(&world.context).await?;
    assert_eq!(world.stands(begun.notification).await?, "waiting 1");
    Ok(())
}

#[tokio::test]
async fn a_lost_queue_is_repaired_when_the_connection_is_new() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.two_steps().await?;
    publish(&world, LONG).await?;
    let mut conn = world.context.db.conn().await?;
    assert_eq!(queue::take_back_unclaimed(&mut conn).await?, 1);
    assert_eq!(queue::waiting_groups(&mut conn, world.now()).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_half_claimed_chunk_of_many_is_neither_lost_nor_doubled() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let mut contacts = Vec::new();
    for n in 0..10 {
        contacts.push(world.contact(&format!("+9198123400{n:02}")).await?);
    }
    let plan = world.plan(&["sms-a"], |_, _| {}).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    publish(&world, LONG).await?;
    let worker = Worker::claim_published(&world, LONG).await?.expect("one chunk of ten");
    assert_eq!(worker.mark(LONG).await?, Some(1), "one of ten is marked");
    end_leases(&world).await?;
    sweep_all(&world).await?;
    assert_eq!(world.count("select count(*) from delivery where evidence = 'unknown' and work = 'done'").await?, 1);
    assert_eq!(world.count("select count(*) from delivery where work = 'queued'").await?, 9);
    let again = Worker::claim(&world, LONG).await?.expect("the nine that were not marked");
    assert_ne!(again.delivery, worker.delivery);
    Ok(())
}

impl World {
    /// Leaves the first step of a notification while its call is under way.
    async fn leave_step(&self, notification: Uuid) -> anyhow::Result<()> {
        let mut tx = self.context.db.begin().await?;
        let moved = planning::Move {
            id: notification,
            campaign_id: None,
            from: domain::notification::State::Waiting,
            to: domain::notification::State::Waiting,
            step: 1,
            reason: None,
            answered_by: None,
            late: false,
        };
        planning::move_notifications(&mut tx, &[moved], self.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}
