//! Calls of the server: deadlines, request ids, and bounded repeats of what is safe to repeat.
//!
//! It knows messages as bytes and descriptors only; what is asked and how answers look is for `nouns` and `view`.

mod codec;
mod request_id;
pub mod retry;

use std::time::{Duration, Instant};

use futures::Stream;
use prost::bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use self::codec::Encoded;
use self::retry::Retries;
use crate::error::Error;

/// How long a call may take when nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The greatest answer that is taken: more than the contract's 8 MiB, so that the server's limit is the one that counts.
const ANSWER_LIMIT: usize = 64 << 20;

/// The metadata that says who acts.
const ACTOR: &str = "switchboard-actor";

/// How the server is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address, such as `http://127.0.0.1:7440`.
    pub server: String,
    /// How long a call may take; `None` means the default for single calls and no limit for streams.
    pub timeout: Option<Duration>,
    /// How often a call is repeated at most.
    pub retries: u32,
    /// The id of the request; `None` means that each write gets a fresh one.
    pub request_id: Option<String>,
    /// Who acts, such as `operators/asha`; `None` means that nobody is named.
    pub actor: Option<String>,
}

/// A connection that is made when it is first needed.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    settings: Settings,
    actor: Option<AsciiMetadataValue>,
}

impl Client {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// `Error::Usage` when the address is none.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::Usage(format!("--server {}: {why}; it must be like http://127.0.0.1:7440", settings.server))
        };
        if !settings.server.starts_with("http://") {
            return Err(wrong("only plain http:// addresses are spoken (the server listens on loopback)"));
        }
        let endpoint = Endpoint::from_shared(settings.server.clone()).map_err(|error| wrong(&error.to_string()))?;
        let actor = settings.actor.as_deref().map(AsciiMetadataValue::try_from).transpose();
        let actor = actor.map_err(|_| Error::Usage("--actor: must be a name such as operators/asha".to_owned()))?;
        Ok(Self { channel: endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy(), settings, actor })
    }

    /// Calls a method once, repeating it while the server is unavailable, and returns the encoded answer.
    ///
    /// # Errors
    /// `Error::Refused` with the last status.
    pub async fn unary(&self, method: &MethodDescriptor, mut message: DynamicMessage) -> Result<Bytes, Error> {
        self.fill_request_id(&mut message);
        self.unary_at(&path(method)?, message.encode_to_vec().into()).await
    }

    /// The same by path, for services that are not in the contract; a repeat must do no harm.
    ///
    /// # Errors
    /// As `unary`.
    pub async fn unary_at(&self, path: &PathAndQuery, message: Bytes) -> Result<Bytes, Error> {
        let timeout = self.settings.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let end = Instant::now() + timeout;
        let mut retries = Retries::new(self.settings.retries);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let status = match within(left, self.once(path, message.clone(), left)).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            match retries.pause(&status) {
                Some(pause) if Instant::now() + pause < end => tokio::time::sleep(pause).await,
                _ => return Err(status.into()),
            }
        }
    }

    async fn once(&self, path: &PathAndQuery, message: Bytes, left: Duration) -> Result<Bytes, Status> {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| normal(Status::from_error(error.into())))?;
        let mut request = Request::new(message);
        request.set_timeout(left);
        if let Some(actor) = &self.actor {
            request.metadata_mut().insert(ACTOR, actor.clone());
        }
        Ok(grpc.unary(request, path.clone(), Encoded).await.map_err(normal)?.into_inner())
    }

    /// Opens a stream of answers to a stream of messages; one message is a stream of one. Nothing is repeated here.
    ///
    /// # Errors
    /// The status with which the server refused.
    pub async fn stream(
        &self,
        method: &MethodDescriptor,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, Error> {
        let path = path(method)?;
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| normal(Status::from_error(error.into())))?;
        Ok(grpc.streaming(Request::new(messages), path, Encoded).await.map_err(normal)?.into_inner())
    }

    /// Sets the request id of a message that changes something; `unary` does so by itself.
    pub fn fill_request_id(&self, message: &mut DynamicMessage) {
        request_id::fill(message, self.settings.request_id.as_deref());
    }

    /// The timeout that was asked for, if any was.
    pub fn asked_timeout(&self) -> Option<Duration> {
        self.settings.timeout
    }

    /// How often is repeated at most.
    pub fn retries(&self) -> u32 {
        self.settings.retries
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }
}

/// Waits no longer than this.
async fn within<T>(left: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(left, call).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> Status {
    Status::deadline_exceeded("no answer within --timeout")
}

/// A status as it was meant: a connection that broke is UNAVAILABLE, whatever the transport calls it.
pub fn normal(status: Status) -> Status {
    // Transport and server keep the deadline too, and call it CANCELLED.
    if status.code() == Code::Cancelled && status.message().starts_with("Timeout expired") {
        return late();
    }
    let broken = matches!(status.code(), Code::Unknown | Code::Cancelled)
        && status.details().is_empty()
        && std::error::Error::source(&status).is_some();
    let refused = status.code() == Code::Unavailable && status.message() == "tcp connect error";
    if !broken && !refused {
        return status;
    }
    let mut words = vec![status.message().to_owned()];
    let mut source = std::error::Error::source(&status);
    while let Some(error) = source {
        let text = error.to_string();
        if !words.contains(&text) && text != "transport error" {
            words.push(text);
        }
        source = error.source();
    }
    Status::unavailable(words.join(": "))
}

fn path(method: &MethodDescriptor) -> Result<PathAndQuery, Error> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    PathAndQuery::try_from(path).map_err(|error| Error::Usage(error.to_string()))
}
