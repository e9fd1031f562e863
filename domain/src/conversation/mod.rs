//! The life of a conversation: who is present, what that makes of it, when it may be closed, and which channel is in use.
//!
//! What is stored are facts: how many channel sessions are open, how many agents take part, what is still owed to the
//! contact. The state is derived from them by one function ([`state`]) and never set. A channel session has a machine of its
//! own ([`session`]), and a clock that runs while the contact does not answer ([`inactivity`]). Nothing here knows a
//! database; `server/src/services/conversations` stores what is decided here.

pub mod active;
pub mod closing;
pub mod identify;
pub mod inactivity;
pub mod intent;
pub mod machine;
pub mod participant;
pub mod routing;
pub mod session;

#[cfg(test)]
mod model_tests;

pub use intent::Intent;
pub use machine::{Event, Facts, Phase, State, state};
pub use participant::{Kind, Role};
pub use session::EndReason;
