//! The wake-up of schedules.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use triggers::cron::CronWaker;
use triggers::{BoxError, DueSchedules};

use crate::support::*;

/// Schedules that count the looks.
#[derive(Default)]
struct Looks {
    count: AtomicU32,
    at_once: AtomicU32,
    overlapped: AtomicBool,
    slow_ms: AtomicU32,
    fail: AtomicU32,
    panic: AtomicU32,
    due: Mutex<Option<DateTime<Utc>>>,
    fired_late: Mutex<Option<Duration>>,
}

#[async_trait]
impl DueSchedules for Looks {
    async fn fire_due(&self) -> Result<Option<DateTime<Utc>>, BoxError> {
        self.overlapped.fetch_or(self.at_once.fetch_add(1, Ordering::SeqCst) > 0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst).into())).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        if count < self.panic.load(Ordering::SeqCst) {
            panic!("a defect");
        }
        if count < self.fail.load(Ordering::SeqCst) {
            return Err("the database is away".into());
        }
        let mut due = self.due.lock().unwrap();
        if let Some(late) = due.and_then(|due| (Utc::now() - due).to_std().ok()) {
            self.fired_late.lock().unwrap().get_or_insert(late);
            *due = None;
        }
        Ok(*due)
    }
}

fn start(looks: &Arc<Looks>) -> (CancellationToken, tokio::task::JoinHandle<()>, triggers::cron::CronPoke) {
    let (waker, cancel) = (CronWaker::new(Arc::clone(looks) as Arc<dyn DueSchedules>), CancellationToken::new());
    let poke = waker.poker();
    let running = cancel.clone();
    (cancel, tokio::spawn(async move { waker.run(running).await.unwrap() }), poke)
}

#[tokio::test]
async fn looks_at_the_due_time_and_not_only_each_second() {
    let looks = Arc::new(Looks::default());
    *looks.due.lock().unwrap() = Some(Utc::now() + Duration::from_millis(1340));
    let (cancel, task, _) = start(&looks);
    eventually("fired", || looks.fired_late.lock().unwrap().is_some()).await;
    let late = looks.fired_late.lock().unwrap().unwrap();
    assert!(late < Duration::from_millis(600), "{late:?} late: the next full second was 660 ms later");
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn looks_each_second_by_itself_and_at_once_when_poked() {
    let looks = Arc::new(Looks::default());
    let (cancel, task, poke) = start(&looks);
    eventually("three looks", || looks.count.load(Ordering::SeqCst) >= 3).await;
    let before = looks.count.load(Ordering::SeqCst);
    let began = Instant::now();
    for _ in 0..5 {
        let before = looks.count.load(Ordering::SeqCst);
        poke.poke();
        eventually("a look", || looks.count.load(Ordering::SeqCst) > before).await;
    }
    assert!(began.elapsed() < Duration::from_secs(3), "five pokes took {:?}", began.elapsed());
    assert!(looks.count.load(Ordering::SeqCst) >= before + 5);
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn an_error_or_a_panic_costs_one_look() {
    let looks = Arc::new(Looks::default());
    looks.panic.store(1, Ordering::SeqCst);
    looks.fail.store(2, Ordering::SeqCst);
    let (cancel, task, poke) = start(&looks);
    for wanted in 1..=3 {
        eventually("a look", || looks.count.load(Ordering::SeqCst) >= wanted).await;
        poke.poke();
    }
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn looks_never_overlap_however_slow_they_are() {
    let looks = Arc::new(Looks::default());
    looks.slow_ms.store(300, Ordering::SeqCst);
    let (cancel, task, poke) = start(&looks);
    for _ in 0..50 {
        poke.poke();
        tokio::task::yield_now().await;
    }
    eventually("a few looks", || looks.count.load(Ordering::SeqCst) >= 3).await;
    assert!(!looks.overlapped.load(Ordering::SeqCst));
    cancel.cancel();
    task.await.unwrap();
}
