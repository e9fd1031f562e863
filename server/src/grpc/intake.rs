//! What the two imports have in common: a stream that is sent again is known by its request id and its content, and rows that are
//! wrong are named. What a row is stands with each import (`contacts::import`, `messages::import`).

use prost::Message;
use proto::v1;
use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::Uuid;

use super::{convert::Faults, idempotent::uncut};
use crate::services::{
    Context, Result, Violation,
    requests::{self, RequestKey},
    work::Work,
};

/// The most rejected rows that are named.
const MAX_NAMED: usize = 10_000;

/// What is known of one stream.
pub(super) struct Intake {
    /// The message of the stream, by which requests are told apart.
    method: &'static str,
    id: Option<Uuid>,
    repeated: bool,
    content: Sha256,
}

impl Intake {
    /// Begins a stream that opened with these options. Without an id nothing is remembered.
    pub(super) async fn begin(
        context: &Context,
        method: &'static str,
        id: Option<Uuid>,
        options: &impl Message,
    ) -> Result<Self> {
        let repeated = match id {
            Some(id) => requests::is_known(context, id).await?,
            None => false,
        };
        Ok(Self { method, id, repeated, content: Sha256::new().chain_update(options.encode_to_vec()) })
    }

    /// Reads the content of rows. Says whether they were answered for before, and must not be taken again.
    pub(super) fn is_repeated<M: Message>(&mut self, rows: &[M]) -> bool {
        for row in rows {
            self.content.update(row.encode_length_delimited_to_vec());
        }
        self.repeated
    }

    /// Remembers the answer; or gives the first one, where the same stream was answered before.
    ///
    /// # Errors
    /// When another content came with the same request id, and what storage says.
    pub(super) async fn end<R: Message + Default + 'static>(
        self,
        context: &Context,
        response: R,
    ) -> std::result::Result<R, Status> {
        let Some(id) = self.id else { return Ok(response) };
        let (context, method, fingerprint) = (context.clone(), self.method, self.content.finalize().to_vec());
        uncut(async move {
            let mut work = Work::begin(&context).await?;
            let key = RequestKey { id, method, fingerprint: &fingerprint };
            if let Some(stored) = requests::begin(&mut work, key).await? {
                let decoded = R::decode(stored.as_slice());
                return Ok(decoded.map_err(|e| crate::storage::Error::Corrupt(e.to_string()))?);
            }
            requests::finish(&mut work, id, &response.encode_to_vec()).await?;
            work.commit(&context).await?;
            Ok(response)
        })
        .await
    }
}

/// The request id of a stream's options; a trial run has none.
pub(super) fn request_id(given: &str, validate_only: bool, faults: &mut Faults) -> Option<Uuid> {
    let id = Uuid::parse_str(given).ok();
    if id.is_none() && !given.is_empty() {
        faults.note("request_id", "must be a UUID, such as one of version 4, or empty");
    }
    id.filter(|_| !validate_only)
}

/// Names a row among the rejected ones once, by its first fault; the words tell of the others.
pub(super) fn reject(named: &mut Vec<v1::RejectedRow>, line: i64, first: &Violation, rest: &[Violation]) {
    if named.len() >= MAX_NAMED {
        return;
    }
    let others = rest.iter().map(|v| format!("; {} {}", v.field, v.description)).collect::<String>();
    named.push(v1::RejectedRow {
        line,
        field: first.field.clone(),
        reason: first.reason.to_owned(),
        description: format!("{}{others}", first.description),
    });
}
