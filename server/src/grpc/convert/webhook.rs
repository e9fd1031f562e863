//! Webhooks of subscribers and their dead letters.

use proto::v1::{self, replay_events_request::From as Given};

use super::{Faults, common, event, notification};
use crate::{
    grpc::mask::Mask,
    services::{
        etag, events,
        hooks::{Change, DeadLetter, Definition, Hook, New, Replay, is_store_type, name_of},
    },
};

const MAX_URL: usize = 2000;
const MAX_REFERENCE: usize = 1000;

/// A webhook of the contract.
#[must_use]
pub fn message(hook: Hook) -> v1::Webhook {
    let (row, definition) = (hook.row, hook.definition);
    let state = match row.state.as_str() {
        "failing" => v1::webhook::State::Failing,
        "disabled" => v1::webhook::State::Disabled,
        _ => v1::webhook::State::Enabled,
    };
    v1::Webhook {
        name: name_of(&row.slug),
        display_name: row.display_name,
        url: row.url,
        types: definition.types,
        subjects: definition.subjects,
        campaign: notification::named("campaigns", definition.campaign.as_ref()),
        contact: definition.contact.map(|id| format!("contacts/{id}")).unwrap_or_default(),
        with_words: definition.with_words,
        secret_env: definition.secret_env.unwrap_or_default(),
        secret_file: definition.secret_file.unwrap_or_default(),
        state: state.into(),
        state_reason: row.state_reason.unwrap_or_default(),
        cursor: events::cursor(row.position),
        lag_count: row.lag,
        consecutive_failures: row.failures,
        failing_since_time: row.failing_since.map(common::timestamp),
        retry_time: row.not_before.filter(|at| *at > row.machine_now).map(common::timestamp),
        last_success_time: row.last_success_at.map(common::timestamp),
        dead_letter_count: row.dead_letters,
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

/// A dead letter of the contract.
#[must_use]
pub fn letter(webhook: &str, letter: DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        name: format!("{}/deadLetters/{}", name_of(webhook), letter.id),
        start_cursor: events::cursor(letter.first - 1),
        end_cursor: events::cursor(letter.last),
        event_count: letter.n,
        try_count: letter.failures,
        reason: letter.reason,
        die_time: Some(common::timestamp(letter.died_at)),
        replay_time: letter.replay_at.map(common::timestamp),
        success_time: letter.replayed_at.map(common::timestamp),
    }
}

/// A webhook to be created.
pub fn create(request: v1::CreateWebhookRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("webhook_id", &request.webhook_id);
    let webhook = faults.required("webhook", request.webhook);
    let all = Mask::all(&writable(&webhook));
    let change = faults.inside("webhook", |f| change(webhook, &all, f));
    let start = (!request.start_cursor.is_empty()).then(|| position("start_cursor", &request.start_cursor, faults));
    let (secret_env, secret_file) = change.secret.unwrap_or_default();
    New {
        slug,
        display_name: change.display_name.unwrap_or_default(),
        url: change.url.unwrap_or_default(),
        definition: Definition {
            types: change.types.unwrap_or_default(),
            subjects: change.subjects.unwrap_or_default(),
            campaign: change.campaign.flatten(),
            contact: change.contact.flatten(),
            with_words: change.with_words.unwrap_or_default(),
            secret_env,
            secret_file,
        },
        start: start.flatten(),
    }
}

/// Which webhook changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateWebhookRequest, faults: &mut Faults) -> (String, Change, String) {
    let webhook = faults.required("webhook", request.webhook);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&webhook), &[], faults);
    let (slug, etag) = (faults.name("webhook.name", "webhooks", &webhook.name), webhook.etag.clone());
    (slug, faults.inside("webhook", |f| change(webhook, &mask, f)), etag)
}

/// Which webhook is told what again.
pub fn replay(request: v1::ReplayEventsRequest, faults: &mut Faults) -> (String, Replay) {
    let slug = faults.name("webhook", "webhooks", &request.webhook);
    let replay = match request.from {
        Some(Given::StartCursor(cursor)) => position("start_cursor", &cursor, faults).map(Replay::After),
        Some(Given::DeadLetter(name)) => dead_letter(&slug, &name, faults).map(Replay::Letter),
        Some(Given::AllDeadLetters(true)) => Some(Replay::Letters),
        Some(Given::AllDeadLetters(false)) | None => {
            faults.note("start_cursor", "exactly one of start_cursor, dead_letter and all_dead_letters must be set");
            None
        }
    };
    (slug, replay.unwrap_or(Replay::Letters))
}

fn dead_letter(slug: &str, name: &str, faults: &mut Faults) -> Option<i64> {
    let id = name.strip_prefix(&format!("{}/deadLetters/", name_of(slug))).and_then(|id| id.parse().ok());
    if id.is_none() {
        faults.note("dead_letter", "must be a dead letter of this webhook, as webhooks/{id}/deadLetters/{number}");
    }
    id
}

fn position(field: &str, cursor: &str, faults: &mut Faults) -> Option<i64> {
    events::position(field, cursor).map_err(|violation| faults.add(violation)).ok()
}

fn writable(webhook: &v1::Webhook) -> [(&'static str, bool); 9] {
    [
        ("display_name", !webhook.display_name.is_empty()),
        ("url", !webhook.url.is_empty()),
        ("types", !webhook.types.is_empty()),
        ("subjects", !webhook.subjects.is_empty()),
        ("campaign", !webhook.campaign.is_empty()),
        ("contact", !webhook.contact.is_empty()),
        ("with_words", webhook.with_words),
        ("secret_env", !webhook.secret_env.is_empty()),
        ("secret_file", !webhook.secret_file.is_empty()),
    ]
}

fn change(webhook: v1::Webhook, mask: &Mask, faults: &mut Faults) -> Change {
    event::filter(&webhook.types, &webhook.subjects, is_store_type, faults);
    let campaign = faults.optional_name("campaign", "campaigns", &webhook.campaign);
    let contact = notification::optional_contact("contact", &webhook.contact, faults);
    let display_name = faults.text("display_name", webhook.display_name, 200);
    let url = mask.has("url").then(|| faults.required_text("url", webhook.url, MAX_URL));
    let reference = |faults: &mut Faults, field, value| {
        Some(faults.text(field, value, MAX_REFERENCE)).filter(|reference| !reference.is_empty())
    };
    let secret =
        (reference(faults, "secret_env", webhook.secret_env), reference(faults, "secret_file", webhook.secret_file));
    Change {
        display_name: mask.take("display_name", display_name),
        url,
        types: mask.take("types", webhook.types),
        subjects: mask.take("subjects", webhook.subjects),
        campaign: mask.take("campaign", campaign),
        contact: mask.take("contact", contact),
        with_words: mask.take("with_words", webhook.with_words),
        secret: (mask.has("secret_env") || mask.has("secret_file")).then_some(secret),
    }
}
