//! Waiting on a condition. Tests wait for what they expect, with a deadline, and never for a time that is hoped to be enough.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Asks `condition` again and again until it answers `Ok`, and returns what it answered.
///
/// The condition's error says what is still missing; the last one becomes the failure's text, so write
/// `ensure!(done == 3, "{done} of 3 are delivered")`. Pauses grow from 10 to 200 ms.
///
/// # Errors
/// When `deadline` has passed: where it was called, how often it asked, and the last answer. A condition that does not answer
/// by then is abandoned.
#[track_caller]
pub fn eventually<T>(
    deadline: Duration,
    condition: impl AsyncFnMut() -> anyhow::Result<T>,
) -> impl Future<Output = anyhow::Result<T>> {
    wait(Location::caller(), deadline, condition)
}

async fn wait<T>(
    place: &'static Location<'static>,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    for tries in 1_u32.. {
        match timeout_at(end, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(missing)) => last = Some(missing),
            Err(_) => {
                let missing = last.unwrap_or_else(|| anyhow::anyhow!("the condition itself never answered"));
                return Err(
                    missing.context(format!("{place}: not true after {deadline:?}, try {tries} did not answer"))
                );
            }
        }
        if Instant::now() + pause >= end {
            sleep(end.saturating_duration_since(Instant::now())).await;
            return match (timeout_at(end + LONGEST_PAUSE, condition()).await, last) {
                (Ok(Ok(value)), _) => Ok(value),
                (Ok(Err(missing)), _) | (Err(_), Some(missing)) => {
                    Err(missing.context(format!("{place}: still not true after {deadline:?} and {} tries", tries + 1)))
                }
                (Err(_), None) => Err(anyhow::anyhow!("{place}: the condition did not answer within {deadline:?}")),
            };
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(anyhow::anyhow!("{place}: asked more often than can be counted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_the_condition_answers_once_it_holds() {
        let mut asked = 0;
        let answer = eventually(Duration::from_secs(5), async || {
            asked += 1;
            anyhow::ensure!(asked == 3, "asked {asked} times");
            Ok("third")
        })
        .await;
        assert_eq!(answer.unwrap(), "third");
    }

    #[tokio::test]
    async fn says_where_and_what_was_missing_when_time_is_up() {
        let failure =
            eventually(Duration::from_millis(50), async || -> anyhow::Result<()> { anyhow::bail!("2 of 3 delivered") })
                .await
                .unwrap_err();
        let text = format!("{failure:#}");
        assert!(text.contains("eventually.rs"), "{text}");
        assert!(text.contains("2 of 3 delivered"), "{text}");
    }

    #[tokio::test]
    async fn abandons_a_condition_that_never_answers() {
        let never = eventually(Duration::from_millis(50), async || std::future::pending::<anyhow::Result<()>>().await);
        assert!(never.await.is_err());
    }
}
