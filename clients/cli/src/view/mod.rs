//! How answers look for people. Any message can be shown as a record (`record`) or as a row of a table (`table`); what
//! people look at every day has a view of its own. Views only write: they ask nothing and decide nothing.

pub mod campaign;
pub mod channel;
pub mod checks;
pub mod conversation;
pub mod event;
pub mod import;
pub mod notification;
pub mod policy;
pub mod record;
pub mod table;
pub mod template;
pub mod trigger;
pub mod value;
