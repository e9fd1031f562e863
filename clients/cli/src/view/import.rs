//! How an import goes and went.

use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::v1::ImportContactsResponse;

use super::record::pair;
use crate::out::{Out, Tone};

/// A bar over the bytes of the file; hidden where notes do not go to a terminal.
pub fn bar(out: &Out, length: Option<u64>) -> ProgressBar {
    if !out.bars {
        return ProgressBar::hidden();
    }
    let (bar, style) = match length {
        Some(length) => (ProgressBar::new(length), "importing {bar:30} {bytes}/{total_bytes} {eta}"),
        None => (ProgressBar::no_length(), "importing {spinner} {bytes} {elapsed}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Writes the counts. `unread` is how many rows never went to the server.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, answer: &ImportContactsResponse, unread: usize, only_checked: bool) -> io::Result<()> {
    if only_checked {
        out.line("Checked only; nothing was stored.")?;
    }
    let unread = i64::try_from(unread).unwrap_or(i64::MAX);
    let rejected = answer.rejected_count + unread;
    pair(out, "rows", &(answer.received_count + unread).to_string())?;
    pair(out, "created", &answer.created_count.to_string())?;
    pair(out, "changed", &answer.updated_count.to_string())?;
    pair(out, "unchanged", &answer.unchanged_count.to_string())?;
    let tone = if rejected == 0 { Tone::Good } else { Tone::Bad };
    let rejected = out.paint(tone, &rejected.to_string());
    pair(out, "rejected", &rejected)
}
