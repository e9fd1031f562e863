//! Handing out the recipients of a campaign, a page at a time: a page is read when the one before was taken, on a connection that
//! is given back in between, so that a slow reader holds nothing and a large campaign costs no more memory than a small one.

use chrono::{DateTime, Utc};
use futures::stream::{self, Stream};
use uuid::Uuid;

use super::{RecipientFilter, RecipientRow, list_recipients};
use crate::services::{Context, Result};

/// Recipients in a page.
pub const PAGE: i64 = 1000;

/// A page of an export; never empty.
#[derive(Debug)]
pub struct Part {
    /// The recipients, in the order of their creation.
    pub recipients: Vec<RecipientRow>,
    /// The notification behind which the next page begins.
    pub last: Uuid,
    /// When it was read.
    pub read_at: DateTime<Utc>,
}

/// Every recipient that is meant, behind the notification `after`. Each comes once, as it stood when its page was read.
pub fn parts(
    context: Context,
    slug: String,
    filter: RecipientFilter,
    after: Option<Uuid>,
) -> impl Stream<Item = Result<Part>> + Send {
    stream::try_unfold((context, slug, filter, Some(after)), |(context, slug, filter, after)| async move {
        let Some(after) = after else { return Ok(None) };
        let read_at = context.clock.now();
        let recipients = list_recipients(&context, &slug, &filter, after, PAGE).await?;
        let Some(last) = recipients.last().map(|recipient| recipient.id) else { return Ok(None) };
        let is_full = i64::try_from(recipients.len()).is_ok_and(|n| n == PAGE);
        let part = Part { recipients, last, read_at };
        Ok(Some((part, (context, slug, filter, is_full.then_some(Some(last))))))
    })
}
