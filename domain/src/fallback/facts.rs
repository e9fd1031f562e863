//! What has to be known to enter a step: the recipient, and the channels as they stand. Plain values, loaded by the caller.
//!
//! [`ChannelFacts`] are the same for every recipient of a page and are loaded once; [`RecipientFacts`] are one contact's.

use crate::{
    address::scheme,
    channel::{AddressKind, ChannelType},
    consent::{self, Consent},
    locale::Locale,
    notification::Reason,
    quiet_hours::{self, Window},
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// One contact, as far as a step asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientFacts {
    /// The zone whose wall clock quiet hours follow.
    pub time_zone: Tz,
    /// The language to write in; without one the template's default language is used.
    pub locale: Option<Locale>,
    /// The addresses, the preferred ones first.
    pub addresses: Vec<AddressFacts>,
    /// The names of the variables that the notification carries.
    pub variables: Vec<String>,
}

/// One address of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFacts {
    /// Its key in the database.
    pub id: i64,
    /// Its kind.
    pub kind: AddressKind,
    /// Its canonical value.
    pub value: String,
    /// Whether it is suppressed: bounced for good, or known to be invalid.
    pub suppressed: bool,
    /// The channel types on which it has had all the messages that a frequency cap allows for now.
    pub capped: Vec<ChannelType>,
    /// What its person said about being written to.
    pub consents: Vec<Consent>,
    /// Until when its service window is open: before then content may be sent that needs no provider's approval.
    pub service_window_until: Option<DateTime<Utc>>,
}

/// The channels, the quiet hours and the templates that steps may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Every channel that a step could lead to; within a type the preferred one first.
    pub channels: Vec<ChannelFact>,
    /// The quiet hours that are set.
    pub quiet_hours: Vec<QuietRule>,
    /// What the templates have to say, one entry for each template and channel type.
    pub templates: Vec<TemplateFact>,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFact {
    /// Its key in the database.
    pub key: i32,
    /// Its slug.
    pub slug: String,
    /// Its type.
    pub channel_type: ChannelType,
    /// The medium whose ids it reaches, where its type has several ([`ChannelType::has_scheme`]).
    pub scheme: Option<String>,
    /// Whether its owner lets it be used.
    pub enabled: bool,
    /// Whether its provider refused the channel itself, so that it waits for a person.
    pub parked: bool,
    /// Where none of its providers works: when the first of them is to be tried again.
    pub providers_down_until: Option<DateTime<Utc>>,
}

/// Quiet hours for a channel type and a purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietRule {
    /// The channel type.
    pub channel_type: ChannelType,
    /// The purpose, or [`consent::ALL`] for those without a rule of their own.
    pub purpose: String,
    /// When it is quiet.
    pub window: Window,
}

/// What a template has to say on one channel type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFact {
    /// The template's slug.
    pub slug: String,
    /// The channel type.
    pub channel_type: ChannelType,
    /// The language for contacts whose own is missing.
    pub default_language: Locale,
    /// The languages, each with what it needs.
    pub contents: Vec<ContentFact>,
}

/// What a template says in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFact {
    /// The language.
    pub language: Locale,
    /// Whether it may be sent only while the address's service window is open (WhatsApp content that is no provider template).
    pub needs_window: bool,
    /// The variables without which it cannot be rendered.
    pub variables: Vec<String>,
}

impl AddressFacts {
    /// Whether the address may be written to on this channel type for this purpose.
    ///
    /// # Errors
    /// The reason why not: SUPPRESSED, OPTED_OUT or FREQUENCY_CAP, in this order.
    pub fn may_be_written_to(&self, channel_type: ChannelType, purpose: &str) -> Result<(), Reason> {
        if self.suppressed {
            return Err(Reason::Suppressed);
        }
        consent::may_write(&self.consents, channel_type, purpose)?;
        if self.capped.contains(&channel_type) { Err(Reason::FrequencyCap) } else { Ok(()) }
    }
}

impl RecipientFacts {
    /// The address to use on this channel: of the kinds that it reaches, the preferred first, the first that may be written
    /// to.
    ///
    /// # Errors
    /// NO_ADDRESS where there is none of these kinds, else what is wrong with the first.
    pub fn address_for(&self, channel: &ChannelFact, purpose: &str) -> Result<&AddressFacts, Reason> {
        let (channel_type, mut refusal) = (channel.channel_type, None);
        for kind in channel_type.address_kinds() {
            for address in self.addresses.iter().filter(|a| a.kind == *kind && channel.reaches(&a.value)) {
                match address.may_be_written_to(channel_type, purpose) {
                    Ok(()) => return Ok(address),
                    Err(reason) => refusal = refusal.or(Some(reason)),
                }
            }
        }
        Err(refusal.unwrap_or(Reason::NoAddress))
    }
}

impl ChannelFact {
    /// Whether an address of a kind that it reaches is one of its own medium.
    fn reaches(&self, value: &str) -> bool {
        self.scheme.as_deref().is_none_or(|own| scheme(value) == Some(own))
    }

    /// Whether the channel can be used now.
    ///
    /// # Errors
    /// CHANNEL_DISABLED, CHANNEL_PARKED or PROVIDER_DOWN.
    pub fn usable(&self, now: DateTime<Utc>) -> Result<(), Reason> {
        if !self.enabled {
            return Err(Reason::ChannelDisabled);
        }
        if self.parked {
            return Err(Reason::ChannelParked);
        }
        if self.providers_down_until.is_some_and(|until| until > now) { Err(Reason::ProviderDown) } else { Ok(()) }
    }
}

impl ChannelFacts {
    /// The first moment from `now` on at which quiet hours let this channel type be used for this purpose, or `None` if they
    /// never do.
    ///
    /// Rules of the purpose itself replace those of all purposes.
    #[must_use]
    pub fn quiet_until(
        &self,
        channel_type: ChannelType,
        purpose: &str,
        zone: Tz,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let of = |purpose: &str| -> Vec<Window> {
            let fits = |rule: &&QuietRule| rule.channel_type == channel_type && rule.purpose == purpose;
            self.quiet_hours.iter().filter(fits).map(|rule| rule.window).collect()
        };
        let own = of(purpose);
        let windows = if own.is_empty() { of(consent::ALL) } else { own };
        quiet_hours::next_allowed(&windows, now, zone)
    }

    /// The content of a template for this channel type that this recipient can be sent at `now`.
    ///
    /// Languages are tried in this order: the contact's own (`hi-IN`), the more general ones behind it (`hi`), the template's
    /// default. Content that needs an open service window is passed over while the window is closed.
    ///
    /// # Errors
    /// NO_TEMPLATE_CONTENT, NO_TEMPLATE_LANGUAGE, WINDOW_CLOSED or TEMPLATE_VARIABLE_MISSING.
    pub fn content_for(
        &self,
        template: &str,
        channel_type: ChannelType,
        recipient: &RecipientFacts,
        address: &AddressFacts,
        now: DateTime<Utc>,
    ) -> Result<&ContentFact, Reason> {
        let fits = |t: &&TemplateFact| t.slug == template && t.channel_type == channel_type && !t.contents.is_empty();
        let template = self.templates.iter().find(fits).ok_or(Reason::NoTemplateContent)?;
        let window_open = address.service_window_until.is_some_and(|until| until > now);
        let own = recipient.locale.iter().flat_map(Locale::chain);
        let mut refusal = Reason::NoTemplateLanguage;
        for language in own.chain([template.default_language.as_str()]) {
            let of_language = template.contents.iter().filter(|c| c.language.as_str() == language);
            let (usable, closed): (Vec<_>, Vec<_>) = of_language.partition(|c| window_open || !c.needs_window);
            if let Some(content) = usable.first() {
                let missing = content.variables.iter().any(|v| !recipient.variables.contains(v));
                return if missing { Err(Reason::TemplateVariableMissing) } else { Ok(content) };
            }
            if !closed.is_empty() {
                refusal = Reason::WindowClosed;
            }
        }
        Err(refusal)
    }
}
