//! What a capture leaves of the writers' throughput: single-row inserts from 1, 8 and 32 connections.

use std::{collections::HashMap, time::Duration};

use futures::FutureExt;

use super::{Capture, Tables};
use crate::{
    bench::Bench,
    cases::Case,
    goal::Goal,
    report::{Entry, compared},
};

/// See the module.
pub const CASE: Case = Case {
    name: "capture-writers",
    about: "Single-row inserts into a watched table against the same table without a trigger.",
    run: |bench| measure(bench).boxed(),
};

/// Connections at once.
const CLIENTS: [usize; 3] = [1, 8, 32];

type Rates = HashMap<(Capture, usize), Vec<f64>>;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let tables = Tables::new(bench).await?;
    let window = bench.scale.of(Duration::from_secs(2), Duration::from_millis(400));
    tables.write(Capture::None, 32, Duration::from_millis(300)).await?; // connections, caches
    let mut rates = Rates::new();
    for round in 0..bench.rounds() {
        for clients in CLIENTS {
            // Each round begins with another table, so that none is always the first after a pause.
            for place in 0..Capture::ALL.len() {
                let capture = Capture::ALL[(place + round) % Capture::ALL.len()];
                let before = tables.stored.events();
                let written = tables.write(capture, clients, window).await?;
                rates.entry((capture, clients)).or_default().push(written.rate);
                tables
                    .settle(match capture {
                        Capture::Ours => Some(before + written.rows),
                        Capture::Filtered => Some(before + written.urgent),
                        Capture::None | Capture::Mute | Capture::NotifyEach => None,
                    })
                    .await?;
            }
        }
        tables.clear().await?;
        bench.say(&format!("capture-writers: round {} of {}", round + 1, bench.rounds()));
    }
    Ok(CLIENTS.iter().flat_map(|clients| entries(&rates, *clients)).collect())
}

fn entries(rates: &Rates, clients: usize) -> Vec<Entry> {
    let of = |capture: Capture| rates.get(&(capture, clients)).map(Vec::as_slice).unwrap_or_default();
    let entry = |what: &str, capture, base: (&str, Capture), goal: Option<f64>| {
        let entry = compared(format!("capture-writers/{clients}/{what}"), "rows/s", of(capture), base.0, of(base.1));
        match goal {
            Some(wanted) => entry.goal(Goal::AtLeastTimes(wanted)),
            None => entry,
        }
    };
    let (none, mute) = (("no trigger", Capture::None), ("same trigger, no wake-up", Capture::Mute));
    let at = |eight: f64, many: f64| match clients {
        8 => Some(eight),
        32 => Some(many),
        _ => None,
    };
    vec![
        entry("ours", Capture::Ours, none, at(0.85, 0.6)).note("consumer alive, storing what it takes"),
        entry("ours-to-mute", Capture::Ours, mute, at(0.92, 0.92))
            .note("the cost of the wake-up and of the live consumer"),
        entry("filtered", Capture::Filtered, none, at(0.9, 0.9)).note("1 row in 100 passes the condition"),
        entry("mute", Capture::Mute, none, None).note("for comparison: nobody is woken, nobody reads"),
        entry("notify-each", Capture::NotifyEach, none, None)
            .note("for comparison: NOTIFY at each commit, nobody listens"),
    ]
}
