//! How every write is made: read, checked, done and recorded in one transaction that the caller cannot cut in half.
//!
//! A caller that goes away, or whose deadline passes, drops its handler; the work runs in a task of its own and is committed
//! or not as a whole. With a `request_id` the caller repeats and gets the first answer.

use futures::future::BoxFuture;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{actor, convert::Faults, edge::words_of, status};
use crate::services::{self, Context, requests, requests::RequestKey, work::Work};

/// A request that writes.
pub trait Write: Message + Clone + 'static {
    /// What is called, as it is recorded.
    const METHOD: &'static str;
    /// Chosen by the caller; empty when the request is not to be recorded.
    fn request_id(&self) -> &str;
    /// Whether everything is checked and nothing stored.
    fn validate_only(&self) -> bool {
        false
    }
}

/// Tells which requests write; `dry` those that can be checked without writing.
macro_rules! writes {
    ($($request:ident $($dry:ident)?),+ $(,)?) => {
        $(impl $crate::grpc::idempotent::Write for proto::v1::$request {
            const METHOD: &'static str = stringify!($request);

            fn request_id(&self) -> &str {
                &self.request_id
            }

            $($crate::grpc::idempotent::$dry!();)?
        })+
    };
}
macro_rules! dry {
    () => {
        fn validate_only(&self) -> bool {
            self.validate_only
        }
    };
}
pub(crate) use {dry, writes};

/// Reads a request, does what it asks in one transaction, and answers.
///
/// # Errors
/// Every violation that `read` noted, else what `run` says.
pub async fn write<R, T, P>(
    context: &Context,
    request: Request<R>,
    read: impl FnOnce(R, &mut Faults) -> T,
    run: impl for<'a> FnOnce(&'a Context, &'a mut Work, T) -> BoxFuture<'a, services::Result<P>> + Send + 'static,
) -> Result<Response<P>, Status>
where
    R: Write,
    T: Send + 'static,
    P: Message + Default + 'static,
{
    let (metadata, _, request) = request.into_parts();
    let mut faults = Faults::in_country(context.settings.default_country.clone());
    let actor = actor::named(&metadata, &mut faults);
    let id = request_id(&request, &mut faults);
    let (validate_only, fingerprint) = (request.validate_only(), fingerprint(&request));
    let asked = read(request, &mut faults);
    faults.finish()?;
    let context = context.clone();
    let work = async move {
        let mut work = Work::begin(&context).await?;
        if let Some(actor) = actor {
            work = work.acted_by(actor);
        }
        let key = id.map(|id| RequestKey { id, method: R::METHOD, fingerprint: &fingerprint });
        if let Some(stored) = answered(&mut work, key.filter(|_| !validate_only)).await? {
            return Ok(stored);
        }
        let response = run(&context, &mut work, asked).await?;
        if validate_only {
            return Ok(response);
        }
        if let Some(id) = id {
            requests::finish(&mut work, id, &response.encode_to_vec()).await?;
        }
        work.commit(&context).await?;
        Ok(response)
    };
    uncut(work).await.map(Response::new)
}

/// Runs work that writes to its end, whatever becomes of the caller.
///
/// # Errors
/// What the work says; INTERNAL when it panicked.
pub async fn uncut<T: Send + 'static>(
    work: impl Future<Output = services::Result<T>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(Status::from),
        Err(error) if error.is_panic() => Err(status::internal(&words_of(error.into_panic().as_ref()))),
        Err(_) => Err(super::stream::shutting_down()),
    }
}

async fn answered<P: Message + Default>(work: &mut Work, key: Option<RequestKey<'_>>) -> services::Result<Option<P>> {
    let Some(key) = key else { return Ok(None) };
    let Some(stored) = requests::begin(work, key).await? else { return Ok(None) };
    let decoded = P::decode(stored.as_slice());
    Ok(Some(decoded.map_err(|error| crate::storage::Error::Corrupt(error.to_string()))?))
}

fn request_id<R: Write>(request: &R, faults: &mut Faults) -> Option<Uuid> {
    let text = request.request_id();
    if text.is_empty() {
        return None;
    }
    let id = Uuid::parse_str(text).ok().filter(|id| !id.is_nil());
    if id.is_none() {
        faults.note("request_id", "must be a UUID, such as one of version 4, or empty");
    }
    id
}

/// Of the whole content. Maps are encoded in the order of their keys, so equal requests have equal bytes.
fn fingerprint<R: Write>(request: &R) -> Vec<u8> {
    Sha256::new().chain_update(R::METHOD).chain_update([0]).chain_update(request.encode_to_vec()).finalize().to_vec()
}
