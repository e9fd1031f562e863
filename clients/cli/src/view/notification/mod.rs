//! Notifications, so that someone who runs campaigns sees at once why a person stands where they stand: a verdict in a
//! sentence (`verdict`), the steps, every delivery with its attempts and receipts (`deliveries`), and the timeline.

mod deliveries;
mod verdict;

pub use self::deliveries::words;

use std::io;

use proto::v1::batch_send_notifications_result::Result as BatchResult;
use proto::v1::{BatchSendNotificationsResponse, Notification, Step, TimelineEntry, step::Target};

use super::record::pair;
use super::value::{between, clock, due, span, variables, when, word};
use super::{checks, table};
use crate::error::clean;
use crate::out::{Out, Tone};

/// Writes everything that is known of a notification.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, it: &Notification) -> io::Result<()> {
    head(out, it)?;
    if !it.steps.is_empty() {
        heading(out, "Steps")?;
        let rows = it.steps.iter().enumerate().map(|(index, step)| step_row(it, index, step)).collect();
        table::write_some(out, &["step", "by", "template", "success", "wait", "what became of it"], rows)?;
    }
    deliveries::show(out, it)?;
    if !it.timeline.is_empty() {
        heading(out, "Timeline")?;
        for entry in &it.timeline {
            let line = timeline_line(out, it, entry);
            out.line(&line)?;
        }
    }
    Ok(())
}

fn heading(out: &mut Out, text: &str) -> io::Result<()> {
    let text = out.paint(Tone::Strong, text);
    out.line(&format!("\n{text}"))
}

fn head(out: &mut Out, it: &Notification) -> io::Result<()> {
    let now = chrono::Utc::now();
    let state = word("Notification.State", it.state);
    let (name, state) = (out.paint(Tone::Strong, &it.name), out.state(&state));
    out.line(&format!("{name}  {state}"))?;
    out.line(&clean(&verdict::of(it, now)))?;
    out.line("")?;
    pair(out, "contact", &it.contact)?;
    pair(out, "campaign", &it.campaign)?;
    pair(out, "trigger", &it.trigger)?;
    pair(out, "firing", &it.firing)?;
    pair(out, "policy", &it.policy_version)?;
    pair(out, "purpose", &it.purpose)?;
    pair(out, "lane", &word("Lane", it.lane).to_lowercase())?;
    pair(out, "variables", &variables(it.variables.as_ref()))?;
    let mut labels: Vec<_> = it.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    pair(out, "labels", &clean(&labels.join(" ")))?;
    pair(out, "reached on", &it.reached_channel)?;
    pair(out, "answer", &it.reply)?;
    pair(out, "late", if it.late { "a receipt or an answer came after its step was left" } else { "" })?;
    pair(out, "begins after", &when(it.deliver_after.as_ref()))?;
    pair(out, "next due", &due(it.next_due_time.as_ref(), now))?;
    pair(out, "valid until", &due(it.valid_until.as_ref(), now))?;
    pair(out, "created", &when(it.create_time.as_ref()))?;
    let took = between(it.create_time.as_ref(), it.end_time.as_ref());
    let ended = when(it.end_time.as_ref());
    pair(out, "ended", &if took.is_empty() { ended } else { format!("{ended} (after {took})") })
}

/// What a step uses, such as `SMS` or `channels/sms-main`.
fn target(step: &Step) -> String {
    match &step.target {
        Some(Target::Channel(name) | Target::CallList(name)) => name.clone(),
        Some(Target::ChannelType(number)) => word("ChannelType", *number),
        None => String::new(),
    }
}

fn step_row(it: &Notification, index: usize, step: &Step) -> Vec<String> {
    vec![
        (index + 1).to_string(),
        target(step),
        step.template.clone(),
        word("Success", step.success),
        span(step.wait.as_ref()),
        verdict::of_step(it, i32::try_from(index).unwrap_or(i32::MAX)),
    ]
}

fn timeline_line(out: &Out, it: &Notification, entry: &TimelineEntry) -> String {
    let kind = word("TimelineEntry.Kind", entry.kind);
    let padding = " ".repeat(15_usize.saturating_sub(kind.len()));
    let kind = format!("{}{padding}", out.state(&kind));
    let after = format!("+{}", between(it.create_time.as_ref(), entry.time.as_ref()));
    let step = if entry.step < 0 { String::new() } else { format!("step {}", entry.step + 1) };
    let late = if entry.late { "  (late)" } else { "" };
    let words = clean(&entry.description);
    format!("  {}  {after:<9}  {kind}  {step:<7}  {words}{late}", clock(entry.time.as_ref()))
}

/// Shows a notification as it changes: its head first, then what is new of the timeline.
#[derive(Debug, Default)]
pub struct Follower {
    shown: usize,
    begun: bool,
    state: i32,
}

impl Follower {
    /// Writes what is new.
    ///
    /// # Errors
    /// What the system says.
    pub fn show(&mut self, out: &mut Out, it: &Notification) -> io::Result<()> {
        if !self.begun {
            let name = out.paint(Tone::Strong, &it.name);
            out.line(&format!("{name}  {}", it.contact))?;
        }
        for entry in it.timeline.iter().skip(self.shown) {
            let line = timeline_line(out, it, entry);
            out.line(&line)?;
        }
        self.shown = self.shown.max(it.timeline.len());
        if !self.begun || self.state != it.state {
            let state = out.state(&word("Notification.State", it.state));
            out.line(&format!("{state}: {}", clean(&verdict::of(it, chrono::Utc::now()))))?;
        }
        (self.begun, self.state) = (true, it.state);
        Ok(())
    }
}

/// Writes what became of a batch.
///
/// # Errors
/// What the system says.
pub fn batch(out: &mut Out, answer: &BatchSendNotificationsResponse) -> io::Result<()> {
    for (index, result) in answer.results.iter().enumerate() {
        match &result.result {
            Some(BatchResult::Notification(it)) => {
                let state = out.state(&word("Notification.State", it.state));
                let reason = word("SkipReason", it.skip_reason);
                out.line(&format!("[{index}] {}  {state}  {}  {reason}", it.name, it.contact))?;
            }
            Some(BatchResult::Error(error)) => {
                let what = out.paint(Tone::Bad, "not taken");
                out.line(&format!("[{index}] {what}: {}", error.reason))?;
                checks::problems(out, &error.problems)?;
            }
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
