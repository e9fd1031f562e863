//! Listening to the wake-ups of other processes, on a connection of its own. What is heard is a hint: whenever something may
//! have been missed, the listener is told to look at everything.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The longest pause before the connection is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// After so long without a word it is asked whether the connection still carries any.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the answer to that may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Hears what is said on `channel` until `stop`. `heard` is given the payload, or nothing when payloads may have been missed:
/// on every new connection.
pub async fn listen(url: &str, channel: &str, stop: CancellationToken, heard: impl Fn(Option<&str>)) {
    let mut pause = Duration::from_millis(100);
    while !stop.is_cancelled() {
        let listening = async {
            let mut listener = PgListener::connect(url).await?;
            listener.listen(channel).await?;
            heard(None);
            pause = Duration::from_millis(100);
            loop {
                match timeout(SILENCE, listener.try_recv()).await {
                    // The library reconnects by itself after some losses, and says so with nothing.
                    Ok(said) => heard(said?.as_ref().map(sqlx::postgres::PgNotification::payload)),
                    // Nothing was said, or nothing can be heard any more. To listen again changes nothing and is answered.
                    Err(_) => {
                        timeout(ANSWER, listener.listen(channel)).await.map_err(|_| sqlx::Error::PoolTimedOut)??
                    }
                }
            }
        };
        let ended: Result<std::convert::Infallible, sqlx::Error> =
            tokio::select! { () = stop.cancelled() => return, ended = listening => ended };
        let Err(error) = ended;
        tracing::debug!(error = %error, "wake-ups of other processes are not heard; tried again");
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
