//! All workers of a process, in the test's own: started by hand, and killed as `kill -9` would: every task stops where it stands.

use std::{sync::Arc, time::Duration};

use server::{
    bus::{Queue, SharedBus, local::LocalBus},
    services::Context,
    workers::{
        conversations,
        dispatch::{Dispatch, LEASE},
        fallback, merging,
        providers::Providers,
        relay::Relay,
        sequencer, sweep, writer,
    },
};
use simulator::Simulator;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::World;

/// The workers of one process.
pub struct Workers {
    tasks: JoinSet<()>,
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts every worker on a runtime of its own, so that a kill stops what they spawned too.
    pub fn start(context: &Context, bus: Option<SharedBus>) -> anyhow::Result<Self> {
        Self::start_with_lease(context, bus, LEASE)
    }

    /// The same with another lease.
    pub fn start_with_lease(context: &Context, bus: Option<SharedBus>, lease: Duration) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let bus = bus.unwrap_or_else(|| Arc::new(LocalBus::default()));
        let handle = runtime.handle().clone();
        let (sender, inbox) = mpsc::channel(1000);
        tasks.spawn_on(writer::run(context.clone(), inbox), &handle);
        tasks.spawn_on(Relay::new(context.clone(), Arc::clone(&bus)).run(stop.clone()), &handle);
        let dispatch = Dispatch::new(context.clone(), Providers::new(context.clone()), sender).with_lease(lease);
        for queue in Queue::all() {
            tasks.spawn_on(dispatch.clone().run(Arc::clone(&bus), queue, stop.clone()), &handle);
        }
        tasks.spawn_on(sweep::run(context.clone(), stop.clone()), &handle);
        tasks.spawn_on(fallback::run(context.clone(), stop.clone()), &handle);
        tasks.spawn_on(merging::receipts(context.clone(), stop.clone()), &handle);
        tasks.spawn_on(merging::inbound(context.clone(), stop.clone()), &handle);
        tasks.spawn_on(conversations::run(context.clone(), stop.clone()), &handle);
        tasks.spawn_on(sequencer::run(context.clone(), stop.clone()), &handle);
        Ok(Self { tasks, runtime: Some(runtime), stop })
    }

    /// Stops every task where it stands, what they spawned and their connections included, and returns when all are gone.
    pub async fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            let gone = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(30)));
            gone.await.expect("a runtime ends");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A simulator that knows the account of [`World::sms_channel`].
pub async fn simulator() -> anyhow::Result<Simulator> {
    let mut config = simulator::Config::default();
    config.twilio.account_sid = "AC00000000000000000000000000000000".into();
    config.twilio.auth_token = "secret".into();
    Ok(Simulator::start(config).await?)
}

impl World {
    /// A context of another process: the same database, nothing else in common.
    pub fn another_process(&self) -> anyhow::Result<Context> {
        Self::context(&self.db.url, self.context.clock.clone())
    }
}
