//! Mailing call lists: those whom no channel reached go, as one mail, to the people who will call them.
//!
//! A mail is a notification to each mailbox of the list, over the list's own channel, so that it is retried, seen and counted
//! like any other. Its entries are put into it in the transaction that writes it, so that each is in one mail. A mail that was
//! not sent gives its entries back; one of which that is not known does not, because the people would be called twice.

use chrono::TimeDelta;
use domain::{
    channel::{Address, AddressKind, ChannelType, Lane},
    fallback::{Policy, QuietHours, Step, Success, Target},
    template::{Body, ContentTemplate, TemplateVersion, Variable},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Context, Error, Result,
    call_lists::Definition,
    contacts::{Change, import},
    notifications::{self, NewNotification},
    plans::{PinnedPlan, Request},
    templates,
    work::Work,
};
use crate::{
    storage::{
        self, events,
        mailing::{self, Waiting},
    },
    wake::Topic,
};

/// The template of these mails. It is made when it does not stand; a version of one's own may be added to it.
pub const TEMPLATE: &str = "call-list-mail";
/// Entries of one mail; the rest follows in the next.
const PER_MAIL: i64 = 100;
/// Characters of what a call is about.
const MAX_ABOUT: usize = 400;
/// When a mail that could not be sent is tried anew.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);
/// Lists of one transaction.
const LISTS: i64 = 100;

/// One look at everything: mails that ended, lists that need a time, lists that are due. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> Result<bool> {
    while settle_one(context).await? {}
    set_times(context).await?;
    mail_one(context).await
}

/// Gives lists on which someone waits their time.
async fn set_times(context: &Context) -> Result<()> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    for list in mailing::without_time(work.conn(), LISTS).await? {
        let definition: Definition = serde_json::from_value(list.definition).map_err(storage::Error::from)?;
        if let Some(due_at) = definition.mailing.due_at(list.first_at, now) {
            mailing::set_due(work.conn(), list.id, Some(due_at)).await?;
        }
    }
    work.commit(context).await
}

/// Mails one list that is due. Says whether there was one.
async fn mail_one(context: &Context) -> Result<bool> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let Some((id, slug, display_name, definition)) = mailing::take_due(work.conn(), now).await? else {
        return Ok(false);
    };
    let definition: Definition = serde_json::from_value(definition).map_err(storage::Error::from)?;
    mailing::withdraw_answered(work.conn(), id, now).await?;
    let waiting = mailing::take_waiting(work.conn(), id, PER_MAIL).await?;
    // What does not fit waits for a mail of its own, which is due at once.
    let full = i64::try_from(waiting.len()).is_ok_and(|n| n >= PER_MAIL);
    mailing::set_due(work.conn(), id, full.then_some(now)).await?;
    if !waiting.is_empty() {
        let title = if display_name.is_empty() { &slug } else { &display_name };
        match write(context, &mut work, &definition, title, &waiting).await {
            Ok(notifications) => {
                let entries: Vec<i64> = waiting.iter().map(|entry| entry.id).collect();
                mailing::carry(work.conn(), id, &notifications, &entries, now).await?;
                tracing::info!(call_list = slug, entries = entries.len(), "a call list was mailed");
            }
            Err(Error::Storage(error)) => return Err(error.into()),
            Err(error) => hold(&mut work, id, &slug, &error).await?,
        }
    }
    for topic in [Topic::Relay, Topic::Fallback, Topic::Events] {
        work.wake(topic);
    }
    work.commit(context).await?;
    Ok(true)
}

/// A list that cannot be mailed (its template was broken, say) is tried later; its entries wait.
async fn hold(work: &mut Work, id: i64, slug: &str, error: &Error) -> Result<()> {
    tracing::warn!(call_list = slug, %error, "a call list cannot be mailed; it is tried later");
    let (now, words) = (work.now(), error.to_string());
    events::say(work.conn(), "call_list", "mail_failed", &format!("callLists/{slug}"), None, Some(&words), now).await?;
    Ok(mailing::set_due(work.conn(), id, Some(now + AGAIN_AFTER)).await?)
}

/// Writes the notifications of a mail, one for each mailbox.
async fn write(
    context: &Context,
    work: &mut Work,
    definition: &Definition,
    title: &str,
    waiting: &[Waiting],
) -> Result<Vec<Uuid>> {
    let now = work.now();
    let plan = plan(context, work, &definition.channel).await?;
    let mut rows = Vec::with_capacity(waiting.len());
    for entry in waiting {
        let about = about(context, work, entry).await?;
        rows.push(row(entry, about));
    }
    let variables = json!({"call_list": title, "count": rows.len(), "entries": rows});
    let contacts = mailboxes(work, &definition.emails).await?;
    let items: Vec<NewNotification> = contacts
        .into_iter()
        .map(|contact_id| NewNotification {
            id: Uuid::now_v7(),
            contact_id,
            plan: std::sync::Arc::clone(&plan),
            campaign_id: None,
            trigger_id: None,
            weight: 1,
            lane: Lane::Interactive,
            purpose: String::new(),
            variables: variables.clone(),
            valid_until: Some(now + plan.valid_for),
            deliver_after: None,
        })
        .collect();
    let begun = notifications::begin(context, work.conn(), &items).await?;
    Ok(begun.into_iter().map(|b| b.id).collect())
}

/// The contacts of the mailboxes.
async fn mailboxes(work: &mut Work, emails: &[String]) -> Result<Vec<i64>> {
    let row = |email: &String| {
        let address = Address { kind: AddressKind::Email, value: email.clone() };
        let change = Change { addresses: Some(vec![address]), keep_addresses: true, ..Change::default() };
        import::Row { change, consents: Vec::new() }
    };
    import::upsert(work, emails.iter().map(row).collect()).await
}

async fn plan(context: &Context, work: &mut Work, channel: &str) -> Result<std::sync::Arc<PinnedPlan>> {
    if storage::templates::find(work.conn(), TEMPLATE).await?.is_none() {
        templates::create(work, shipped()).await?;
    }
    let step = Step {
        template: Some(TEMPLATE.to_owned()),
        success: Success::Sent,
        quiet_hours: QuietHours::Ignore,
        ..Step::to(Target::Channel(channel.to_owned()))
    };
    let purpose = domain::consent::SERVICE.to_owned();
    let policy = Policy { steps: vec![step], at_least_once: false, purpose };
    let now = work.now();
    let id = context.plans.pin(work.conn(), Request::of(policy.into(), None), now).await?;
    context.plans.load(work.conn(), id).await
}

/// What the person was written about: the words of the last step that has a template.
async fn about(context: &Context, work: &mut Work, entry: &Waiting) -> Result<String> {
    let plan = context.plans.load(work.conn(), entry.plan_id).await?;
    let none = serde_json::Map::new();
    let variables = entry.variables.as_object().unwrap_or(&none);
    let locales: Vec<&str> = Some(entry.locale.as_str()).filter(|l| !l.is_empty()).into_iter().collect();
    let rendered = plan.templates.iter().rev().flatten().find_map(|template| {
        let types = template.channel_types();
        // A short text says it best; a script or a page says it too.
        let preferred = [ChannelType::Sms, ChannelType::Whatsapp, ChannelType::Voice, ChannelType::Email];
        let channel_type = preferred.into_iter().find(|t| types.contains(t))?;
        template.render(channel_type, &locales, variables).ok()
    });
    let text = rendered.map(|r| r.content.plain_text()).unwrap_or_default();
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_ABOUT).collect())
}

fn row(entry: &Waiting, about: String) -> Value {
    json!({
        "name": entry.display_name,
        "addresses": entry.addresses.join(", "),
        "about": about,
        "tried": entry.tried.join("; "),
        "since": entry.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "notification": format!("notifications/{}", entry.notification_id),
    })
}

/// Settles one mail whose notifications have ended. Says whether there was one.
async fn settle_one(context: &Context) -> Result<bool> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let Some(mail) = mailing::take_ended(work.conn()).await? else { return Ok(false) };
    let why = mail.reasons.join(", ");
    match (mail.sent, mail.unknown) {
        (true, _) => {
            mailing::settle(work.conn(), mail.id, None, now).await?;
            let subject = format!("callLists/{}", mailing::slug_of(work.conn(), mail.call_list_id).await?);
            events::say(work.conn(), "call_list", "mailed", &subject, None, None, now).await?;
            work.wake(Topic::Events);
        }
        (false, true) => {
            let words = "it is not known whether the mail was sent: look at its notifications";
            mailing::settle(work.conn(), mail.id, Some(words), now).await?;
        }
        (false, false) => {
            let words = format!("the mail was not sent: {why}");
            tracing::warn!(mail.id = %mail.id, reasons = why, "a call list's mail was not sent; its entries wait again");
            mailing::put_back(work.conn(), &mail, &words, now + AGAIN_AFTER, now).await?;
        }
    }
    work.commit(context).await?;
    Ok(true)
}

/// The template as it is made when it does not stand: a plain table, and the same as text.
fn shipped() -> templates::New {
    let text = "{{ count }} people could not be reached and wait for a call.\n\n\
        {% for e in entries %}{{ loop.index }}. {{ e.name or 'No name' }}: {{ e.addresses or 'no address' }}\n\
        \u{20}  About: {{ e.about or '-' }}\n   Tried: {{ e.tried or '-' }}\n   Since: {{ e.since }}\n\n{% endfor %}";
    let html = "<p>{{ count }} people could not be reached and wait for a call.</p>\n\
        <table border=\"1\" cellpadding=\"4\" cellspacing=\"0\">\n\
        <tr><th>Name</th><th>Address</th><th>About</th><th>Tried</th><th>Since</th></tr>\n\
        {% for e in entries %}<tr><td>{{ e.name }}</td><td>{{ e.addresses }}</td><td>{{ e.about }}</td>\
        <td>{{ e.tried }}</td><td>{{ e.since }}</td></tr>\n{% endfor %}</table>\n";
    let example = json!([{"name": "Asha Rao", "addresses": "+919812345678", "about": "Your complaint 17 needs a visit.",
        "tried": "SMS: failed (30003)", "since": "2026-11-20T09:00:00Z"}]);
    let variable = |name: &str, example: Value| Variable {
        name: name.to_owned(),
        required: true,
        default: None,
        example: Some(example),
    };
    let body = Body::Email {
        subject: "{{ call_list }}: {{ count }} to call".to_owned(),
        text: text.to_owned(),
        html: Some(html.to_owned()),
    };
    let version = TemplateVersion {
        default_language: "en".to_owned(),
        variables: vec![
            variable("call_list", json!("Office")),
            variable("count", json!(1)),
            variable("entries", example),
        ],
        contents: vec![ContentTemplate { channel_type: ChannelType::Email, language: "en".to_owned(), body }],
    };
    templates::New {
        slug: TEMPLATE.to_owned(),
        display_name: "Mail of a call list".to_owned(),
        description: "Carries the people whom no channel reached to those who will call them.".to_owned(),
        first: Some(templates::Definition {
            version,
            change_note: "As shipped".to_owned(),
            descriptions: std::collections::BTreeMap::new(),
            provider_parameters: Vec::new(),
        }),
    }
}
