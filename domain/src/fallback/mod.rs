//! When a notification moves to its next step, and what the next step is: section by section the rules of falling back.
//!
//! Read [`policy`] first (what a policy says), then [`enter()`] (which step can be sent, and how), [`decide()`] (what a timer or
//! new evidence leads to), [`outcome`] and [`receipt`] (what one attempt, one receipt does to its delivery), [`answer`]
//! (which notification an inbound message answers), [`wanted()`] (the one question that claim, mark, requeue and repeat ask)
//! and [`catch_up()`] (silence during our own outage is not silence). Nothing here stores, waits or reads a clock.

pub mod answer;
mod catch_up;
mod decide;
mod enter;
pub mod facts;
pub mod outcome;
pub mod policy;
pub mod receipt;
pub mod validate;
pub mod wanted;

pub use catch_up::{MAX_CATCH_UP, Outage, catch_up};
pub use decide::{Decision, DeliveryFacts, HOLD, NotificationFacts, Now, decide};
pub use enter::{Entered, Entry, MAX_OUTAGE_WAIT, Send, Skip, Then, enter};
pub use facts::{AddressFacts, ChannelFact, ChannelFacts, ContentFact, QuietRule, RecipientFacts, TemplateFact};
pub use outcome::{OutcomeDecision, OutcomeFacts, after_asked, after_lost_lease, after_outcome};
pub use policy::{OnFailure, Policy, QuietHours, Step, Success, Target};
pub use receipt::{ReceiptDecision, ReceiptFacts, after_receipt};
pub use validate::{PolicyWorld, WorldChannel, WorldTemplate};
pub use wanted::{NotWanted, WantedFacts, wanted, wanted_later};

#[cfg(test)]
mod stories;
