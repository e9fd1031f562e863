//! Server streams that end by themselves: when the server stops, and when the caller's deadline passes. The transport ends
//! neither, and an open stream would hold the shutdown for ever.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::{
    edge::{Deadline, deadline_exceeded},
    status,
};

/// The type of every server stream.
pub type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Ends `items` with UNAVAILABLE when `shutdown` is cancelled, and with DEADLINE_EXCEEDED when the deadline of `request`
/// passes, whichever comes first.
pub fn bounded<R, T: Send + 'static>(
    request: &Request<R>,
    shutdown: &CancellationToken,
    items: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> ResponseStream<T> {
    let deadline = request.extensions().get::<Deadline>().copied();
    let shutdown = shutdown.clone();
    let end = async move {
        let passed = async {
            match deadline {
                Some(Deadline(at)) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Err(shutting_down()),
            () = passed => Err(deadline_exceeded()),
        }
    };
    // What ends first ends the whole: each of the two has a `None` behind it.
    let ended = futures::stream::once(end).map(Some).chain(futures::stream::iter([None]));
    let items = items.map(Some).chain(futures::stream::iter([None]));
    let merged = futures::stream::select(items, ended);
    Box::pin(merged.take_while(|item| std::future::ready(item.is_some())).filter_map(std::future::ready))
}

/// Runs what keeps a stream alive, apart from the call that opened it. It must end by itself when its stream is gone.
pub fn apart(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// The status of a stream that ends because the server stops.
#[must_use]
pub fn shutting_down() -> Status {
    let words = "the server is stopping; connect again, with the last cursor where there is one";
    status::retryable(Code::Unavailable, "SHUTTING_DOWN", words, std::time::Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    async fn last_code(request: Request<()>, shutdown: &CancellationToken) -> Option<Code> {
        let items = futures::stream::iter([Ok(1), Ok(2)]).chain(futures::stream::pending());
        let all: Vec<_> = bounded(&request, shutdown, items).collect().await;
        assert_eq!(all.iter().filter(|i| i.is_ok()).count(), 2);
        all.last().and_then(|i| i.as_ref().err()).map(Status::code)
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops() {
        let shutdown = CancellationToken::new();
        let stopper = shutdown.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stopper.cancel();
        });
        assert_eq!(last_code(Request::new(()), &shutdown).await, Some(Code::Unavailable));
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline() {
        let mut request = Request::new(());
        request.extensions_mut().insert(Deadline(Instant::now() + Duration::from_millis(10)));
        assert_eq!(last_code(request, &CancellationToken::new()).await, Some(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn a_stream_that_is_over_needs_no_end() {
        let items = futures::stream::iter([Ok::<_, Status>(1)]);
        let all: Vec<_> = bounded(&Request::new(()), &CancellationToken::new(), items).collect().await;
        assert!(matches!(all.as_slice(), [Ok(1)]));
    }
}
