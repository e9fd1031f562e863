//! A process of the business decides: it is shown the intents that wait for it and says what is to be done. Silence is answered by
//! the rules.

use chrono::{DateTime, Utc};
use domain::{controller::Action, conversation::Intent};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Stored, name_of,
    running::Decided,
    scene::{self, Occasion},
};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::{self, controllers, controllers::inbox},
    wake::Topic,
};

/// Intents that are shown at once.
const PAGE: i64 = 100;

/// An intent that waits for a decision.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The number of its event.
    pub number: i64,
    /// Where it occurred.
    pub conversation: Uuid,
    /// What occurred.
    pub intent: Intent,
    /// Everything that conditions see.
    pub scene: serde_json::Map<String, Value>,
    /// Until when it waits, business time.
    pub answer_until: DateTime<Utc>,
}

/// The controller that a process decides for.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when its rules decide at once.
pub async fn controller(context: &Context, slug: &str) -> Result<Stored> {
    let stored = super::get(context, slug, 0).await?;
    match stored.row.answer_secs {
        Some(_) => Ok(stored),
        None => {
            let message = format!("{} has no answer_within: its rules decide at once", name_of(slug));
            Err(Error::WrongState { reason: "STATE_WRONG", message })
        }
    }
}

/// The intents of a controller that wait, behind one number.
///
/// # Errors
/// What storage says.
pub async fn waiting(context: &Context, controller: i64, after: i64) -> Result<Vec<Waiting>> {
    let conn = &mut *context.lists.conn().await?;
    let mut found = Vec::new();
    for open in inbox::open(conn, controller, after, context.clock.now(), PAGE).await? {
        let intent: Intent = open.intent.parse().map_err(storage::Error::from)?;
        let occasion = Occasion {
            conversation: open.conversation_id,
            intent,
            subject: open.subject,
            channel_id: open.channel_id,
            reason: &open.reason,
        };
        let scene = scene::of(context, conn, occasion).await?.map(|(scene, _)| scene.facts).unwrap_or_default();
        let (number, conversation, answer_until) = (open.number, open.conversation_id, open.answer_until);
        found.push(Waiting { number, conversation, intent, scene, answer_until });
    }
    Ok(found)
}

/// Takes a decision.
///
/// # Errors
/// [`Error::NotFound`] when the controller is not there, or the intent was decided already.
pub async fn decide(work: &mut Work, slug: &str, number: i64, actions: Vec<Action>) -> Result<()> {
    let row = controllers::find(work.conn(), slug, 0).await?.ok_or_else(|| Error::NotFound(name_of(slug)))?;
    let decided = Decided { actions, ..Decided::default() };
    let document = serde_json::to_value(&decided).map_err(storage::Error::from)?;
    let now = work.now();
    if !inbox::decide_outside(work.conn(), row.id, number, &document, now).await? {
        return Err(Error::NotFound(format!("an intent {number} that waits for {}", name_of(slug))));
    }
    work.wake(Topic::Controllers);
    Ok(())
}
