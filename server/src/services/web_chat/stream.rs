//! What a visitor is shown: every line from a place on, in order, each once on a stream; who types; and now and then that nothing
//! happened. What was not acknowledged is shown again to a stream that does not say where it stands.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Ears, ears::Ear, get};
use crate::{
    services::{Context, Error, Result, Violation},
    storage::web_chat::{self, Line, Visitor},
};

/// Lines that are read at once.
const PAGE: i64 = 100;
/// The longest silence on a stream.
const SILENCE: Duration = Duration::from_secs(15);
/// The version of a visitor who was never written to.
const NEVER: i64 = -1;
/// What a cursor begins with, so that a text of another kind is not read as one.
const MARK: &str = "web-chat:";

/// One message of a stream.
#[derive(Debug, Clone)]
pub enum Item {
    /// A line to be shown.
    Line(Line),
    /// Somebody types for the business, for this long.
    Typing(TimeDelta),
    /// Nothing happened; everything up to this place was shown.
    Checkpoint(i64),
}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    context: Context,
    ear: Ear,
    session: Uuid,
    key: (i32, i64),
    position: i64,
    seen: Option<i64>,
    waiting: VecDeque<Line>,
    typing: bool,
    silent_since: Instant,
}

/// A place, written so that callers do not count with it.
#[must_use]
pub fn cursor(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{MARK}{position}"))
}

/// The place that a cursor means.
///
/// # Errors
/// A violation for the reason CURSOR_INVALID.
pub fn position(field: &str, cursor: &str) -> std::result::Result<i64, Violation> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let number = text.and_then(|text| text.strip_prefix(MARK)?.parse().ok()).filter(|n: &i64| *n >= 0);
    number.ok_or_else(|| Violation::new(field, "is no cursor that this server gave").because("CURSOR_INVALID"))
}

impl Stream {
    /// Begins behind `start`, or with the first line that was never acknowledged.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::CursorGone`] when lines behind `start` are no longer kept.
    pub async fn begin(context: &Context, ears: &Ears, session: Uuid, start: Option<i64>) -> Result<Self> {
        let row = get(context, session).await?.row;
        let key = (row.channel_id, row.address_id);
        let (ear, visitor) = (ears.open(key), visitor(context, key).await?);
        let oldest = visitor.as_ref().map_or(0, |v| v.oldest);
        let position = start.unwrap_or_else(|| visitor.map_or(0, |v| v.unseen));
        if position < oldest {
            return Err(Error::CursorGone { oldest_cursor: cursor(oldest) });
        }
        Ok(Self {
            context: context.clone(),
            ear,
            session,
            key,
            position,
            seen: None,
            waiting: VecDeque::new(),
            typing: false,
            silent_since: Instant::now(),
        })
    }

    /// The next message; waits for it. None when the session has ended and everything was shown.
    ///
    /// # Errors
    /// What storage says.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                self.position = line.seq;
                return Ok(Some(self.said(Item::Line(line))));
            }
            let version = self.ear.version(&self.context).await?;
            let version = version.unwrap_or(NEVER);
            if self.seen != Some(version) {
                match self.look(version).await? {
                    Look::Nothing => {}
                    Look::Lines => continue,
                    Look::Typing(duration) => return Ok(Some(self.said(Item::Typing(duration)))),
                    Look::Over => return Ok(None),
                }
            }
            let silent_until = self.silent_since + SILENCE;
            if tokio::time::timeout_at(silent_until, self.ear.rung()).await.is_err() {
                let position = self.position;
                return Ok(Some(self.said(Item::Checkpoint(position))));
            }
        }
    }

    fn said(&mut self, item: Item) -> Item {
        self.silent_since = Instant::now();
        item
    }

    /// Reads what changed. The version was read before: what changes after it is seen the next time.
    async fn look(&mut self, version: i64) -> Result<Look> {
        let conn = &mut *self.context.lists.conn().await?;
        let lines = web_chat::after(conn, self.key.0, self.key.1, self.position, PAGE).await?;
        if !lines.is_empty() {
            // The version is not noted: there may be more, or somebody types.
            self.waiting = lines.into();
            return Ok(Look::Lines);
        }
        let session = web_chat::session(conn, self.session).await?;
        if session.is_none_or(|s| s.ended_at.is_some()) {
            return Ok(Look::Over);
        }
        self.seen = Some(version);
        let until = web_chat::visitor(conn, self.key.0, self.key.1).await?.and_then(|v| v.business_typing_until);
        let left =
            until.map_or_else(TimeDelta::zero, |until| (until - self.context.clock.now()).max(TimeDelta::zero()));
        let (was, is) = (self.typing, left > TimeDelta::zero());
        self.typing = is;
        if was || is { Ok(Look::Typing(left)) } else { Ok(Look::Nothing) }
    }
}

enum Look {
    Nothing,
    Lines,
    Typing(TimeDelta),
    Over,
}

async fn visitor(context: &Context, key: (i32, i64)) -> Result<Option<Visitor>> {
    Ok(web_chat::visitor(&mut *context.lists.conn().await?, key.0, key.1).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_others_are_refused() {
        for number in [0, 7, i64::MAX] {
            assert_eq!(position("start_cursor", &cursor(number)), Ok(number));
        }
        for wrong in ["7", "x y", &URL_SAFE_NO_PAD.encode("web-chat:-1"), &URL_SAFE_NO_PAD.encode("events:1")] {
            assert_eq!(position("start_cursor", wrong).unwrap_err().reason, "CURSOR_INVALID", "{wrong}");
        }
    }
}
