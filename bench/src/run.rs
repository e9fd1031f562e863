//! Runs cases one after another. One that fails is reported, and the rest goes on.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::time::timeout;

use crate::{bench::Bench, cases::Case, report::Entry};

/// How long one case may take; a case that hangs must not keep the rest from being measured.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// The same in a quick run.
const QUICK_PATIENCE: Duration = Duration::from_secs(90);

/// Runs the cases and gives back all their entries; `each` is told the entries so far after each case.
pub async fn run(bench: &Bench, cases: &[Case], mut each: impl FnMut(&[Entry])) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (place, case) in cases.iter().enumerate() {
        bench.say(&format!("{}/{} {}: {}", place + 1, cases.len(), case.name, case.about));
        let patience = bench.scale.of(PATIENCE, QUICK_PATIENCE);
        let measured = timeout(patience, AssertUnwindSafe((case.run)(bench)).catch_unwind()).await;
        let found = match measured {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => failed(bench, case, &format!("{error:#}")),
            Ok(Err(panic)) => failed(bench, case, &format!("it panicked: {}", words(panic.as_ref()))),
            Err(_) => failed(bench, case, &format!("it was not over after {} s", patience.as_secs())),
        };
        entries.extend(found);
        each(&entries);
    }
    entries
}

fn failed(bench: &Bench, case: &Case, error: &str) -> Vec<Entry> {
    bench.say(&format!("{} failed: {error}", case.name));
    vec![Entry::failed(case.name, error)]
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cases::Figures, select::Scale};

    fn good(_: &Bench) -> Figures<'_> {
        async { Ok(vec![Entry::new("good/x", "s", &[1.0])]) }.boxed()
    }

    fn bad(_: &Bench) -> Figures<'_> {
        async { anyhow::bail!("no server") }.boxed()
    }

    fn worse(_: &Bench) -> Figures<'_> {
        async { panic!("out of bounds") }.boxed()
    }

    #[tokio::test]
    async fn a_case_that_fails_or_panics_is_reported_and_the_rest_goes_on() {
        let case = |name, run| Case { name, about: "x", run };
        let (bench, mut seen) = (Bench::new(Scale { quick: true }), 0);
        let cases = [case("bad", bad as fn(&Bench) -> Figures<'_>), case("worse", worse), case("good", good)];
        let entries = run(&bench, &cases, |so_far| seen = so_far.len()).await;
        let errors: Vec<_> = entries.iter().map(|e| e.error.as_deref().unwrap_or_default()).collect();
        assert_eq!(errors, ["no server", "it panicked: out of bounds", ""]);
        assert_eq!((seen, entries[2].value), (3, Some(1.0)));
    }
}
