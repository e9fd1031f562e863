//! Twilio's error codes as data. One table serves refusals of a request, statuses of messages and statuses of calls.
//!
//! Source: <https://www.twilio.com/docs/api/errors>. A code that is not here is settled by where it was seen.

use domain::delivery::FailureClass::{self, FallOver, OptOut, ParkChannel, Permanent, Temporary, Throttled};

use super::super::{
    Refusal,
    meaning::{Meaning, find, row},
};

/// Codes that say of the recipient's number that there is none such: 21211 of messages, 13224 and 21217 of calls.
const NO_NUMBER: &[&str] = &["13224", "21211", "21217"];

/// Whether a code says that the recipient's number does not exist, whatever is sent there.
#[must_use]
pub fn is_no_number(code: &str) -> bool {
    NO_NUMBER.contains(&code)
}

/// What each code means, sorted by code.
pub const MEANINGS: &[Meaning] = &[
    row(10001, ParkChannel, "the account is not active"),
    row(10004, Throttled, "too many calls of this account at once"),
    row(13223, FallOver, "the number to call has an invalid format"),
    row(13224, FallOver, "the number to call is not valid"),
    row(13225, FallOver, "the number may not be called (blocked by the provider)"),
    row(13227, FallOver, "calls to this country are not enabled for the account"),
    row(14107, Throttled, "messages are sent too fast"),
    row(20003, ParkChannel, "the credentials are refused"),
    row(20005, ParkChannel, "the account is suspended"),
    row(20006, ParkChannel, "the account may not do this"),
    row(20404, ParkChannel, "the account or the address of the API is wrong"),
    row(20429, Throttled, "too many requests"),
    row(20503, Temporary, "the provider is not available and did not take the request"),
    row(21201, FallOver, "no number to call was given"),
    row(21203, FallOver, "the number may not be called (blocked by the provider)"),
    row(21205, ParkChannel, "the address of the call script is not valid: check the public address"),
    row(21210, ParkChannel, "our caller number is not verified"),
    row(21211, FallOver, "the number of the recipient is not valid"),
    row(21212, ParkChannel, "our own number or sender is not valid"),
    row(21214, FallOver, "the number cannot be reached"),
    row(21215, FallOver, "calls to this country are not enabled for the account"),
    row(21216, FallOver, "the number may not be called (blocked by the provider)"),
    row(21217, FallOver, "the number does not look valid"),
    row(21219, FallOver, "the number is not verified, and the account is a trial"),
    row(21266, Permanent, "recipient and sender are the same"),
    row(21408, FallOver, "messages to this country are not enabled for the account"),
    row(21601, ParkChannel, "our number cannot send messages"),
    row(21602, Permanent, "the message has no text"),
    row(21603, ParkChannel, "no sender was given"),
    row(21604, FallOver, "no recipient was given"),
    row(21606, ParkChannel, "our sender cannot send messages to this recipient's network"),
    row(21608, FallOver, "the number is not verified, and the account is a trial"),
    row(21609, ParkChannel, "the callback address is not valid: check the public address"),
    row(21610, OptOut, "the recipient sent STOP"),
    row(21611, Throttled, "the queue of our sender is full"),
    row(21612, FallOver, "there is no route to this number from our sender"),
    row(21614, FallOver, "the number is not a mobile number"),
    row(21617, Permanent, "the text is too long"),
    row(21619, Permanent, "the message has no text"),
    row(21635, FallOver, "the number is a landline"),
    row(21654, Permanent, "the content template does not exist"),
    row(21656, Permanent, "the variables of the content template are not valid"),
    row(21659, ParkChannel, "our sender is not a number of the account"),
    row(21660, ParkChannel, "our sender belongs to another account"),
    row(21703, ParkChannel, "the messaging service has no sender"),
    row(21705, ParkChannel, "the messaging service does not exist"),
    row(21900, Permanent, "the DLT entity id is not valid"),
    row(21901, Permanent, "the DLT template id is not valid"),
    row(30001, Temporary, "the provider's queue overflowed"),
    row(30002, ParkChannel, "the account was suspended while the message waited"),
    row(30003, Temporary, "the handset cannot be reached (off, or out of range)"),
    row(30004, FallOver, "the message is blocked for this recipient"),
    row(30005, FallOver, "the number is unknown or no longer in use"),
    row(30006, FallOver, "the number is a landline, or its carrier cannot be reached"),
    row(30007, Permanent, "the carrier filtered the message"),
    row(30008, Temporary, "the carrier gave no reason"),
    row(30009, Temporary, "a part of the message is missing"),
    row(30010, Permanent, "the price is above the limit that was set"),
    row(30011, FallOver, "pictures are not possible on this network"),
    row(30017, Temporary, "the carrier's network is congested"),
    row(30018, FallOver, "the destination carrier needs a registered sender"),
    row(30019, Permanent, "the carrier found the content too large"),
    row(30022, Throttled, "the carrier's rate for our sender is exceeded"),
    row(30023, ParkChannel, "the carrier's daily cap for our sender is reached"),
    row(30024, ParkChannel, "our sender is not provisioned with the carrier"),
    row(30034, ParkChannel, "our number is not registered with a campaign (A2P 10DLC)"),
    row(30035, ParkChannel, "our sender is not activated yet"),
    row(30036, FallOver, "the message waited longer than it was valid"),
    row(30410, Temporary, "the carrier did not answer in time"),
    row(32018, FallOver, "the number cannot be reached over SIP"),
    row(63038, ParkChannel, "the account's daily number of messages is reached"),
];

/// What a final answer of the telephone network means, by its SIP code (RFC 3261, section 21), when a call failed.
pub const SIP_MEANINGS: &[Meaning] = &[
    row(403, FallOver, "the network refuses calls to this number"),
    row(404, FallOver, "the number does not exist"),
    row(408, Temporary, "the network gave no answer in time"),
    row(410, FallOver, "the number is no longer in use"),
    row(480, Temporary, "the telephone cannot be reached now"),
    row(484, FallOver, "the number is incomplete"),
    row(486, Temporary, "the line is busy"),
    row(487, Temporary, "the call ended before it was answered"),
    row(488, FallOver, "the telephone cannot take this kind of call"),
    row(500, Temporary, "the network had an internal error"),
    row(502, Temporary, "the network could not route the call"),
    row(503, Temporary, "the network is congested"),
    row(504, Temporary, "the network gave no answer in time"),
    row(600, Temporary, "every line of this number is busy"),
    row(603, FallOver, "the call was declined"),
    row(604, FallOver, "the number does not exist"),
    row(607, FallOver, "the person rejected the call as unwanted"),
];

/// What a code means; one that is not in the table means `otherwise`.
#[must_use]
pub fn refusal(code: u32, otherwise: FailureClass) -> Refusal {
    find(MEANINGS, code).map_or_else(
        || Refusal {
            class: otherwise,
            code: code.to_string(),
            detail: format!("see https://www.twilio.com/docs/api/errors/{code}"),
            retry_after: None,
        },
        Meaning::refusal,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::meaning::assert_well_formed;

    #[test]
    fn tables_are_sorted_and_complete() {
        assert_well_formed(MEANINGS);
        assert_well_formed(SIP_MEANINGS);
    }

    #[test]
    fn documented_codes_have_the_class_that_their_documentation_asks_for() {
        for (code, class) in [
            (20003, ParkChannel),
            (20429, Throttled),
            (21211, FallOver),
            (21610, OptOut),
            (21614, FallOver),
            (21901, Permanent),
            (30001, Temporary),
            (30002, ParkChannel),
            (30003, Temporary),
            (30006, FallOver),
            (30007, Permanent),
        ] {
            assert_eq!(refusal(code, Temporary).class, class, "{code}");
        }
        assert_eq!(refusal(99_999, FallOver).class, FallOver);
    }
}
