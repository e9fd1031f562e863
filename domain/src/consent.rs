//! Who may be written to, and the words by which people change that: STOP, START, HELP in their own language.
//!
//! Consent belongs to an address, a channel type and a purpose. Two purposes have a meaning of their own: [`ALL`] stands for
//! every purpose except [`SERVICE`], which is what a person asked for (the answer to a question, a complaint's number) and is
//! stopped only by name. The words that are shipped: [`Words::shipped`].

pub(crate) mod words;

pub use words::{Confirmations, Intent, Words, classify};

use crate::{channel::ChannelType, notification::Reason};
use serde::{Deserialize, Serialize};

/// The purpose of what a person asked for; a STOP word does not end it.
pub const SERVICE: &str = "service";
/// Every purpose except [`SERVICE`].
pub const ALL: &str = "*";

/// What is known of an address's consent on one channel type for one purpose. Nothing known means allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Consent {
    /// The channel type.
    pub channel_type: ChannelType,
    /// The purpose, or [`ALL`].
    pub purpose: String,
    /// Whether the person asked not to be written to.
    pub opted_out: bool,
}

/// Whether one may write to an address on `channel_type` for `purpose`, by its `consents`.
///
/// A refusal for [`ALL`] is not undone by an older consent for the purpose itself: the last word of the person is the broad
/// one, and START takes it back.
///
/// # Errors
/// [`Reason::OptedOut`] when the person asked not to be written to.
pub fn may_write(consents: &[Consent], channel_type: ChannelType, purpose: &str) -> Result<(), Reason> {
    let covers = |c: &Consent| c.purpose == purpose || (c.purpose == ALL && purpose != SERVICE);
    let refused = consents.iter().any(|c| c.channel_type == channel_type && c.opted_out && covers(c));
    if refused { Err(Reason::OptedOut) } else { Ok(()) }
}

/// The consent to store for the address when its person sent a word of this intent, if the word changes any.
///
/// STOP refuses every purpose but [`SERVICE`] on this channel type; START takes that back and leaves refusals of single
/// purposes, which were made elsewhere, as they are.
#[must_use]
pub fn change(intent: Intent, channel_type: ChannelType) -> Option<Consent> {
    let consent = |opted_out| Some(Consent { channel_type, purpose: ALL.to_owned(), opted_out });
    match intent {
        Intent::Stop => consent(true),
        Intent::Start => consent(false),
        Intent::Help => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChannelType::{Sms, Whatsapp};

    fn consent(channel_type: ChannelType, purpose: &str, opted_out: bool) -> Consent {
        Consent { channel_type, purpose: purpose.into(), opted_out }
    }

    #[test]
    fn a_stop_word_ends_all_purposes_but_service_on_its_channel_type() {
        let stopped = [change(Intent::Stop, Sms).unwrap()];
        let cases = [
            (Sms, "marketing", Err(Reason::OptedOut)),
            (Sms, "reminder", Err(Reason::OptedOut)),
            (Sms, ALL, Err(Reason::OptedOut)),
            (Sms, SERVICE, Ok(())),
            (Whatsapp, "marketing", Ok(())),
        ];
        for (channel_type, purpose, expected) in cases {
            assert_eq!(may_write(&stopped, channel_type, purpose), expected, "{channel_type} {purpose}");
        }
    }

    #[test]
    fn start_takes_back_what_stop_did_and_no_more() {
        let started = [change(Intent::Start, Sms).unwrap(), consent(Sms, "marketing", true)];
        assert_eq!(may_write(&started, Sms, "reminder"), Ok(()));
        assert_eq!(may_write(&started, Sms, "marketing"), Err(Reason::OptedOut));
        assert_eq!(change(Intent::Help, Sms), None);
    }

    #[test]
    fn service_is_stopped_only_by_name() {
        assert_eq!(may_write(&[consent(Sms, SERVICE, true)], Sms, SERVICE), Err(Reason::OptedOut));
        assert_eq!(may_write(&[consent(Sms, SERVICE, true)], Sms, "marketing"), Ok(()));
    }

    #[test]
    fn an_older_consent_for_one_purpose_does_not_outlive_a_stop() {
        let consents = [consent(Sms, "marketing", false), consent(Sms, ALL, true)];
        assert_eq!(may_write(&consents, Sms, "marketing"), Err(Reason::OptedOut));
        assert_eq!(may_write(&[], Sms, "marketing"), Ok(()));
    }
}
