//! Events to the exchange: from a stored position on, page by page; the position moves only after the broker has confirmed all
//! of a page. Told at least once: after a crash the last page comes again, under the same ids.

use std::sync::Arc;

use super::{
    envelope::{CloudEvent, Sealing},
    reader,
};
use crate::{
    bus::exchange::Message,
    services::{Context, Result},
    storage::{Conn, event_sinks},
};

/// The sink's name in storage.
pub const SINK: &str = "exchange";
/// Events in a page: what a process holds at once, and what is told again after a crash.
const PAGE: i64 = 500;
/// Stored rows that are read for a page.
const ROWS: i64 = 100;

/// A page that is to be published.
#[derive(Debug)]
pub struct Page {
    /// Where the sink stands.
    pub before: i64,
    /// Where it will stand.
    pub after: i64,
    /// What is published, in this order.
    pub messages: Vec<Message>,
}

/// The next page for the exchange; none when everything was told. Where events are gone that were never told, because the sink
/// was off for longer than events are kept, it goes on with the oldest, and the log says so.
///
/// # Errors
/// What storage says.
pub async fn next(context: &Context, conn: &mut Conn) -> Result<Option<Page>> {
    let before = event_sinks::position(conn, SINK).await?;
    let page = match reader::page(context, before, ROWS, PAGE).await {
        Err(crate::services::Error::CursorGone { oldest_cursor }) => {
            let oldest = super::position("oldest", &oldest_cursor).unwrap_or(before);
            tracing::error!(from = before, to = oldest, "events are gone that the exchange was never told");
            return Ok(Some(Page { before, after: oldest, messages: Vec::new() }));
        }
        page => page?,
    };
    let Some(page) = page else { return Ok(None) };
    let sealing = Sealing::load(context, &page.facts, true).await?;
    let sealed = page.facts.iter().flat_map(|fact| sealing.seal(fact));
    let messages = sealed.map(|event| message(&event)).collect::<std::result::Result<_, _>>();
    Ok(Some(Page { before, after: page.upto, messages: messages.map_err(crate::storage::Error::from)? }))
}

/// Notes that a page was confirmed. Says whether the sink still stood before it: else another process leads.
///
/// # Errors
/// What storage says.
pub async fn confirmed(conn: &mut Conn, page: &Page) -> Result<bool> {
    Ok(event_sinks::advance(conn, SINK, page.before, page.after).await?)
}

fn message(event: &CloudEvent) -> std::result::Result<Message, serde_json::Error> {
    Ok(Message {
        id: event.id.clone(),
        routing_key: event.route.clone(),
        r#type: event.r#type.clone(),
        seconds: u64::try_from(event.at.timestamp()).unwrap_or_default(),
        body: Arc::from(serde_json::to_vec(event)?),
    })
}
