//! Who types where: known to the processes, never stored. A process tells its own watchers at once, and the others by a
//! notification that Postgres carries; one that is lost does no harm, since typing is said again while it goes on.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{courtesies, writing::closed};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::{self, messages::marks},
    wake::NOTIFY_CHANNEL,
};

/// What begins a notification of typing, to tell it from wake-ups.
const MARK: &str = "typing ";
/// How many signs may wait for a watcher that reads slowly; it then misses the oldest.
const WAITING: usize = 256;

/// Somebody types, or has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// The conversation.
    pub conversation: Uuid,
    /// Who, as it is to be shown; empty: the business as a whole.
    pub author: String,
    /// Whether they type now.
    pub typing: bool,
}

#[derive(Serialize, Deserialize)]
struct Carried {
    /// The process that said it: it has told its own watchers already.
    from: Uuid,
    #[serde(flatten)]
    sign: Sign,
}

/// What this process hears of typing. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Typing {
    process: Uuid,
    watchers: broadcast::Sender<Sign>,
}

impl Default for Typing {
    fn default() -> Self {
        Self { process: Uuid::new_v4(), watchers: broadcast::Sender::new(WAITING) }
    }
}

impl Typing {
    /// Everything that is said of typing from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Sign> {
        self.watchers.subscribe()
    }

    /// Hears what another process said; anything else is left alone.
    pub fn hear(&self, payload: &str) {
        let carried = payload.strip_prefix(MARK).and_then(|text| serde_json::from_str::<Carried>(text).ok());
        if let Some(carried) = carried.filter(|carried| carried.from != self.process) {
            self.tell(carried.sign);
        }
    }

    fn tell(&self, sign: Sign) {
        // Nobody watches: nobody is told.
        let _ = self.watchers.send(sign);
    }
}

/// Checks that there is such an open conversation, and leaves a sign for the provider of the channel in use. What it returns is
/// told by [`tell`], after the commit.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::WrongState`] for a closed conversation.
pub async fn set(context: &Context, work: &mut Work, sign: &Sign) -> Result<()> {
    let name = format!("conversations/{}", sign.conversation);
    let (channel, last, phase) = match marks::active(work.conn(), sign.conversation).await? {
        None => return Err(Error::NotFound(name)),
        Some(found) => found,
    };
    if phase == "closed" {
        return Err(closed(&name));
    }
    if sign.typing {
        let seen = marks::last_inbound(work.conn(), sign.conversation, 0, last).await?;
        let seen = seen.into_iter().filter(|message| message.channel_id == channel).collect();
        courtesies::leave(context, work, seen, true).await?;
    }
    Ok(())
}

/// Tells the watchers of all processes.
///
/// # Errors
/// What storage says; the watchers of this process have been told then.
pub async fn tell(context: &Context, sign: Sign) -> Result<()> {
    context.typing.tell(sign.clone());
    let carried = Carried { from: context.typing.process, sign };
    let payload = serde_json::to_string(&carried).map_err(storage::Error::from)?;
    storage::wake::notify(&context.lists, NOTIFY_CHANNEL, &format!("{MARK}{payload}")).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_said_is_told_and_what_this_one_said_is_not_told_twice() {
        let (here, there) = (Typing::default(), Typing::default());
        let sign = Sign { conversation: Uuid::nil(), author: "Meera".into(), typing: true };
        let said = |from: &Typing| {
            let carried = Carried { from: from.process, sign: sign.clone() };
            format!("{MARK}{}", serde_json::to_string(&carried).unwrap())
        };
        let mut watcher = here.watch();
        here.hear(&said(&here));
        here.hear("relay");
        here.hear("typing nonsense");
        here.hear(&said(&there));
        assert_eq!(watcher.try_recv(), Ok(sign));
        assert!(watcher.try_recv().is_err());
    }
}
