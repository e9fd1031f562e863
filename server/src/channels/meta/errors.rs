//! Meta's error codes as data. One table serves refusals of a request and failed statuses.
//!
//! Source: <https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>. Built on `code`: titles and
//! HTTP statuses change.

use std::time::Duration;

use domain::delivery::FailureClass::{
    self, FallOver, NeedsTemplate, OptOut, ParkChannel, Permanent, Temporary, Throttled,
};

use super::super::{
    Refusal,
    meaning::{Meaning, find, row},
};

/// What each code means, sorted by code. The codes 200 to 299 are one row: every one says that a permission is missing.
pub const MEANINGS: &[Meaning] = &[
    row(0, ParkChannel, "the access token is not valid"),
    row(1, Temporary, "the provider had an error and did not take the message"),
    row(2, Temporary, "the provider is not available for a while"),
    row(3, ParkChannel, "the app lacks the capability"),
    row(4, Throttled, "the app makes too many calls"),
    row(10, ParkChannel, "the app lacks the permission"),
    row(100, Permanent, "a parameter of the message is not valid"),
    row(190, ParkChannel, "the access token has expired"),
    row(368, ParkChannel, "the account is restricted for a violation of policy"),
    row(80007, Throttled, "the account sends too fast"),
    row(130_429, Throttled, "our number sends too fast"),
    row(130_472, FallOver, "the recipient is in an experiment and gets no marketing messages"),
    row(130_497, ParkChannel, "the account may not message this country"),
    row(131_000, Temporary, "the provider had an error and did not take the message"),
    row(131_005, ParkChannel, "the permission was not granted, or was removed"),
    row(131_008, Permanent, "a required parameter is missing"),
    row(131_009, Permanent, "the value of a parameter is not valid"),
    row(131_016, Temporary, "the provider is overloaded"),
    row(131_021, FallOver, "recipient and sender are the same number"),
    row(131_026, FallOver, "it cannot be delivered: not on WhatsApp, or an old version of it"),
    row(131_030, FallOver, "the recipient is not in the list of test numbers"),
    row(131_031, ParkChannel, "the account is locked"),
    row(131_042, ParkChannel, "the account cannot be billed"),
    row(131_045, ParkChannel, "our number is not registered, or its certificate is wrong"),
    row(131_047, NeedsTemplate, "more than 24 hours since the person wrote: only a template may be sent"),
    row(131_048, ParkChannel, "the account is limited because messages were reported as spam"),
    row(131_049, FallOver, "the provider withheld it to keep people engaged: not before a day has passed"),
    row(131_050, OptOut, "the person stopped marketing messages"),
    row(131_051, Permanent, "this type of message is not supported"),
    row(131_052, Permanent, "the media could not be downloaded"),
    row(131_053, Permanent, "the media could not be uploaded"),
    row(131_056, Throttled, "too many messages to this person in a short time"),
    row(131_057, Temporary, "the account is in maintenance"),
    row(131_062, FallOver, "a person without a phone number cannot get this message"),
    row(131_064, ParkChannel, "the account is restricted"),
    row(132_000, Permanent, "the number of parameters does not fit the template"),
    row(132_001, Permanent, "the template does not exist in this language, or is not approved"),
    row(132_005, Permanent, "the template is too long with its parameters"),
    row(132_007, Permanent, "the template violates the provider's policy"),
    row(132_008, Permanent, "a parameter does not have the template's format"),
    row(132_012, Permanent, "a parameter does not have the template's format"),
    row(132_015, Permanent, "the template is paused for its quality"),
    row(132_016, Permanent, "the template is disabled for its quality"),
    row(132_068, Permanent, "the flow is blocked"),
    row(132_069, Permanent, "the flow is throttled"),
    row(133_016, Temporary, "our number was registered too often"),
];

const PERMISSION: Meaning = row(200, ParkChannel, "a permission is missing");

/// The code of too many messages to one person; the wait grows by four with each attempt.
pub const PAIR_RATE: u32 = 131_056;

/// The exponent at which the wait stops growing: 4^6 is over an hour.
const LONGEST_WAIT: i16 = 6;

/// Whether the table knows a code.
#[must_use]
pub fn is_known(code: u32) -> bool {
    (200..=299).contains(&code) || find(MEANINGS, code).is_some()
}

/// What a code means after that attempt (from 1); one that is not in the table means `otherwise`.
#[must_use]
pub fn refusal(code: u32, attempt: i16, otherwise: FailureClass) -> Refusal {
    let meaning = find(MEANINGS, code).copied();
    let meaning = meaning.or_else(|| (200..=299).contains(&code).then_some(Meaning { code, ..PERMISSION }));
    let refusal = meaning.map(|meaning| meaning.refusal()).unwrap_or_else(|| Refusal {
        class: otherwise,
        code: code.to_string(),
        detail: "a code that is not in Meta's documentation of this version".to_owned(),
        retry_after: None,
    });
    let wait = (code == PAIR_RATE).then(|| 4_u64.pow(u32::from(attempt.clamp(1, LONGEST_WAIT).unsigned_abs())));
    Refusal { retry_after: wait.map(Duration::from_secs), ..refusal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::meaning::assert_well_formed;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert_well_formed(MEANINGS);
    }

    #[test]
    fn documented_codes_have_their_class() {
        for (codes, class) in [
            (&[1, 2, 131_000, 131_016, 131_057, 133_016][..], Temporary),
            (&[4, 80007, 130_429, 131_056], Throttled),
            (&[131_047], NeedsTemplate),
            (&[131_026, 131_049, 130_472, 131_021, 131_030, 131_062], FallOver),
            (&[131_050], OptOut),
            (&[100, 131_008, 131_009, 131_051, 131_052, 131_053, 132_000, 132_001, 132_005, 132_007], Permanent),
            (&[132_008, 132_012, 132_015, 132_016, 132_068, 132_069], Permanent),
            (&[0, 3, 10, 190, 200, 210, 299, 131_005, 131_031, 131_042, 131_045, 131_048, 131_064, 368], ParkChannel),
            (&[130_497], ParkChannel),
        ] {
            for code in codes {
                assert!(is_known(*code), "{code}");
                assert_eq!(refusal(*code, 1, FailureClass::Technical).class, class, "{code}");
            }
        }
        assert!(!is_known(300));
        assert_eq!(refusal(999, 1, Permanent).class, Permanent);
    }

    #[test]
    fn the_wait_of_the_pair_rate_grows_fourfold_and_stops_growing() {
        let wait = |attempt| refusal(131_056, attempt, Permanent).retry_after.unwrap().as_secs();
        assert_eq!([1, 2, 3, 6, 7, i16::MAX].map(wait), [4, 16, 64, 4096, 4096, 4096]);
        assert_eq!(refusal(131_026, 3, Permanent).retry_after, None);
    }
}
