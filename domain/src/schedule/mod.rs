//! Schedules.
pub mod zone;
