//! Events, each on one line.

use std::io;

use proto::v1::Event;

use super::value::{variables, when};
use crate::error::clean;
use crate::out::{Out, Tone};

/// Writes an event.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, it: &Event) -> io::Result<()> {
    let data = out.paint(Tone::Faint, &variables(it.data.as_ref()));
    let cursor = out.paint(Tone::Faint, &clean(&it.cursor));
    let (time, kind, subject) = (when(it.time.as_ref()), clean(&it.r#type), clean(&it.subject));
    out.line(&format!("{cursor}  {time}  {kind}  {subject}  {data}"))
}
