//! Frequency caps: at most so many messages of a kind to one address in a period, over everything that is sent.

use chrono::TimeDelta;

use crate::{channel::ChannelType, consent};

/// The purpose of what is part of a transaction: a receipt, a one-time password.
pub const TRANSACTIONAL: &str = "transactional";
/// The shortest and the longest period.
pub const PERIODS: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::days(90));
/// The most messages that a cap may allow.
pub const MOST: i32 = 1_000;

/// One cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The channel type; none: each one by itself where no cap names it.
    pub channel_type: Option<ChannelType>,
    /// The purpose, or [`consent::ALL`] for all that can be capped, counted together.
    pub purpose: String,
    /// How many messages are allowed.
    pub messages: i32,
    /// The period that ends now.
    pub period: TimeDelta,
}

/// Whether messages of this purpose are never capped: a person waits for what they bring.
#[must_use]
pub fn is_exempt(purpose: &str) -> bool {
    purpose == consent::SERVICE || purpose == TRANSACTIONAL
}

/// The caps that hold for a message of this type and purpose, by their place in `caps`. One that names the type stands in for
/// that of all types with the same purpose.
#[must_use]
pub fn that_hold(caps: &[Cap], channel_type: ChannelType, purpose: &str) -> Vec<usize> {
    if is_exempt(purpose) {
        return Vec::new();
    }
    let of_purpose = |cap: &Cap| cap.purpose == purpose || cap.purpose == consent::ALL;
    let named =
        |cap: &Cap| caps.iter().any(|other| other.channel_type == Some(channel_type) && other.purpose == cap.purpose);
    let holds = |cap: &Cap| match cap.channel_type {
        Some(own) => own == channel_type,
        None => !named(cap),
    };
    let numbered = caps.iter().enumerate();
    numbered.filter(|(_, cap)| of_purpose(cap) && holds(cap)).map(|(index, _)| index).collect()
}

/// The channel types on which an address has had all that the caps allow; `had` says how many messages a cap (by its place)
/// has counted on a type.
#[must_use]
pub fn capped(caps: &[Cap], purpose: &str, had: impl Fn(usize, ChannelType) -> i64) -> Vec<ChannelType> {
    let is_capped = |channel_type: &ChannelType| {
        let mut holding = that_hold(caps, *channel_type, purpose).into_iter();
        holding.any(|cap| caps.get(cap).is_some_and(|c| had(cap, *channel_type) >= i64::from(c.messages)))
    };
    ChannelType::ALL.iter().copied().filter(is_capped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChannelType::{Sms, Whatsapp};

    fn cap(channel_type: Option<ChannelType>, purpose: &str, messages: i32) -> Cap {
        Cap { channel_type, purpose: purpose.into(), messages, period: TimeDelta::days(7) }
    }

    #[test]
    fn a_cap_of_a_type_stands_in_for_that_of_all_and_one_of_all_purposes_holds_besides() {
        let caps = [cap(None, "marketing", 3), cap(Some(Sms), "marketing", 1), cap(None, "*", 5)];
        assert_eq!(that_hold(&caps, Sms, "marketing"), [1, 2]);
        assert_eq!(that_hold(&caps, Whatsapp, "marketing"), [0, 2]);
        assert_eq!(that_hold(&caps, Whatsapp, "reminder"), [2]);
    }

    #[test]
    fn service_and_transactions_are_never_capped() {
        let caps = [cap(None, "*", 1), cap(None, "service", 1)];
        for purpose in ["service", "transactional"] {
            assert_eq!(that_hold(&caps, Sms, purpose), Vec::<usize>::new());
            assert_eq!(capped(&caps, purpose, |_, _| 100), []);
        }
    }

    #[test]
    fn an_address_is_capped_on_the_types_on_which_it_had_enough() {
        let caps = [cap(None, "marketing", 2)];
        let had = |_: usize, channel_type: ChannelType| if channel_type == Sms { 2 } else { 1 };
        assert_eq!(capped(&caps, "marketing", had), [Sms]);
        assert_eq!(capped(&[], "marketing", had), []);
    }
}
