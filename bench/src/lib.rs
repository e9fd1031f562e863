//! Measures Switchboard: each figure against its own baseline in the same run, interleaved, several rounds, as a report that a
//! program can read and a table.
//!
//! Start with [`cases`], which lists what is measured. A case is given a [`bench::Bench`] (servers, sizes) and gives back
//! [`report::Entry`]s. *Ours* is always the shipped code: functions of the libraries, or whole processes, never a copy of their SQL;
//! *baselines* are written here by hand, as the fastest plain way to do the same. It may see every library; nothing may need it.

pub mod bench;
pub mod cases;
pub mod cpu;
pub mod goal;
pub mod rabbit;
pub mod report;
pub mod run;
pub mod select;
pub mod statements;
pub mod stats;
pub mod table;
pub mod world;
