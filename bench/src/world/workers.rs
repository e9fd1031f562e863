//! The workers of a process, started by hand on a bus of choice, so that a provider inside this process can be used. They are
//! the shipped workers; [`server::app`] starts the same.

use std::sync::Arc;

use server::{
    bus::{Queue, SharedBus, local::LocalBus},
    services::Context,
    workers::{
        dispatch::Dispatch, fallback, merging, planner::Planner, providers::Providers, relay::Relay, sequencer, sweep,
        writer,
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Workers at work; stopped with this value.
pub struct Workers {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Workers {
    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// All that a process with the role `work` runs, on a bus inside the process.
    #[must_use]
    pub fn all(context: &Context) -> Self {
        Self::over(context, &(Arc::new(LocalBus::default()) as SharedBus))
    }

    /// The same over a bus of choice.
    #[must_use]
    pub fn over(context: &Context, bus: &SharedBus) -> Self {
        Self::none()
            .relay(context, bus)
            .dispatch(context, bus)
            .merging(context)
            .fallback(context)
            .sequencer(context)
            .planner(context)
    }

    /// The relay.
    #[must_use]
    pub fn relay(mut self, context: &Context, bus: &SharedBus) -> Self {
        self.tasks.spawn(Relay::new(context.clone(), Arc::clone(bus)).run(self.stop.clone()));
        self
    }

    /// The dispatch workers of every queue, their outcome writer, and the sweep.
    #[must_use]
    pub fn dispatch(mut self, context: &Context, bus: &SharedBus) -> Self {
        let (sender, inbox) = mpsc::channel(1000);
        self.tasks.spawn(writer::run(context.clone(), inbox));
        let dispatch = Dispatch::new(context.clone(), Providers::new(context.clone()), sender);
        for queue in Queue::all() {
            self.tasks.spawn(dispatch.clone().run(Arc::clone(bus), queue, self.stop.clone()));
        }
        self.tasks.spawn(sweep::run(context.clone(), self.stop.clone()));
        self
    }

    /// What takes up receipts and messages of people.
    #[must_use]
    pub fn merging(mut self, context: &Context) -> Self {
        self.tasks.spawn(merging::receipts(context.clone(), self.stop.clone()));
        self.tasks.spawn(merging::inbound(context.clone(), self.stop.clone()));
        self
    }

    /// What moves to the next step.
    #[must_use]
    pub fn fallback(mut self, context: &Context) -> Self {
        self.tasks.spawn(fallback::run(context.clone(), self.stop.clone()));
        self
    }

    /// What numbers events.
    #[must_use]
    pub fn sequencer(mut self, context: &Context) -> Self {
        self.tasks.spawn(sequencer::run(context.clone(), self.stop.clone()));
        self
    }

    /// What plans campaigns.
    #[must_use]
    pub fn planner(mut self, context: &Context) -> Self {
        self.tasks.spawn(Planner::new(context.clone()).run(self.stop.clone()));
        self
    }

    /// Stops them in order and waits for their end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // What does not end in time is ended with this value.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), ended).await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
    }
}
