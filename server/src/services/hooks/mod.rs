//! Webhooks of subscribers: written, enabled, disabled, looked at, and told again what they missed. How they are told stands in
//! [`telling`]. (What providers send *us* is `services::webhooks`.)

pub mod telling;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Context, Error, Result, Violation, error::all_right, etag, events::Filter, work::Work};
use crate::{
    bus::post,
    channels::settings::SettingSpec,
    storage::{
        self, Conn, events,
        hooks::{self, HookWrite},
    },
    wake::Topic,
};
pub use hooks::{DeadLetter, HookRow};

/// Where the secret of a webhook is found.
const SECRET: &[SettingSpec] = &[SettingSpec::required("secret", "signs what is posted").secret()];
/// The types by which the conversation store's events are asked for, and ours beneath them.
const STORE_TYPES: [(&str, &[&str]); 4] = [
    ("message_added", &["message.received", "message.sent"]),
    ("start-flow-execution", &["flow.ordered"]),
    ("open-ticket", &["ticket.ordered"]),
    ("send-whatsapp-business-message", &["delivery.sent"]),
];

/// What a webhook is told, and where its secret is; as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Types, as in a subscription, or names of the conversation store; empty means all.
    #[serde(default)]
    pub types: Vec<String>,
    /// Subjects; empty means all.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// The slug of a campaign.
    #[serde(default)]
    pub campaign: Option<String>,
    /// A contact.
    #[serde(default)]
    pub contact: Option<i64>,
    /// Whether the words of messages are told, or only that there are some.
    #[serde(default)]
    pub with_words: bool,
    /// The environment variable with the secret.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The file with the secret.
    #[serde(default)]
    pub secret_file: Option<String>,
}

impl Definition {
    /// Which facts it may want.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let ours = |wanted: &String| match STORE_TYPES.iter().find(|(name, _)| name == wanted) {
            Some((_, ours)) => ours.iter().map(|t| (*t).to_owned()).collect(),
            None => vec![wanted.clone()],
        };
        Filter {
            types: self.types.iter().flat_map(ours).collect(),
            subjects: self.subjects.clone(),
            campaign: self.campaign.clone(),
            contact: self.contact,
            notification: None,
        }
    }

    /// Whether it wants an event by this route, made of a fact of this type.
    #[must_use]
    pub fn wants(&self, route: &str, fact_type: &str) -> bool {
        let noun = fact_type.split_once('.').map_or(fact_type, |(noun, _)| noun);
        // What a message was besides, such as one to WhatsApp, is asked for by its own name.
        let of_fact = route == fact_type || route == "message_added" || !route.contains("whatsapp");
        let takes = |wanted: &String| {
            wanted == route || (of_fact && (wanted == fact_type || wanted.strip_suffix(".*") == Some(noun)))
        };
        self.types.is_empty() || self.types.iter().any(takes)
    }
}

/// Whether a name is one of the conversation store's, which a webhook may ask for besides our types.
#[must_use]
pub fn is_store_type(name: &str) -> bool {
    STORE_TYPES.iter().any(|(store, _)| *store == name)
}

/// A webhook with its definition read.
#[derive(Debug, Clone)]
pub struct Hook {
    /// What stands of it.
    pub row: HookRow,
    /// What it is told.
    pub definition: Definition,
}

/// A webhook to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// Where events are posted.
    pub url: String,
    /// What it is told.
    pub definition: Definition,
    /// The position that it begins after; none: after the newest event.
    pub start: Option<i64>,
}

/// What is written of a webhook; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// Where events are posted.
    pub url: Option<String>,
    /// Types.
    pub types: Option<Vec<String>>,
    /// Subjects.
    pub subjects: Option<Vec<String>>,
    /// The slug of a campaign, or none.
    pub campaign: Option<Option<String>>,
    /// A contact, or none.
    pub contact: Option<Option<i64>>,
    /// Whether words are told.
    pub with_words: Option<bool>,
    /// The environment variable with the secret; written with the file, of which one is empty.
    pub secret: Option<(Option<String>, Option<String>)>,
}

/// What is to be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Everything after a position.
    After(i64),
    /// One dead letter.
    Letter(i64),
    /// All dead letters that were not told since.
    Letters,
}

/// The name of a webhook in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("webhooks/{slug}")
}

/// Creates a webhook, enabled.
///
/// # Errors
/// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::CursorGone`].
pub async fn create(context: &Context, work: &mut Work, new: New) -> Result<Hook> {
    all_right(violations(context, &new.url, &new.definition))?;
    if find(work.conn(), &new.slug).await?.is_some() {
        return Err(Error::AlreadyExists(name_of(&new.slug)));
    }
    let position = match new.start {
        Some(position) => told_before(work.conn(), position).await?,
        None => events::bounds(work.conn()).await?.0,
    };
    let definition = serde_json::to_value(&new.definition).map_err(storage::Error::from)?;
    let write = HookWrite { display_name: &new.display_name, url: &new.url, definition: &definition };
    let now = work.now();
    hooks::insert(work.conn(), &new.slug, &write, position, now).await?;
    work.wake(Topic::Hooks);
    one(work.conn(), &new.slug).await
}

/// One webhook.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Hook> {
    one(&mut *context.lists.conn().await?, slug).await
}

/// A page of webhooks, by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<Hook>> {
    let rows = hooks::list(&mut *context.lists.conn().await?, None, after, limit).await?;
    rows.into_iter().map(read).collect()
}

/// Changes a webhook; what waits is tried at once with what is new.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(context: &Context, work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Hook> {
    let before = locked(work.conn(), slug, etag).await?;
    let old = before.definition;
    let (secret_env, secret_file) = change.secret.unwrap_or((old.secret_env, old.secret_file));
    let definition = Definition {
        types: change.types.unwrap_or(old.types),
        subjects: change.subjects.unwrap_or(old.subjects),
        campaign: change.campaign.unwrap_or(old.campaign),
        contact: change.contact.unwrap_or(old.contact),
        with_words: change.with_words.unwrap_or(old.with_words),
        secret_env,
        secret_file,
    };
    let display_name = change.display_name.unwrap_or(before.row.display_name);
    let url = change.url.unwrap_or(before.row.url);
    all_right(violations(context, &url, &definition))?;
    let stored = serde_json::to_value(&definition).map_err(storage::Error::from)?;
    let write = HookWrite { display_name: &display_name, url: &url, definition: &stored };
    let now = work.now();
    hooks::update(work.conn(), before.row.id, &write, now).await?;
    work.wake(Topic::Hooks);
    one(work.conn(), slug).await
}

/// Deletes a webhook with its dead letters.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let hook = locked(work.conn(), slug, etag).await?;
    Ok(hooks::delete(work.conn(), hook.row.id).await?)
}

/// Enables a webhook: it goes on where it stopped, and its failures are forgotten.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn enable(work: &mut Work, slug: &str, etag: &str) -> Result<Hook> {
    set_state(work, slug, etag, "enabled", None).await
}

/// Disables a webhook: nothing is posted until it is enabled, and nothing is lost that is kept so long.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn disable(work: &mut Work, slug: &str, etag: &str) -> Result<Hook> {
    set_state(work, slug, etag, "disabled", Some("disabled by a person")).await
}

async fn set_state(work: &mut Work, slug: &str, etag: &str, state: &str, reason: Option<&str>) -> Result<Hook> {
    let hook = locked(work.conn(), slug, etag).await?;
    if hook.row.state != state {
        let now = work.now();
        hooks::set_state(work.conn(), hook.row.id, state, reason, now).await?;
        events::say(work.conn(), "webhook", state, &name_of(slug), None, reason, now).await?;
        work.wake(Topic::Events);
        work.wake(Topic::Hooks);
    }
    one(work.conn(), slug).await
}

/// A page of what a webhook would not take, the newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn dead_letters(context: &Context, slug: &str, below: i64, limit: i64) -> Result<Vec<DeadLetter>> {
    let conn = &mut *context.lists.conn().await?;
    let hook = one(conn, slug).await?;
    Ok(hooks::dead_letters(conn, hook.row.id, below, limit).await?)
}

/// Has events told again. Says the webhook, and how many dead letters that concerns.
///
/// # Errors
/// [`Error::NotFound`] for the webhook or the letter; [`Error::CursorGone`].
pub async fn replay(work: &mut Work, slug: &str, replay: Replay) -> Result<(Hook, u64)> {
    let hook = locked(work.conn(), slug, "").await?;
    let letters = match replay {
        Replay::After(position) => {
            let position = told_before(work.conn(), position).await?;
            hooks::rewind(work.conn(), hook.row.id, position).await?;
            0
        }
        Replay::Letter(id) => match hooks::ask_replay(work.conn(), hook.row.id, Some(id)).await? {
            0 => return Err(Error::NotFound(format!("{}/deadLetters/{id}", name_of(slug)))),
            n => n,
        },
        Replay::Letters => hooks::ask_replay(work.conn(), hook.row.id, None).await?,
    };
    work.wake(Topic::Hooks);
    Ok((one(work.conn(), slug).await?, letters))
}

/// A position that somebody gave: one that was given once, and behind which everything is kept.
async fn told_before(conn: &mut Conn, position: i64) -> Result<i64> {
    let (last, first) = events::bounds(conn).await?;
    if position > last {
        return Err(Error::Invalid(vec![super::events::not_ours("start_cursor")]));
    }
    if position < first - 1 {
        return Err(super::events::gone(first - 1));
    }
    Ok(position)
}

/// Everything that is wrong with a webhook in the world as it stands. Whether its secret is there is asked at once: a person who
/// can mend it is at hand.
fn violations(context: &Context, url: &str, definition: &Definition) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Err(wrong) = context.settings.events.reach.check(url) {
        found.push(Violation::new("webhook.url", wrong));
    }
    match secret(context, definition) {
        Ok(secret) if post::can_sign(secret.expose_secret()) => {}
        Ok(_) => {
            found.push(Violation::new("webhook.secret_env", "names a secret that is empty, or whsec_ without base64"))
        }
        Err(problems) => found.extend(problems),
    }
    found
}

/// The secret of a webhook.
///
/// # Errors
/// Why it is not there; never the secret itself.
fn secret(context: &Context, definition: &Definition) -> std::result::Result<SecretString, Vec<Violation>> {
    let mut values = Map::new();
    for (key, value) in [("secret_env", &definition.secret_env), ("secret_file", &definition.secret_file)] {
        if let Some(value) = value {
            values.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
    let settings = context.directory.with_secrets(values);
    let mut reader = settings.read(SECRET);
    let secret = reader.secret("secret");
    let in_webhook = |p: crate::channels::settings::SettingProblem| {
        Violation::new(format!("webhook.{}", p.field), p.description).because("SECRET_MISSING").with("setting", p.field)
    };
    reader.finish().map_err(|problems| problems.into_iter().map(in_webhook).collect::<Vec<_>>())?;
    Ok(secret)
}

async fn find(conn: &mut Conn, slug: &str) -> Result<Option<Hook>> {
    hooks::list(conn, Some(slug), "", 1).await?.pop().map(read).transpose()
}

async fn one(conn: &mut Conn, slug: &str) -> Result<Hook> {
    find(conn, slug).await?.ok_or_else(|| Error::NotFound(name_of(slug)))
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<Hook> {
    hooks::lock(conn, slug).await?;
    let hook = one(conn, slug).await?;
    etag::check(&name_of(slug), etag, hook.row.version)?;
    Ok(hook)
}

fn read(row: HookRow) -> Result<Hook> {
    let definition = serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?;
    Ok(Hook { row, definition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_asked_for_by_our_names_and_by_the_stores() {
        let of = |types: &[&str]| Definition {
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            ..Definition::default()
        };
        let whatsapp = "send-whatsapp-business-message";
        assert!(
            of(&[]).wants("notification.reached", "notification.reached") && of(&[]).wants(whatsapp, "delivery.sent")
        );
        for wanted in ["message_added", "message.*", "message.received"] {
            assert!(of(&[wanted]).wants("message_added", "message.received"), "{wanted}");
        }
        assert!(!of(&["message.sent"]).wants("message_added", "message.received"));
        assert!(of(&["start-flow-execution"]).wants("start-flow-execution", "flow.ordered"));
        assert!(of(&["delivery.*"]).wants("delivery.sent", "delivery.sent"));
        assert!(!of(&["delivery.*"]).wants(whatsapp, "delivery.sent"));
        assert!(of(&[whatsapp]).wants(whatsapp, "delivery.sent"));
        assert!(!of(&[whatsapp]).wants("delivery.sent", "delivery.sent"));
        assert_eq!(
            of(&["message_added", "campaign.*"]).filter().types,
            ["message.received", "message.sent", "campaign.*"]
        );
    }
}
