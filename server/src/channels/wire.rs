//! One HTTP call to a provider, and an honest word on how it ended: not sent, not known, or answered.
//!
//! No redirects, no retries inside, answers bounded. An error never carries the address that was called, because some
//! providers want credentials in it. What an answer *means* is the connector's business; [`by_status`] is the last resort.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::FailureClass;
use reqwest::{Client, RequestBuilder, StatusCode, Url, header, redirect};

use super::{FetchError, Refusal, Sent, settings::is_loopback};

/// The largest answer that is read, in bytes; what is longer is cut, and then settled by its status alone.
pub const MAX_ANSWER: usize = 512 * 1024;

/// The longest wait that a provider may ask for; a longer one is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Installs the process's TLS provider where none is installed yet. Safe to call often and from several threads.
pub fn install_tls_provider() {
    // An error means that another caller was first: there is a provider, which is all that is asked.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client for one provider's address; the whole call, connecting included, takes at most `timeout`.
///
/// # Errors
/// Says in words what is wrong, such as a machine without certificate authorities.
pub fn client(base_url: &str, timeout: Duration) -> Result<Client, String> {
    install_tls_provider();
    let mut builder = Client::builder()
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
        .timeout(timeout)
        // Below the idle time after which providers' load balancers close: a request on a closed connection is UNKNOWN.
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    let local = Url::parse(base_url).is_ok_and(|url| url.host_str().is_some_and(is_loopback));
    if local {
        builder = builder.no_proxy();
    }
    if local && base_url.starts_with("http:") {
        // No certificate will ever be checked, so a machine without authorities can still talk to a local gateway.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| format!("cannot be called from this machine: {}", words(&error)))
}

/// An answer, whatever it says.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// How long the provider asks us to wait (`Retry-After`), at most a day.
    pub retry_after: Option<Duration>,
    /// The body, cut at [`MAX_ANSWER`] or where reading it failed.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON, if it is JSON of that shape.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request certainly never reached the provider.
    #[error("{0}")]
    NotSent(String),
    /// It may have reached the provider.
    #[error("{0}")]
    Unknown(String),
}

impl From<CallError> for Sent {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent(detail) => Self::NotSent { detail },
            CallError::Unknown(detail) => Self::Unknown { detail },
        }
    }
}

/// Makes one call.
///
/// # Errors
/// [`CallError::NotSent`] when no connection was made (refused, name not found, TLS failed, connecting took too long)
/// or the request could not even be written down; [`CallError::Unknown`] when no answer came after that.
pub async fn call(request: RequestBuilder) -> Result<Reply, CallError> {
    let mut response = request.send().await.map_err(|error| {
        if error.is_connect() || error.is_builder() {
            CallError::NotSent(words(&error))
        } else {
            CallError::Unknown(words(&error))
        }
    })?;
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value, Utc::now()));
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(Reply { status, retry_after, body })
}

/// How long fetching one file may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A file as it came, or the address where it really lies.
#[derive(Debug)]
pub enum Download {
    /// The whole file.
    Whole {
        /// The content type; empty when none was said.
        mime_type: String,
        /// The bytes.
        bytes: bytes::Bytes,
    },
    /// It lies elsewhere; credentials must not be sent there.
    Elsewhere(Url),
}

/// Fetches a file of at most `max_bytes`. Redirects are told, not followed.
///
/// # Errors
/// [`FetchError::Never`] for a file that is bigger, [`FetchError::Lost`] when it is gone, else [`FetchError::Later`].
pub async fn download(request: RequestBuilder, max_bytes: usize) -> Result<Download, FetchError> {
    let request = request.timeout(DOWNLOAD_TIMEOUT);
    let mut response = request.send().await.map_err(|error| FetchError::Later(words(&error)))?;
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| response.url().join(text).ok());
        return target.map(Download::Elsewhere).ok_or_else(|| FetchError::Later("a redirect to nowhere".to_owned()));
    }
    if !status.is_success() {
        let says = format!("HTTP {}", status.as_u16());
        return Err(match status.as_u16() {
            404 | 410 => FetchError::Lost(says),
            _ => FetchError::Later(says),
        });
    }
    let too_big = || FetchError::Never(format!("the file is bigger than {max_bytes} bytes"));
    let mime_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime_type = mime_type.unwrap_or_default().to_owned();
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max_bytes) {
        return Err(too_big());
    }
    let mut bytes = bytes::BytesMut::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::Later(words(&error)))? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(too_big());
        }
        bytes.extend_from_slice(&chunk);
    }
    if announced.is_some_and(|length| length != bytes.len()) {
        return Err(FetchError::Later("the file ended before its end".to_owned()));
    }
    Ok(Download::Whole { mime_type, bytes: bytes.freeze() })
}

/// What an answer means when its body says nothing that the connector knows. A bare 5xx is not known: a gateway gives
/// it both before and after the provider took the message. So is a 2xx without an id.
#[must_use]
pub fn by_status(reply: &Reply) -> Sent {
    let status = reply.status.as_u16();
    let (class, words) = match status {
        429 => (FailureClass::Throttled, "the provider asks for fewer calls"),
        401 | 403 | 407 => (FailureClass::ParkChannel, "the provider refuses the credentials"),
        300..=399 => (FailureClass::ParkChannel, "the address redirects: base_url is not the provider's API"),
        404 | 405 | 410 => {
            (FailureClass::ParkChannel, "nothing takes messages at this address: check base_url and account")
        }
        408 | 425 => return unknown(status),
        400..=499 => (FailureClass::Permanent, "the provider refuses the request"),
        _ => return unknown(status),
    };
    Sent::Refused(Refusal {
        class,
        code: format!("http-{status}"),
        detail: words.to_owned(),
        retry_after: reply.retry_after,
    })
}

fn unknown(status: u16) -> Sent {
    Sent::Unknown { detail: format!("HTTP {status} without an answer that settles it") }
}

/// What went wrong, by kind alone: the error's own text may hold the address and its query.
fn words(error: &reqwest::Error) -> String {
    let what = if error.is_builder() {
        "the request cannot be written"
    } else if error.is_connect() && error.is_dns() {
        "the host name was not found"
    } else if error.is_connect() && error.is_timeout() {
        "no connection in time"
    } else if error.is_connect() {
        "no connection (refused, or TLS failed)"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection ended before the answer"
    };
    what.to_owned()
}

fn retry_after(value: &header::HeaderValue, now: DateTime<Utc>) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            (until.with_timezone(&Utc) - now).to_std().unwrap_or_default()
        }
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::testing::{Peer, Play};

    async fn get(base: &str, timeout: Duration) -> Result<Reply, CallError> {
        call(client(base, timeout).unwrap().get(base)).await
    }

    #[tokio::test]
    async fn a_refused_connection_was_not_sent() {
        let unused = Peer::address_that_refuses().await;
        assert!(matches!(get(&unused, Duration::from_secs(2)).await, Err(CallError::NotSent(_))));
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_was_not_sent() {
        let outcome = get("http://switchboard.invalid", Duration::from_secs(4)).await;
        assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_failed_tls_handshake_was_not_sent() {
        let peer = Peer::playing([Play::Raw(b"this is no TLS record\r\n".to_vec())]).await;
        let base = peer.base_url.replace("http:", "https:");
        assert!(matches!(get(&base, Duration::from_secs(2)).await, Err(CallError::NotSent(_))));
    }

    #[tokio::test]
    async fn silence_and_a_closed_connection_after_the_request_are_not_known() {
        for play in [Play::Silence, Play::Close] {
            let peer = Peer::playing([play]).await;
            let outcome = get(&peer.base_url, Duration::from_millis(300)).await;
            assert!(matches!(outcome, Err(CallError::Unknown(_))), "{outcome:?}");
            assert_eq!(peer.requests().len(), 1);
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut() {
        let peer = Peer::playing([Play::Answer(200, "text/plain", "x".repeat(2 * MAX_ANSWER))]).await;
        assert_eq!(get(&peer.base_url, Duration::from_secs(5)).await.unwrap().body.len(), MAX_ANSWER);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let peer =
            Peer::playing([Play::Raw(b"HTTP/1.1 307 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_vec())])
                .await;
        let reply = get(&peer.base_url, Duration::from_secs(2)).await.unwrap();
        assert!(matches!(by_status(&reply), Sent::Refused(Refusal { class: FailureClass::ParkChannel, .. })));
        assert_eq!(peer.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_file_is_fetched_whole_and_one_that_is_too_big_is_refused() {
        let get = |peer: &Peer| client(&peer.base_url, Duration::from_secs(2)).unwrap().get(&peer.base_url);
        let peer = Peer::playing([Play::Answer(200, "image/png", "12345".to_owned())]).await;
        let whole = download(get(&peer), 5).await;
        assert!(
            matches!(whole, Ok(Download::Whole { mime_type, bytes }) if mime_type == "image/png" && &bytes[..] == b"12345")
        );
        let peer = Peer::playing([Play::Answer(200, "image/png", "123456".to_owned())]).await;
        assert!(matches!(download(get(&peer), 5).await, Err(FetchError::Never(_))));
        let peer = Peer::playing([Play::Answer(404, "text/plain", String::new())]).await;
        assert!(matches!(download(get(&peer), 5).await, Err(FetchError::Lost(_))));
        let cut = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n123".to_vec();
        let peer = Peer::playing([Play::Raw(cut)]).await;
        assert!(matches!(download(get(&peer), 50).await, Err(FetchError::Later(_))));
    }

    #[tokio::test]
    async fn a_file_that_lies_elsewhere_is_not_followed_with_credentials() {
        let moved = b"HTTP/1.1 307 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_vec();
        let peer = Peer::playing([Play::Raw(moved)]).await;
        let request = client(&peer.base_url, Duration::from_secs(2)).unwrap().get(&peer.base_url);
        assert!(matches!(download(request, 5).await, Ok(Download::Elsewhere(url)) if url.path() == "/other"));
        assert_eq!(peer.requests().len(), 1);
    }

    #[test]
    fn a_bare_server_error_is_not_known_and_a_bare_refusal_is_one() {
        let class = |status: u16| match by_status(&Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: vec![],
        }) {
            Sent::Refused(refusal) => Some(refusal.class),
            _ => None,
        };
        for status in [200, 204, 408, 500, 502, 503, 504] {
            assert_eq!(class(status), None, "{status}");
        }
        assert_eq!(class(400), Some(FailureClass::Permanent));
        assert_eq!(class(401), Some(FailureClass::ParkChannel));
        assert_eq!(class(429), Some(FailureClass::Throttled));
    }

    #[test]
    fn reads_the_wait_in_seconds_and_as_a_date_and_bounds_it() {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let read = |text: &'static str| retry_after(&header::HeaderValue::from_static(text), now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Fri, 20 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Fri, 20 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(read("soon"), None);
    }
}
