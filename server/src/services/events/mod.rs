//! Events: every fact in one order, to be followed from a cursor. One reader of a process (`reader`) reads what is new once
//! for all its subscribers; whoever lags, or begins further back, reads what is stored (`subscription`). Nothing is held for
//! a slow subscriber, since what it has not read yet stands in the table.
//!
//! The same events leave by the exchange ([`publishing`]) and by webhooks (`services::hooks`), in one envelope
//! ([`envelope`]); what outside systems say comes in as [`commands`].

pub mod commands;
pub mod envelope;
mod fact;
pub mod orders;
pub mod publishing;
pub(in crate::services) mod reader;
mod subscription;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub use self::{
    fact::Fact,
    reader::Feed,
    subscription::{Filter, Item, Start, Subscription},
};
use super::{Context, Error, Result, Violation};
use crate::storage::{self, feed};

/// What the deployment has set about events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The source of our events: a URI reference that names the deployment.
    pub source: String,
    /// Whether an outside flow engine takes part: messages that nobody works on order a flow of it.
    pub outside_flows: bool,
    /// Where webhooks may lead.
    pub reach: crate::bus::post::Reach,
}

/// What a cursor begins with, so that a text of another kind is not read as one.
const MARK: &str = "events:";

/// A position, written so that callers do not count with it.
#[must_use]
pub fn cursor(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{MARK}{position}"))
}

/// The position that a cursor means.
///
/// # Errors
/// A violation for the reason CURSOR_INVALID.
pub fn position(field: &str, cursor: &str) -> std::result::Result<i64, Violation> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let number = text.and_then(|text| text.strip_prefix(MARK)?.parse().ok()).filter(|n: &i64| *n >= 0);
    number.ok_or_else(|| not_ours(field))
}

pub(in crate::services) fn not_ours(field: &str) -> Violation {
    Violation::new(field, "is no cursor that this server gave").because("CURSOR_INVALID")
}

/// The positions of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// After the newest event.
    pub newest: i64,
    /// Before the oldest event that is kept.
    pub oldest: i64,
    /// How old the oldest event is, in seconds; 0 when there is none.
    pub oldest_age_seconds: i64,
}

/// The positions of the stream.
///
/// # Errors
/// What storage says.
pub async fn bounds(context: &Context) -> Result<Bounds> {
    let conn = &mut *context.lists.conn().await?;
    let (last, first) = storage::events::bounds(conn).await?;
    let oldest_at = feed::oldest_at(conn).await?;
    let age = oldest_at.map_or(0, |at| (context.clock.now() - at).num_seconds().max(0));
    Ok(Bounds { newest: last, oldest: first - 1, oldest_age_seconds: age })
}

pub(in crate::services) fn gone(oldest: i64) -> Error {
    Error::CursorGone { oldest_cursor: cursor(oldest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_others_are_refused() {
        for number in [0, 1, i64::MAX] {
            assert_eq!(position("start_cursor", &cursor(number)), Ok(number));
        }
        for wrong in ["", "7", "x y", &URL_SAFE_NO_PAD.encode("events:-1"), &URL_SAFE_NO_PAD.encode("other:1")] {
            assert_eq!(position("start_cursor", wrong).unwrap_err().reason, "CURSOR_INVALID", "{wrong}");
        }
    }
}
