//! The deliveries of a notification: each with what was said, its attempts and its receipts.

use std::io;

use proto::v1::{Attempt, Content, Delivery, Notification, Receipt, content::Body};

use super::heading;
use crate::error::clean;
use crate::out::Out;
use crate::view::value::{address, between, clock, when, word};

/// Writes each delivery.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, it: &Notification) -> io::Result<()> {
    for delivery in &it.deliveries {
        heading(out, &format!("Step {}: {}", delivery.step + 1, title(delivery)))?;
        let state = out.state(&word("Delivery.State", delivery.state));
        out.line(&format!("  {}  {state}  {}", delivery.name, reasons(delivery)))?;
        let said = delivery.content.as_ref().map(words).unwrap_or_default();
        if !said.is_empty() {
            out.line(&format!("  said: {}", clean(&said).replace('\n', "\n        ")))?;
        }
        if delivery.retry_time.is_some() {
            out.line(&format!("  tried again at {}", when(delivery.retry_time.as_ref())))?;
        }
        for line in story(out, delivery) {
            out.line(&line)?;
        }
    }
    Ok(())
}

fn title(it: &Delivery) -> String {
    format!("{} by {} to {}", word("ChannelType", it.channel_type), it.channel, address(it.address.as_ref()))
}

fn reasons(it: &Delivery) -> String {
    let words = [word("SkipReason", it.skip_reason), word("FailureClass", it.failure_class), clean(&it.failure_code)];
    words.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Attempts and receipts in the order in which they happened.
fn story(out: &Out, it: &Delivery) -> Vec<String> {
    let attempts = it.attempts.iter().map(|attempt| (attempt.start_time, attempt_line(out, attempt)));
    let receipts = it.receipts.iter().map(|receipt| (receipt.receive_time, receipt_line(out, receipt)));
    let mut lines: Vec<_> = attempts.chain(receipts).collect();
    lines.sort_by_key(|(time, _)| time.map(|it| (it.seconds, it.nanos)));
    lines.into_iter().map(|(time, line)| format!("    {}  {line}", clock(time.as_ref()))).collect()
}

fn attempt_line(out: &Out, it: &Attempt) -> String {
    let outcome = match word("Outcome", it.outcome) {
        word if word.is_empty() => "under way".into(),
        word => out.state(&word),
    };
    let took = between(it.start_time.as_ref(), it.end_time.as_ref());
    let took = if took.is_empty() { took } else { format!(" in {took}") };
    let class = word("FailureClass", it.failure_class);
    let details = [class, clean(&it.code), clean(&it.description), clean(&it.provider_message_id)];
    let details: Vec<_> = details.into_iter().filter(|it| !it.is_empty()).collect();
    let details = if details.is_empty() { String::new() } else { format!(": {}", details.join(", ")) };
    format!("attempt {} by {}  {outcome}{took}{details}", it.number, clean(&it.provider))
}

fn receipt_line(out: &Out, it: &Receipt) -> String {
    let evidence = out.state(&word("Evidence", it.evidence));
    let details = [word("FailureClass", it.failure_class), clean(&it.code)];
    let details: Vec<_> = details.into_iter().filter(|it| !it.is_empty()).collect();
    let details = if details.is_empty() { String::new() } else { format!(", {}", details.join(" ")) };
    let said = match clean(&it.provider_status) {
        none if none.is_empty() => details.trim_start_matches(", ").to_owned(),
        status => format!("the provider says `{status}`{details}"),
    };
    let said = if said.is_empty() { said } else { format!(" ({said})") };
    let late = if it.late { "  (late)" } else { "" };
    format!("receipt  {evidence}{said}{late}")
}

/// The words of a content.
pub fn words(content: &Content) -> String {
    match &content.body {
        Some(Body::Text(it)) => it.text.clone(),
        Some(Body::Email(it)) => format!("{}\n{}", it.subject, it.text),
        Some(Body::Choices(it)) => {
            let choices: Vec<_> = it.choices.iter().map(|choice| format!("[{}]", choice.title)).collect();
            format!("{} {}", it.text, choices.join(" "))
        }
        Some(Body::ProviderTemplate(it)) => it.text.clone(),
        Some(Body::Voice(it)) => it.say.clone(),
        Some(Body::Chosen(it)) => format!("[{}]", it.title),
        Some(Body::Key(it)) => format!("key {}", it.digits),
        Some(Body::Media(it)) => format!("{} {}", it.mime_type, it.caption()),
        Some(Body::Location(it)) => format!("a place {}", it.name()),
        Some(Body::Unsupported(it)) => it.text.clone(),
        Some(Body::ContactCard(it)) => format!("card {} {}", it.name, it.phones.join(" ")),
        Some(Body::CallEvent(it)) => {
            format!("call {}", super::super::value::word("Content.CallEvent.Kind", it.kind).to_lowercase())
        }
        Some(Body::FormAnswer(it)) => {
            let lines: Vec<_> = it.fields.iter().map(|field| format!("{}: {}", field.name, field.value)).collect();
            lines.join("\n")
        }
        Some(Body::Note(it)) => it.text.clone(),
        Some(Body::System(it)) => it.text.clone(),
        Some(Body::Redacted(_)) => "[redacted]".to_owned(),
        None => String::new(),
    }
}
