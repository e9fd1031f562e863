//! One consumer for each source that has something to capture, started and stopped as triggers come and go. Captures that are
//! missing are put in place at the start, each minute, and when a consumer sees it.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use ::triggers::postgres::{Consumer, ConsumerPoke, ConsumerSettings, SourceHealth, SourceState, TriggerProblem};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    services::{
        Context, Result,
        firings::sink::FiringSink,
        sources::{self, Health},
        triggers::{Wanted, reconcile, wanted},
    },
    storage,
    wake::Topic,
};

/// How often it looks for sources that came or went although nobody woke it.
const LOOK: Duration = Duration::from_secs(2);
/// How often the captures of a source are compared with its triggers.
const RECONCILE: Duration = Duration::from_secs(60);
/// How soon a source is tried again after it refused, and while something drains there.
const RETRY: Duration = Duration::from_secs(5);
/// The health of a source is written at most this often.
const HEALTH: Duration = Duration::from_millis(500);

/// A consumer under way.
struct Running {
    wanted: Wanted,
    cancel: CancellationToken,
    poke: ConsumerPoke,
    tasks: Vec<JoinHandle<()>>,
    health: watch::Receiver<SourceHealth>,
    next: Instant,
}

/// Runs until `stop`, then stops its consumers and waits for them.
pub async fn run(context: Context, stop: CancellationToken) {
    let alarm = Arc::new(Notify::new());
    let mut running: HashMap<i32, Running> = HashMap::new();
    while !stop.is_cancelled() {
        if let Err(error) = pass(&context, &mut running, &alarm).await {
            tracing::warn!(%error, "the sources could not be looked at; they are again soon");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = alarm.notified() => {}
            () = context.wake.wait(Topic::Triggers, LOOK) => {}
        }
    }
    futures::future::join_all(running.into_values().map(end)).await;
}

async fn pass(context: &Context, running: &mut HashMap<i32, Running>, alarm: &Arc<Notify>) -> Result<()> {
    let wanted = wanted(context).await?;
    let gone: Vec<i32> = running.keys().filter(|id| wanted.iter().all(|w| w.source.id != **id)).copied().collect();
    for id in gone {
        if let Some(consumer) = running.remove(&id) {
            end(consumer).await;
        }
    }
    for wanted in wanted {
        one(context, running, wanted, alarm).await;
    }
    Ok(())
}

/// Starts the consumer of a source where it does not run, or runs with another address; and looks at its captures in their time.
async fn one(context: &Context, running: &mut HashMap<i32, Running>, wanted: Wanted, alarm: &Arc<Notify>) {
    let id = wanted.source.id;
    let moved = running.get(&id).is_some_and(|r| r.wanted.source.version != wanted.source.version);
    if moved && let Some(old) = running.remove(&id) {
        end(old).await;
    }
    let changed = running.get(&id).is_none_or(|r| r.wanted.triggers != wanted.triggers);
    let broken = running.get(&id).map(|r| broken(&r.health.borrow())).unwrap_or_default();
    let due = running.get(&id).is_none_or(|r| r.next <= Instant::now());
    if changed || due || !broken.is_empty() {
        let done = reconcile(context, &wanted.source, &broken).await;
        if let Err(error) = &done {
            tracing::warn!(source = wanted.source.slug, %error, "the captures of a source could not be looked at");
        }
        let next = Instant::now() + if done.is_ok() && !wanted.drains { RECONCILE } else { RETRY };
        begin(context, running, wanted, next, alarm).await;
    }
}

async fn begin(
    context: &Context,
    running: &mut HashMap<i32, Running>,
    wanted: Wanted,
    next: Instant,
    alarm: &Arc<Notify>,
) {
    let id = wanted.source.id;
    if let Entry::Vacant(place) = running.entry(id) {
        match start(context, wanted.clone(), alarm) {
            Ok(consumer) => {
                place.insert(consumer);
            }
            Err(error) => write(context, id, &Health { last_error: error.to_string(), ..Health::default() }).await,
        }
    }
    if let Some(consumer) = running.get_mut(&id) {
        consumer.wanted = wanted;
        consumer.next = next;
        consumer.poke.poke();
    }
}

fn start(context: &Context, wanted: Wanted, alarm: &Arc<Notify>) -> Result<Running> {
    let source = sources::open(context, &wanted.source)?;
    let sink = Arc::new(FiringSink { context: context.clone() });
    let consumer = Consumer::new(source, sink, ConsumerSettings::default());
    let (health, poke, cancel) = (consumer.health(), consumer.poker(), CancellationToken::new());
    let watcher = tend(context.clone(), wanted.source.id, health.clone(), Arc::clone(alarm));
    let tasks = vec![tokio::spawn(consumer.run(cancel.clone())), tokio::spawn(watcher)];
    Ok(Running { wanted, cancel, poke, tasks, health, next: Instant::now() + RECONCILE })
}

async fn end(consumer: Running) {
    consumer.cancel.cancel();
    futures::future::join_all(consumer.tasks).await;
}

/// Writes how a source is whenever that changes, and raises the alarm when captures are seen not to do their work. Ends with its
/// consumer.
async fn tend(context: Context, id: i32, mut health: watch::Receiver<SourceHealth>, alarm: Arc<Notify>) {
    let (mut known, mut alarmed) = (Health::default(), BTreeSet::new());
    loop {
        let (now, faults) = {
            let health = health.borrow_and_update();
            (told(&health), broken(&health))
        };
        if let Some(now) = now.filter(|now| *now != known) {
            write(&context, id, &now).await;
            known = now;
        }
        if faults != alarmed {
            alarmed = faults;
            alarm.notify_one();
        }
        tokio::time::sleep(HEALTH).await;
        if health.changed().await.is_err() {
            return;
        }
    }
}

async fn write(context: &Context, id: i32, health: &Health) {
    let Ok(document) = serde_json::to_value(health) else { return };
    let written = async { storage::sources::set_health(&mut *context.lists.conn().await?, id, &document).await };
    if let Err(error) = written.await {
        tracing::debug!(source.id = id, %error, "the health of a source was not written");
    }
}

/// The triggers whose capture is missing or disabled.
fn broken(health: &SourceHealth) -> BTreeSet<i64> {
    let faults = health.trigger_faults.iter();
    faults.filter(|fault| fault.problem != TriggerProblem::ColumnMissing).map(|fault| fault.watch.0).collect()
}

/// What this consumer knows of its source; none while another process drains it, which writes then.
fn told(health: &SourceHealth) -> Option<Health> {
    let mut words: Vec<String> = Vec::new();
    let connected = match &health.state {
        SourceState::Standby | SourceState::Stopped | SourceState::Forgotten => return None,
        SourceState::Connecting => false,
        SourceState::BackingOff { error, .. } => {
            words.push(format!("The consumer is not connected and tries again: {error}."));
            false
        }
        SourceState::Unwatched | SourceState::Draining | SourceState::Asleep => true,
    };
    if health.outbox_full {
        words.push("The outbox is full: rows are not captured until it was drained.".to_owned());
    }
    for fault in &health.trigger_faults {
        let problem = match fault.problem {
            TriggerProblem::Missing => "is missing",
            TriggerProblem::Disabled => "is disabled",
            TriggerProblem::ColumnMissing => "is a column in use that does not exist any more",
        };
        words.push(format!("{} {problem}.", fault.name));
    }
    for gap in health.gaps.iter().filter(|gap| gap.until.is_none()) {
        words.push(format!("Rows may be missing since {} ({}).", gap.since, gap.reason));
    }
    Some(Health {
        connected,
        last_error: words.join(" "),
        waiting: health.outbox_rows.unwrap_or_default(),
        last_capture_at: health.last_event_at,
    })
}
