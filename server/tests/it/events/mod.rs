//! Events on their way out and commands on their way in: over a real RabbitMQ that is killed, and to real receivers that hang, fail
//! and lie.

mod commands;
mod exchange;
mod hooks;
mod receiver;
mod schema;
mod webhooks;

use std::{sync::Arc, time::Duration};

use server::{
    services::Context,
    workers::{commands as taking, merging, publishing, sequencer},
};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::World;

/// Long enough for a loaded machine; conditions are met much sooner.
const SOON: Duration = Duration::from_secs(60);

/// The workers of one process that concern events; they stop with this value.
pub struct Outward {
    _tasks: JoinSet<()>,
    _stops: DropGuard,
}

impl Outward {
    /// Numbers and publishes events, takes up messages, and takes commands.
    pub fn start(context: &Context, amqp: &str) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let url = Some(amqp.to_owned().into());
        tasks.spawn(sequencer::run(context.clone(), stop.clone()));
        tasks.spawn(merging::inbound(context.clone(), stop.clone()));
        tasks.spawn(publishing::run(context.clone(), url.clone(), stop.clone()));
        tasks.spawn(taking::run(context.clone(), url, stop.clone()));
        Self { _tasks: tasks, _stops: stop.drop_guard() }
    }

    /// Numbers events, and nothing else.
    pub fn numbering(context: &Context) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(sequencer::run(context.clone(), stop.clone()));
        Self { _tasks: tasks, _stops: stop.drop_guard() }
    }
}

/// Says in one statement that `n` notifications were reached.
pub async fn say(world: &World, n: i32) -> anyhow::Result<()> {
    sqlx::query(
        "insert into event_out (kind, n, ids, to_state, at)
         select 'notification', $1, array(select gen_random_uuid() from generate_series(1, $1)), 'reached', now()",
    )
    .bind(n)
    .execute(&world.db.pool)
    .await?;
    world.context.wake.signal(server::wake::Topic::Events);
    Ok(())
}

/// A world in which an outside flow engine takes part.
pub async fn with_flows() -> anyhow::Result<World> {
    let mut world = World::new().await?;
    let mut settings = (*world.context.settings).clone();
    settings.events.outside_flows = true;
    world.context.settings = Arc::new(settings);
    Ok(world)
}
