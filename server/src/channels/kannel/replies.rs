//! What Kannel's answers mean, and what the message centre's answers mean that it passes on.
//!
//! `sendsms` answers 202 with `0: Accepted for delivery` or `3: Queued for later delivery` (user guide, table 10-2).
//! Receipts hold the centre's words: `NACK/<command status>/..` of SMPP 3.4 (section 5.1.3), or a `stat:` of a report.

use domain::delivery::FailureClass::{self, FallOver, ParkChannel, Permanent, Temporary, Throttled};

use super::super::{
    Refusal, Sent,
    meaning::{Meaning, find, row},
    wire::{self, Reply},
};

/// What a command status of SMPP means, sorted.
pub(super) const SMPP_MEANINGS: &[Meaning] = &[
    row(1, Permanent, "the message has an invalid length"),
    row(8, Temporary, "the message centre had an error"),
    row(10, ParkChannel, "the message centre refuses our sender"),
    row(11, FallOver, "the number is not valid"),
    row(13, ParkChannel, "the message centre could not be bound"),
    row(14, ParkChannel, "the message centre refuses the password"),
    row(20, Temporary, "the queue of the message centre is full"),
    row(69, Temporary, "the message centre could not submit the message"),
    row(72, ParkChannel, "the message centre refuses the type of our sender"),
    row(73, FallOver, "the message centre refuses the type of the number"),
    row(88, Throttled, "the message centre asks for fewer messages"),
    row(97, Permanent, "the time of delivery is not valid"),
    row(98, Permanent, "the validity is not valid"),
    row(254, Temporary, "the message centre could not deliver"),
    row(255, Temporary, "the message centre gave no reason"),
];

/// How a call of `sendsms` ended.
pub(super) fn outcome(reply: &Reply, provider_message_id: String) -> Sent {
    let body = String::from_utf8_lossy(&reply.body);
    match (reply.status.as_u16(), body.trim_start().split(':').next().unwrap_or_default()) {
        (200 | 202, "0" | "3") => Sent::Accepted { provider_message_id },
        (200..=299, code) if !code.is_empty() && code.len() <= 3 && code.bytes().all(|byte| byte.is_ascii_digit()) => {
            Sent::Refused(refusal(Permanent, code, "Kannel refuses the message"))
        }
        (503, _) if body.contains("Temporal failure") => {
            Sent::Refused(refusal(Temporary, "http-503", "Kannel has no connection that takes the message now"))
        }
        _ => wire::by_status(reply),
    }
}

/// Why a message failed, by the centre's words in a receipt.
pub(super) fn failure(reply: &str) -> Refusal {
    let nack = reply.strip_prefix("NACK/").and_then(|rest| rest.split('/').next()).and_then(command_status);
    if let Some(code) = nack {
        return find(SMPP_MEANINGS, code).map_or_else(
            || refusal(FallOver, &code.to_string(), "the message centre rejects the message"),
            Meaning::refusal,
        );
    }
    let stat = reply.split("stat:").nth(1).and_then(|rest| rest.split([' ', '+']).next()).unwrap_or_default();
    match stat {
        "EXPIRED" => refusal(FallOver, stat, "the handset was not reached in time"),
        "UNDELIV" => refusal(FallOver, stat, "the message cannot be delivered to this number"),
        "DELETED" => refusal(FallOver, stat, "the message centre deleted the message"),
        "REJECTD" => refusal(FallOver, stat, "the message centre rejects the message"),
        "UNKNOWN" => refusal(Temporary, stat, "the message centre does not know the message"),
        _ => refusal(FallOver, "undelivered", "the message centre gave no reason"),
    }
}

/// A refusal in our own words.
pub(super) fn refusal(class: FailureClass, code: &str, words: &str) -> Refusal {
    Refusal { class, code: code.to_owned(), detail: words.to_owned(), retry_after: None }
}

fn command_status(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::meaning::assert_well_formed;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert_well_formed(SMPP_MEANINGS);
    }

    #[test]
    fn the_centres_words_have_their_class() {
        for (words, class) in [
            ("NACK/88/Throttling error", Throttled),
            ("NACK/0x0000000b/Invalid Destination Address", FallOver),
            ("NACK/20/Message Queue Full", Temporary),
            ("NACK/10/Invalid Source Address", ParkChannel),
            ("NACK/1234/Vendor-specific", FallOver),
            ("id:7 sub:001 dlvrd:000 submit date:2611201000 done date:2611201001 stat:EXPIRED err:001 text:", FallOver),
            ("", FallOver),
            ("id:7 stat:UNKNOWN err:000", Temporary),
        ] {
            assert_eq!(failure(words).class, class, "{words}");
        }
        assert_eq!(failure("id:7 stat:UNDELIV err:011").code, "UNDELIV");
    }
}
