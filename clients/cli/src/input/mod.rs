//! What people type and write in files, made into messages of the contract: names, times, durations, pairs, and whole
//! definitions in JSON or TOML. Everything wrong is said with its place and what would be right.

pub mod definition;
pub mod duration;
pub mod names;
pub mod pairs;
pub mod relax;
pub mod source;
pub mod time;
