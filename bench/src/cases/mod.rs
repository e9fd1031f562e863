//! The cases, in the order in which they run. A new one is a file here and a line in [`ALL`].

mod capture;
mod events;
mod fallback;
mod faults;
mod growth;
mod idle;
mod inbound;
mod interactive;
mod plan;
mod reading;
mod receipts;
mod relay;
mod sms;
pub mod soak;
mod way;
mod worker;

use futures::future::BoxFuture;

use crate::{bench::Bench, report::Entry};

/// The figures of a case, once they are there.
pub type Figures<'a> = BoxFuture<'a, anyhow::Result<Vec<Entry>>>;

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name: what `CASE=` selects by, and how the names of its entries begin.
    pub name: &'static str,
    /// What it measures, in a sentence.
    pub about: &'static str,
    /// Measures it.
    pub run: for<'a> fn(&'a Bench) -> Figures<'a>,
}

/// Every case.
pub const ALL: &[Case] = &[
    capture::writers::CASE,
    capture::statement::CASE,
    capture::latency::CASE,
    capture::drain::CASE,
    capture::faults::CASE,
    plan::CASE,
    relay::CASE,
    worker::CASE,
    way::CASE,
    interactive::CASE,
    sms::CASE,
    receipts::CASE,
    inbound::CASE,
    fallback::CASE,
    growth::CASE,
    reading::CASE,
    events::CASE,
    idle::CASE,
    faults::CASE,
];

/// The names of all cases.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|case| case.name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_says_what_it_measures() {
        let names: HashSet<&str> = names().into_iter().collect();
        assert_eq!(names.len(), ALL.len());
        for case in ALL {
            assert!(case.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", case.name);
            assert!(case.about.ends_with('.') && case.about.len() > 20, "{}", case.name);
        }
    }
}
