//! Channels: defined with their providers, enabled, disabled, checked, deleted. How they are stands in [`health`].

pub mod health;
mod settings;
pub mod talk;

use std::collections::BTreeMap;

use domain::{channel::ChannelType, price::Money};

use super::{Context, Error, Result, Violation, error::all_right, etag, work::Work};
pub use crate::storage::channels::{ChannelRow, ProviderWrite, Terms};
use crate::{
    storage::{
        self, Conn,
        channels::{self, ChannelWrite},
        directory::ProviderRow,
        events,
    },
    wake::Topic,
};

/// A channel with its providers.
#[derive(Debug, Clone)]
pub struct Channel {
    /// What stands of the channel.
    pub row: ChannelRow,
    /// Its providers, the preferred first.
    pub providers: Vec<ProviderRow>,
    /// How conversations are held on it.
    pub talk: talk::TalkRow,
}

/// A channel to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// The medium; none where the request did not say a known one, and was refused for it.
    pub channel_type: Option<ChannelType>,
    /// Whether it may send at once.
    pub enabled: bool,
    /// The rest of it.
    pub change: Change,
}

/// What is to be written of a channel; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// The medium, which cannot change: another than it has is refused.
    pub channel_type: Option<ChannelType>,
    /// Our own address on it.
    pub service_identifier: Option<String>,
    /// Messages a second over all processes; `Some(None)` takes the limit away.
    pub rate_per_second: Option<Option<f64>>,
    /// Parts of short messages a second; `Some(None)` takes the limit away.
    pub parts_per_second: Option<Option<f64>>,
    /// People who may be written to first in a day; `Some(None)` takes the limit away.
    pub recipients_per_day: Option<Option<i32>>,
    /// What a message, or a part of a short message, costs; `Some(None)` takes the price away.
    pub price: Option<Option<Money>>,
    /// What providers are told with every message.
    pub provider_parameters: Option<BTreeMap<String, String>>,
    /// What must be told.
    pub required_parameters: Option<Vec<String>>,
    /// The providers; they replace all others.
    pub providers: Option<Vec<ProviderWrite>>,
    /// How conversations are held on it.
    pub talk: talk::TalkChange,
}

impl Change {
    /// What else limits a channel, as it will be; what is not of its type is wrong.
    fn terms(&self, before: &Terms, channel_type: ChannelType, found: &mut Vec<Violation>) -> Terms {
        let terms = Terms {
            parts_per_second: self.parts_per_second.unwrap_or(before.parts_per_second),
            recipients_per_day: self.recipients_per_day.unwrap_or(before.recipients_per_day),
            price: self.price.clone().unwrap_or_else(|| before.price.clone()),
            provider_parameters: self.provider_parameters.clone().unwrap_or_else(|| before.provider_parameters.clone()),
            required_parameters: self.required_parameters.clone().unwrap_or_else(|| before.required_parameters.clone()),
        };
        let of_sms = "is for SMS only: messages of other types have no parts";
        if channel_type != ChannelType::Sms {
            let providers = self.providers.iter().flatten().enumerate().filter(|(_, p)| p.parts_per_second.is_some());
            let fields = providers.map(|(index, _)| format!("channel.providers[{index}].parts_per_second"));
            let own = terms.parts_per_second.map(|_| "channel.parts_per_second".to_owned());
            found.extend(own.into_iter().chain(fields).map(|field| Violation::new(field, of_sms)));
        }
        terms
    }
}

/// The name of a channel in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("channels/{slug}")
}

/// Creates a channel with its providers.
///
/// # Errors
/// [`Error::Invalid`], [`Error::SecretMissing`] for settings, [`Error::AlreadyExists`].
pub async fn create(context: &Context, work: &mut Work, new: New) -> Result<Channel> {
    let (slug, now) = (new.slug.as_str(), work.now());
    let channel_type = new.channel_type.ok_or_else(|| Error::invalid("channel.channel_type", "is missing"))?;
    let mut found = Vec::new();
    let terms = new.change.terms(&Terms::default(), channel_type, &mut found);
    let providers = new.change.providers.unwrap_or_default();
    let identifier = identifier(channel_type, &new.change.service_identifier.unwrap_or_default());
    found.extend(identifier.as_ref().err().cloned());
    settings::check(&context.directory, channel_type, &providers, found)?;
    if channels::find(work.conn(), slug).await?.is_some() {
        return Err(Error::AlreadyExists(name_of(slug)));
    }
    let write = ChannelWrite {
        display_name: &new.change.display_name.unwrap_or_default(),
        service_identifier: &identifier.unwrap_or_default(),
        rate_per_second: new.change.rate_per_second.flatten(),
        terms: &terms,
    };
    let id = channels::insert(work.conn(), slug, channel_type, &write, new.enabled, now).await?;
    channels::set_providers(work.conn(), id, &providers).await?;
    talk::set(work.conn(), id, new.change.talk, talk::TalkRow::default()).await?;
    changed(work, slug, "created", if new.enabled { "enabled" } else { "disabled" }).await?;
    one(work.conn(), slug).await
}

/// One channel.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Channel> {
    one(&mut *context.lists.conn().await?, slug).await
}

/// A page of channels, by slug.
///
/// # Errors
/// What storage says.
pub async fn list(
    context: &Context,
    channel_type: Option<ChannelType>,
    after: &str,
    limit: i64,
) -> Result<Vec<Channel>> {
    let conn = &mut *context.lists.conn().await?;
    let rows = channels::list(conn, channel_type, after, limit).await?;
    let ids: Vec<i32> = rows.iter().map(|c| c.id).collect();
    let all = channels::providers(conn, &ids).await?;
    let of = |id: i32| all.iter().filter(|p| p.channel_id == id).cloned().collect();
    let mut talks = storage::channel_talk::load(conn, &ids).await?;
    let channel =
        |row: ChannelRow| Channel { providers: of(row.id), talk: talks.remove(&row.id).unwrap_or_default(), row };
    Ok(rows.into_iter().map(channel).collect())
}

/// Changes a channel. A provider that keeps its name keeps its webhook address.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(context: &Context, work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Channel> {
    let before = locked(work.conn(), slug, etag).await?;
    let (row, now) = (&before.row, work.now());
    let mut found = Vec::new();
    if change.channel_type.is_some_and(|t| t != row.channel_type) {
        let words = format!("cannot change: it is {}; create another channel", row.channel_type);
        found.push(Violation::new("channel.channel_type", words));
    }
    let terms = change.terms(&row.terms, row.channel_type, &mut found);
    let wanted = change.service_identifier.clone().unwrap_or_else(|| row.service_identifier.clone());
    let identifier = identifier(row.channel_type, &wanted);
    found.extend(identifier.as_ref().err().cloned());
    match &change.providers {
        Some(providers) => settings::check(&context.directory, row.channel_type, providers, found)?,
        None => all_right(found)?,
    }
    let write = ChannelWrite {
        display_name: change.display_name.as_deref().unwrap_or(&row.display_name),
        service_identifier: &identifier.unwrap_or_default(),
        rate_per_second: change.rate_per_second.unwrap_or(row.rate_per_second),
        terms: &terms,
    };
    channels::update(work.conn(), row.id, &write, now).await?;
    if let Some(providers) = &change.providers {
        channels::set_providers(work.conn(), row.id, providers).await?;
    }
    talk::set(work.conn(), row.id, change.talk, before.talk.clone()).await?;
    changed(work, slug, "updated", &row.state).await?;
    one(work.conn(), slug).await
}

/// Lets a channel send again: its secrets must be there, and its breakers are closed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::SecretMissing`], [`Error::Invalid`] for settings that went wrong.
pub async fn enable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<Channel> {
    let before = locked(work.conn(), slug, etag).await?;
    if before.row.state == "enabled" {
        return Ok(before);
    }
    let stands: Vec<ProviderWrite> = before.providers.iter().map(write_of).collect();
    settings::check(&context.directory, before.row.channel_type, &stands, Vec::new())?;
    set_enabled(work, &before.row, true).await
}

/// Stops a channel from sending.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn disable(work: &mut Work, slug: &str, etag: &str) -> Result<Channel> {
    let before = locked(work.conn(), slug, etag).await?;
    if before.row.state == "disabled" {
        return Ok(before);
    }
    set_enabled(work, &before.row, false).await
}

/// Deletes a channel that nothing needs.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let before = locked(work.conn(), slug, etag).await?;
    if let Some(used_by) = channels::used_by(work.conn(), before.row.id, slug).await? {
        return Err(Error::InUse { name: name_of(slug), used_by });
    }
    let now = work.now();
    channels::delete(work.conn(), before.row.id, now).await?;
    changed(work, slug, "deleted", "disabled").await
}

async fn set_enabled(work: &mut Work, row: &ChannelRow, enabled: bool) -> Result<Channel> {
    let now = work.now();
    channels::set_enabled(work.conn(), row.id, enabled, now).await?;
    changed(work, &row.slug, "state_changed", if enabled { "enabled" } else { "disabled" }).await?;
    work.wake(Topic::Relay);
    work.wake(Topic::Fallback);
    work.wake(Topic::Conversations);
    one(work.conn(), &row.slug).await
}

async fn changed(work: &mut Work, slug: &str, what: &str, state: &str) -> Result<()> {
    let now = work.now();
    events::say(work.conn(), "channel", what, &name_of(slug), Some(state), None, now).await?;
    work.channels_changed();
    work.wake(Topic::Events);
    Ok(())
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<Channel> {
    channels::lock(conn, slug).await?;
    let found = one(conn, slug).await?;
    etag::check(&name_of(slug), etag, found.row.version)?;
    Ok(found)
}

async fn one(conn: &mut Conn, slug: &str) -> Result<Channel> {
    let row = channels::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name_of(slug)))?;
    let providers = channels::providers(conn, &[row.id]).await?;
    let talk = storage::channel_talk::load(conn, &[row.id]).await?.remove(&row.id).unwrap_or_default();
    Ok(Channel { row, providers, talk })
}

fn write_of(row: &ProviderRow) -> ProviderWrite {
    ProviderWrite {
        name: row.name.clone(),
        connector: row.connector.clone(),
        settings: row.settings.clone(),
        rate_per_second: row.rate_per_second,
        in_flight: row.in_flight,
        timeout_ms: row.timeout_ms,
        parts_per_second: row.parts_per_second,
    }
}

/// Our own address on a channel, canonical where it is a phone number or a mailbox.
fn identifier(channel_type: ChannelType, text: &str) -> std::result::Result<String, Violation> {
    let text = text.trim();
    let wrong = |words: String| Err(Violation::new("channel.service_identifier", words));
    if text.is_empty() {
        return wrong("is missing".to_owned());
    }
    let parse = |kind| domain::channel::Address::parse(kind, text, None).map(|address| address.value);
    let read = match channel_type {
        ChannelType::Email => {
            return mailbox(text).map_err(|words| Violation::new("channel.service_identifier", words));
        }
        ChannelType::Telegram | ChannelType::Webchat | ChannelType::Webhook => {
            parse(domain::channel::AddressKind::External)
        }
        _ if text.starts_with('+') => parse(domain::channel::AddressKind::Phone),
        ChannelType::Whatsapp | ChannelType::Sms | ChannelType::Voice => {
            let right = text.len() <= 20 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_.".contains(&b));
            return match right {
                true => Ok(text.to_owned()),
                false => {
                    wrong("must be a phone number in E.164 or a sender id of at most 20 letters and digits".to_owned())
                }
            };
        }
    };
    read.or_else(|error| wrong(error.to_string()))
}

/// A mailbox, `a@example.org` or `Name <a@example.org>`: the address canonical, the name as it was given. A name beyond letters,
/// digits, spaces and hyphens is quoted (RFC 5322, section 3.2.4).
fn mailbox(text: &str) -> std::result::Result<String, String> {
    let parse = |text: &str| {
        let address = domain::channel::Address::parse(domain::channel::AddressKind::Email, text.trim(), None);
        address.map(|address| address.value).map_err(|error| error.to_string())
    };
    let Some((name, address)) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) else {
        return parse(text);
    };
    let (name, address) = (name.trim(), parse(address)?);
    let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    };
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("has a name that is longer than 100 characters or more than one line".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-');
    Ok(match name.as_str() {
        "" => address,
        name if name.chars().all(plain) => format!("{name} <{address}>"),
        name => format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_keeps_its_name() {
        let read = |text: &str| identifier(ChannelType::Email, text).ok();
        for (given, kept) in [
            ("Alerts <Alerts@Example.org>", "Alerts <alerts@example.org>"),
            ("  Water-Works 24  <a@example.org>", "Water-Works 24 <a@example.org>"),
            ("<a@example.org>", "a@example.org"),
            ("जल विभाग <a@example.org>", "\"जल विभाग\" <a@example.org>"),
            ("Smith, J. <a@example.org>", "\"Smith, J.\" <a@example.org>"),
            ("\"Smith, J.\" <a@example.org>", "\"Smith, J.\" <a@example.org>"),
            (r#""say \"hi\"" <a@example.org>"#, r#""say \"hi\"" <a@example.org>"#),
        ] {
            assert_eq!(read(given).as_deref(), Some(kept), "{given}");
            assert_eq!(read(kept).as_deref(), Some(kept), "written once more");
        }
        for wrong in
            ["Alerts <alerts>", "Alerts <>", "Alerts a@example.org", "A\nB <a@example.org>", "A <a@example.org> B"]
        {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn our_own_address_fits_its_medium() {
        let read = |t, text: &str| identifier(t, text).ok();
        assert_eq!(read(ChannelType::Sms, "+91 98123 45678").as_deref(), Some("+919812345678"));
        assert_eq!(read(ChannelType::Sms, "SWBOARD").as_deref(), Some("SWBOARD"));
        assert_eq!(read(ChannelType::Webchat, "Shop:front").as_deref(), Some("shop:front"));
        assert_eq!(read(ChannelType::Webhook, "front"), None, "the medium must be named");
        assert_eq!(read(ChannelType::Email, "Alerts@Example.org").as_deref(), Some("alerts@example.org"));
        for (channel_type, wrong) in [
            (ChannelType::Email, "alerts"),
            (ChannelType::Voice, "+12"),
            (ChannelType::Sms, ""),
            (ChannelType::Sms, "a\nb"),
        ] {
            assert_eq!(read(channel_type, wrong), None, "{wrong:?}");
        }
    }
}
