//! What the transport would answer on its own account, in the words of the contract: a deadline that passed, a request that is
//! too big, a panic. One layer around all services.

use std::{
    any::Any,
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{MAX_REQUEST_BYTES, status};

/// Answered a little before the deadline, so that the answer is ours and not the transport's CANCELLED.
const AHEAD: Duration = Duration::from_millis(5);

/// When the caller stops waiting; an extension of every request that has a deadline.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Wraps every service.
#[derive(Debug, Clone, Copy)]
pub struct EdgeLayer;

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Edge { inner }
    }
}

/// See [`EdgeLayer`].
#[derive(Debug, Clone)]
pub struct Edge<S> {
    inner: S,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let deadline = timeout_of(request.headers()).map(|t| Deadline(Instant::now() + t.saturating_sub(AHEAD)));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let answer = match deadline {
                None => answer.await,
                Some(Deadline(at)) => match tokio::time::timeout_at(at, answer).await {
                    Ok(answer) => answer,
                    Err(_) => return Ok(deadline_exceeded().into_http()),
                },
            };
            match answer {
                Ok(Ok(response)) => Ok(in_our_words(response)),
                Ok(Err(never)) => match never {},
                Err(panic) => Ok(status::internal(&words_of(panic.as_ref())).into_http()),
            }
        })
    }
}

/// The status of a request whose caller stopped waiting.
#[must_use]
pub fn deadline_exceeded() -> Status {
    let words = "the deadline passed; with a request_id the request may be repeated safely";
    status::because(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", words, [])
}

/// What a panic said, as far as it said anything.
#[must_use]
pub fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

/// The codec refuses what is too big with a status that has no details.
fn in_our_words(response: Response<Body>) -> Response<Body> {
    let too_big = Status::from_header_map(response.headers())
        .filter(|s| s.code() == Code::OutOfRange && s.message().contains("decoded message length too large"));
    if too_big.is_none() {
        return response;
    }
    let limit = MAX_REQUEST_BYTES.to_string();
    let words = format!("the request is bigger than {limit} bytes");
    status::because(Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", &words, [("limit_bytes", limit)]).into_http()
}

/// `grpc-timeout`: one to eight digits and a unit. One that cannot be read is none.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let digits = Some(digits).filter(|d| (1..=8).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))?;
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    type Behaviour = fn() -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

    #[derive(Clone)]
    struct Behaves(Behaviour);

    impl Service<Request<Body>> for Behaves {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answer;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let answer = (self.0)();
            Box::pin(async move { Ok(answer.await) })
        }
    }

    async fn status_of(inner: Behaves, timeout: Option<&'static str>) -> Status {
        let mut request = Request::new(Body::default());
        if let Some(timeout) = timeout {
            request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        let response = EdgeLayer.layer(inner).call(request).await.unwrap();
        Status::from_header_map(response.headers()).expect("a status")
    }

    fn reason(status: &Status) -> String {
        status.get_error_details().error_info().map(|i| i.reason.clone()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_deadline_that_passes_is_said_to_have_passed() {
        let status = status_of(Behaves(|| Box::pin(std::future::pending())), Some("20m")).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_does_not_say_why() {
        let status = status_of(Behaves(|| Box::pin(async { panic!("the password is 123") })), None).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
        assert!(!status.message().contains("password"));
    }

    #[tokio::test]
    async fn what_is_too_big_is_refused_with_the_limit() {
        fn too_big() -> Status {
            Status::out_of_range("Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes")
        }
        let status = status_of(Behaves(|| Box::pin(async { too_big().into_http() })), None).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            timeout_of(&HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]))
        };
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "S", "3", "123456789S", "-1S", "3x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
