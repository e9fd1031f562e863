//! The nouns of the command line: one file each, with its verbs, its arguments, its examples, and the requests that they
//! become. What several nouns share is in `shared` and `plan`.

pub mod audiences;
pub mod call_lists;
pub mod campaigns;
pub mod channels;
pub mod consents;
pub mod contacts;
pub mod conversations;
pub mod events;
pub mod import;
pub mod messages;
pub mod notifications;
pub mod plan;
pub mod policies;
pub mod send;
pub mod shared;
pub mod sources;
pub mod templates;
pub mod trigger_kinds;
pub mod triggers;
