//! A rendered template: the words, how they are sent, and what may go wrong.

use std::io;

use proto::v1::RenderTemplateResponse;

use super::checks;
use super::record::pair;
use super::value::word;
use crate::error::clean;
use crate::out::Out;

/// Writes what a person would get.
///
/// # Errors
/// What the system says.
pub fn rendered(out: &mut Out, answer: &RenderTemplateResponse) -> io::Result<()> {
    pair(out, "version", &answer.template_version)?;
    pair(out, "language", &answer.language)?;
    pair(out, "missing variables", &answer.missing_variables.join(", "))?;
    if let Some(sms) = &answer.sms {
        let parts = if sms.segment_count == 1 { "short message" } else { "short messages" };
        let encoding = word("SmsInfo.Encoding", sms.encoding);
        let text =
            format!("{} {parts}, {encoding}, {} units, {} left", sms.segment_count, sms.unit_count, sms.units_left);
        pair(out, "sent as", &text)?;
        pair(out, "forced by", &sms.non_gsm_characters.join(" "))?;
    }
    checks::problems(out, &answer.problems)?;
    if !answer.plain_text.is_empty() {
        out.line("")?;
        out.line(&clean(&answer.plain_text))?;
    }
    Ok(())
}
