//! Intents, answered one after the other within a conversation: taken under a lease, decided once, and carried out action by action,
//! each with the note that it is done in its own transaction. A process that dies in the middle leaves what is decided to the
//! next one, which goes on behind the last action that is done. Nothing here holds a conversation open: it may close meanwhile.

use std::time::Duration;

use chrono::TimeDelta;
use domain::{
    controller::{Action, BUDGET, Compiled, ControllerVersion, Fault, Scene},
    conversation::Intent,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    acting::{self, Acting},
    scene::{self, Occasion},
};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::{
        self,
        controllers::inbox::{self, Ended, Waiting},
    },
    wake::Topic,
};

/// How long an intent belongs to who took it; each action that is done begins it anew. Longer than any action.
const LEASE: Duration = Duration::from_secs(30);
/// After the third failure an intent is given up.
const TRIES: i16 = 3;
/// The time over which actions are counted.
const BUDGET_SPAN: TimeDelta = TimeDelta::minutes(10);
/// Events that are read at once.
const PAGE: i64 = 500;

/// What was decided about an intent, as it waits to be carried out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Decided {
    /// The version that decided; 0: a process of the business.
    pub version: i32,
    /// The rules that act.
    pub rules: Vec<String>,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// Nothing of this is the controller's concern: no record is kept.
    #[serde(default)]
    pub unconcerned: bool,
}

/// Reads on in the stream of events. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn fill(context: &Context) -> Result<bool> {
    Ok(inbox::fill(&mut *context.lists.conn().await?, PAGE).await? == PAGE)
}

/// Answers one intent. Says whether there was one.
///
/// # Errors
/// What storage says while taking; whatever else fails is counted, and the intent given up at the third failure.
pub async fn answer_one(context: &Context) -> Result<bool> {
    let now = context.clock.now();
    let taken = inbox::take(&mut *context.lists.conn().await?, Uuid::new_v4(), LEASE.as_secs_f64(), now).await?;
    let Some(waiting) = taken else { return Ok(false) };
    if let Err(error) = answer(context, &waiting).await {
        let (number, controller) = (waiting.number, &waiting.controller);
        tracing::warn!(event = number, controller, error = %error, tries = waiting.tries, "an intent was not answered");
        failed(context, &waiting, &error).await?;
    }
    Ok(true)
}

async fn answer(context: &Context, waiting: &Waiting) -> Result<()> {
    let intent: Intent = waiting.intent.parse().map_err(storage::Error::from)?;
    let occasion = Occasion {
        conversation: waiting.conversation_id,
        intent,
        subject: waiting.subject,
        channel_id: waiting.channel_id,
        reason: &waiting.reason,
    };
    let seen = scene::of(context, &mut *context.lists.conn().await?, occasion).await?;
    let Some((scene, channel)) = seen else {
        let nothing = Decided { unconcerned: true, ..Decided::default() };
        return end(context, waiting, &nothing, 0, false).await;
    };
    let (decided, mut faults) = match &waiting.decided {
        Some(decided) => {
            (serde_json::from_value(decided.clone()).map_err(storage::Error::from)?, waiting.faults.clone())
        }
        None => decide(context, waiting, &scene, channel.as_deref()).await?,
    };
    let mut carried_out = 0;
    for (at, action) in decided.actions.iter().enumerate().skip(usize::try_from(waiting.done).unwrap_or_default()) {
        let place = i16::try_from(at + 1).unwrap_or(i16::MAX);
        match carry_out(context, waiting, &scene, action, place).await? {
            Carried::Done => carried_out += 1,
            Carried::Refused(fault) => faults.push(fault),
            Carried::Lost => return Ok(()),
        }
    }
    end(context, waiting, &decided, i32::from(waiting.done) + carried_out, !faults.is_empty()).await
}

/// Asks the controller, and keeps what it says.
async fn decide(
    context: &Context,
    waiting: &Waiting,
    scene: &Scene,
    channel: Option<&str>,
) -> Result<(Decided, Vec<String>)> {
    let conn = &mut *context.lists.conn().await?;
    let concerned =
        waiting.channels.is_empty() || channel.is_some_and(|slug| waiting.channels.iter().any(|c| c == slug));
    let (decided, faults) = if concerned {
        let since = scene.now - BUDGET_SPAN;
        let spent = inbox::actions_since(conn, waiting.controller_id, waiting.conversation_id, since).await?;
        match spent >= i64::from(BUDGET) {
            true => (Decided { version: waiting.version, ..Decided::default() }, vec![over_budget()]),
            false => react(waiting, scene)?,
        }
    } else {
        (Decided { unconcerned: true, ..Decided::default() }, Vec::new())
    };
    let document = serde_json::to_value(&decided).map_err(storage::Error::from)?;
    inbox::decide(conn, waiting, &document, &faults).await?;
    Ok((decided, faults))
}

fn over_budget() -> String {
    format!(
        "the conversation has seen {BUDGET} actions of this controller within ten minutes: do its rules answer each other?"
    )
}

fn react(waiting: &Waiting, scene: &Scene) -> Result<(Decided, Vec<String>)> {
    let version: ControllerVersion =
        serde_json::from_value(waiting.definition.clone()).map_err(storage::Error::from)?;
    let compiled = Compiled::new(version)
        .map_err(|found| Error::Invalid(found.into_iter().map(crate::services::Violation::from).collect()))?;
    let reaction = compiled.react(scene);
    let faults =
        reaction.faults.iter().map(|Fault { rule, field, reason }| format!("{rule}: {field}: {reason}")).collect();
    let mut rules: Vec<String> = reaction.actions.iter().map(|(rule, _)| rule.clone()).collect();
    rules.dedup();
    let actions: Vec<Action> = reaction.actions.into_iter().map(|(_, action)| action).collect();
    let unconcerned = actions.is_empty() && reaction.faults.is_empty();
    Ok((Decided { version: waiting.version, rules, actions, unconcerned }, faults))
}

/// How an action went.
enum Carried {
    Done,
    /// It cannot be done, and the next ones are.
    Refused(String),
    /// Another process has the intent by now: nothing of this was done.
    Lost,
}

/// Carries out one action, with the note that it is over, in one transaction. What calls somewhere is called before.
async fn carry_out(
    context: &Context,
    waiting: &Waiting,
    scene: &Scene,
    action: &Action,
    place: i16,
) -> Result<Carried> {
    let acting = Acting { context, waiting, scene, place };
    let error = match acting.call(action).await {
        Ok(heard) => {
            let mut work = Work::begin(context).await?.acted_by(super::name_of(&waiting.controller));
            match acting.act(&mut work, action, heard).await {
                Ok(()) => return noted(context, work, waiting, place, None).await,
                Err(error) => error,
            }
        }
        Err(refused) => refused,
    };
    // Whatever was begun is undone by now; only the note of it is written.
    match error {
        Error::Storage(error) if error.is_transient() => Err(error.into()),
        error => {
            let fault = format!("{}: {}", acting::name_of(action), words_of(&error));
            noted(context, Work::begin(context).await?, waiting, place, Some(fault)).await
        }
    }
}

/// Notes that an action is over and commits it, while the intent is ours.
async fn noted(
    context: &Context,
    mut work: Work,
    waiting: &Waiting,
    place: i16,
    fault: Option<String>,
) -> Result<Carried> {
    if !inbox::step(work.conn(), waiting, place, fault.as_deref(), LEASE.as_secs_f64()).await? {
        return Ok(Carried::Lost);
    }
    work.commit(context).await?;
    Ok(fault.map_or(Carried::Done, Carried::Refused))
}

fn words_of(error: &Error) -> String {
    match error {
        Error::Invalid(found) => {
            found.iter().map(|v| format!("{} {}", v.field, v.description)).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

async fn end(context: &Context, waiting: &Waiting, decided: &Decided, actions: i32, faulty: bool) -> Result<()> {
    let outcome = match (faulty, actions) {
        (false, _) => "done",
        (true, 0) => "failed",
        (true, _) => "partly",
    };
    let ended = Ended { version: decided.version, outcome, rules: &decided.rules, actions, at: context.clock.now() };
    inbox::end(&mut *context.lists.conn().await?, waiting, &ended, !decided.unconcerned).await?;
    context.wake.signal(Topic::Controllers);
    Ok(())
}

/// Counts a failure. The third gives the intent up, so that the next of its conversation goes on.
async fn failed(context: &Context, waiting: &Waiting, error: &Error) -> Result<()> {
    let mut conn = context.lists.conn().await?;
    let passing = matches!(error, Error::Storage(error) if error.is_transient());
    if passing || waiting.tries < TRIES {
        return Ok(inbox::pause(&mut conn, waiting, f64::from(waiting.tries.min(5))).await?);
    }
    let faults = [waiting.faults.as_slice(), &[words_of(error)]].concat();
    let decided = serde_json::to_value(Decided::default()).map_err(storage::Error::from)?;
    inbox::decide(&mut conn, waiting, waiting.decided.as_ref().unwrap_or(&decided), &faults).await?;
    let ended = Ended {
        version: waiting.version,
        outcome: "failed",
        rules: &[],
        actions: waiting.done.into(),
        at: context.clock.now(),
    };
    inbox::end(&mut conn, waiting, &ended, true).await?;
    Ok(())
}
