//! Handing out messages with their documents, the oldest first, a page at a time: a page is read when the one before was taken,
//! on a connection that is given back in between.

use futures::stream::{self, Stream};

use super::{Message, Wanted, list};
use crate::services::{Context, Result};

/// Messages in a page.
pub const PAGE: i64 = 200;

/// Every message that is wanted, in pages that are never empty.
pub fn pages(context: Context, wanted: Wanted) -> impl Stream<Item = Result<Vec<Message>>> + Send {
    let first = Some(Wanted { oldest_first: true, ..wanted });
    stream::try_unfold((context, first), |(context, wanted)| async move {
        let Some(wanted) = wanted else { return Ok(None) };
        let page = list(&context, &wanted, PAGE).await?;
        let Some(last) = page.last().map(|message| message.row.id) else { return Ok(None) };
        let is_full = i64::try_from(page.len()).is_ok_and(|n| n == PAGE);
        let next = is_full.then_some(Wanted { before: Some(last), ..wanted });
        Ok(Some((page, (context, next))))
    })
}
