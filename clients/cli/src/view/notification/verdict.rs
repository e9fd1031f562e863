//! Why a notification stands where it stands, in a sentence.

use chrono::{DateTime, Utc};
use proto::v1::{Delivery, Notification, delivery, notification::State, step::Target};

use super::target;
use crate::view::value::{due, meaning, when, word};

/// The sentence for a whole notification.
pub fn of(it: &Notification, now: DateTime<Utc>) -> String {
    match it.state() {
        State::Pending => match &it.deliver_after {
            Some(_) => format!("Nothing was tried yet; it may begin at {}.", due(it.deliver_after.as_ref(), now)),
            None => "Nothing was tried yet.".into(),
        },
        State::Waiting => waiting(it, now),
        State::Skipped => {
            format!("Nothing was tried: {} ({}).", reason(it.skip_reason), word("SkipReason", it.skip_reason))
        }
        State::Cancelled => "It was taken back.".into(),
        State::Expired => format!("Nothing had succeeded when it expired at {}.", when(it.valid_until.as_ref())),
        State::Exhausted => format!("No step succeeded: {}.", each_step(it)),
        State::Reached => format!("Step {} of {} succeeded{}.", it.step + 1, it.steps.len(), on(it)),
        State::Replied => format!("The person answered{}.", on(it)),
        State::Acknowledged => format!("The person acknowledged{}.", on(it)),
        State::Unspecified => String::new(),
    }
}

/// What became of one step.
pub fn of_step(it: &Notification, step: i32) -> String {
    if let Some(skipped) = it.skipped_steps.iter().find(|skipped| skipped.step == step) {
        return format!("skipped: {}", word("SkipReason", skipped.reason));
    }
    let deliveries: Vec<_> = it.deliveries.iter().filter(|delivery| delivery.step == step).map(of_delivery).collect();
    if !deliveries.is_empty() {
        return deliveries.join("; ");
    }
    let index = usize::try_from(step).unwrap_or(usize::MAX);
    let list = matches!(it.steps.get(index).and_then(|it| it.target.as_ref()), Some(Target::CallList(_)));
    match step.cmp(&it.step) {
        std::cmp::Ordering::Greater if ended(it) => "not needed".into(),
        std::cmp::Ordering::Greater => "not begun".into(),
        _ if list => "put on the list".into(),
        _ => String::new(),
    }
}

/// What became of a delivery, with the provider's code where it failed.
fn of_delivery(it: &Delivery) -> String {
    let state = word("Delivery.State", it.state);
    match it.state() {
        delivery::State::Skipped => format!("{state}: {}", word("SkipReason", it.skip_reason)),
        _ if it.failure_class != 0 && !it.failure_code.is_empty() => {
            format!("{state} ({}, code {})", word("FailureClass", it.failure_class), it.failure_code)
        }
        _ if it.failure_class != 0 => format!("{state} ({})", word("FailureClass", it.failure_class)),
        _ => state,
    }
}

fn waiting(it: &Notification, now: DateTime<Utc>) -> String {
    let index = usize::try_from(it.step).unwrap_or(0);
    let Some(step) = it.steps.get(index) else { return "It is under way.".into() };
    let number = format!("Step {} of {} ({})", index + 1, it.steps.len(), target(step));
    let became = of_step(it, it.step);
    let became = if became.is_empty() { String::new() } else { format!(" is {became} and") };
    let success = match word("Success", step.success) {
        word if word.is_empty() => "its success".into(),
        word => word,
    };
    match due(it.next_due_time.as_ref(), now) {
        due if due.is_empty() => format!("{number}{became} waits for {success}."),
        due => format!("{number}{became} waits for {success} until {due}."),
    }
}

fn each_step(it: &Notification) -> String {
    let steps = it.steps.iter().enumerate().map(|(index, step)| {
        let became = of_step(it, i32::try_from(index).unwrap_or(i32::MAX));
        format!("step {} ({}) {became}", index + 1, target(step))
    });
    steps.collect::<Vec<_>>().join("; ")
}

fn on(it: &Notification) -> String {
    if it.reached_channel.is_empty() { String::new() } else { format!(" on {}", it.reached_channel) }
}

fn ended(it: &Notification) -> bool {
    !matches!(it.state(), State::Pending | State::Waiting | State::Unspecified)
}

/// A reason in the words of the contract, as part of a sentence.
fn reason(number: i32) -> String {
    let text = meaning("SkipReason", number);
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
