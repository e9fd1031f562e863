//! Channels seen from the rulebook: the kinds of medium, the lanes, and the kinds of address that each medium needs.

codes! {
    /// The kind of medium. One step of a policy names a channel or one of these.
    pub enum ChannelType {
        /// WhatsApp, over Meta's Cloud API or a business solution provider.
        Whatsapp = "WHATSAPP",
        /// Short messages.
        Sms = "SMS",
        /// Interactive voice calls (IVRS).
        Voice = "VOICE",
        /// Email over SMTP.
        Email = "EMAIL",
        /// Telegram, over a connector of one's own.
        Telegram = "TELEGRAM",
        /// Chat on a web page or in an app, over the API.
        Webchat = "WEBCHAT",
        /// Any other medium, over signed webhooks or a connector outside the process.
        Webhook = "WEBHOOK",
    }
}

codes! {
    /// Whether a person waits for this delivery now, or it is one of many.
    pub enum Lane {
        /// One person, now: a reply, an alert, a single send.
        Interactive = "interactive",
        /// One of many: a campaign, a bulk write in a watched table.
        Bulk = "bulk",
    }
}

codes! {
    /// The kind of an address.
    pub enum AddressKind {
        /// A phone number in E.164 (`+919812345678`): reached by SMS, voice and WhatsApp.
        Phone = "phone",
        /// An email address, lower case.
        Email = "email",
        /// A WhatsApp business-scoped user id, of a person whose phone is not known.
        WhatsappUser = "whatsapp_user",
        /// An id in any other medium, behind the medium's name: `telegram:1093`, `web:7f3a`.
        External = "external",
    }
}

impl ChannelType {
    /// Whether people stay in this medium while they talk, so that silence means that they left.
    #[must_use]
    pub const fn is_chat(self) -> bool {
        match self {
            Self::Whatsapp | Self::Telegram | Self::Webchat | Self::Webhook => true,
            Self::Sms | Self::Voice | Self::Email => false,
        }
    }

    /// The kinds of address that this medium can reach, the preferred kind first.
    #[must_use]
    pub const fn address_kinds(self) -> &'static [AddressKind] {
        match self {
            Self::Whatsapp => &[AddressKind::Phone, AddressKind::WhatsappUser],
            Self::Sms | Self::Voice => &[AddressKind::Phone],
            Self::Email => &[AddressKind::Email],
            Self::Telegram | Self::Webchat | Self::Webhook => &[AddressKind::External],
        }
    }

    /// Whether channels of this type reach addresses of one medium only: those whose part before the colon is that of the
    /// channel's own address. Ids of two media must never meet.
    #[must_use]
    pub const fn has_scheme(self) -> bool {
        match self {
            Self::Telegram | Self::Webchat | Self::Webhook => true,
            Self::Whatsapp | Self::Sms | Self::Voice | Self::Email => false,
        }
    }
}

/// An address: a kind and its canonical value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Address {
    /// The kind.
    pub kind: AddressKind,
    /// The canonical value: E.164 for a phone, lower case for an email.
    pub value: String,
}
