//! The stream of history from elsewhere: each message is read row by row, what is right is taken, what is wrong is reported.

use prost::Message;
use proto::v1;
use sha2::{Digest, Sha256};
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{
    grpc::{
        convert::{Faults, past as convert},
        idempotent::uncut,
    },
    services::{
        Context, Error, Result, Violation,
        directory::Channel,
        messages::past::{self, Row},
        requests::{self, RequestKey},
        work::Work,
    },
};

/// Rows in one part of the stream.
const MAX_ROWS: usize = 1000;
/// The most rejected rows that are named.
const MAX_NAMED: usize = 10_000;
const METHOD: &str = "ImportMessagesRequest";

/// Takes the whole stream. With a request id that was answered before nothing is written again: the content is compared and
/// the first answer given.
pub(super) async fn import(
    context: &Context,
    mut stream: Streaming<v1::ImportMessagesRequest>,
) -> std::result::Result<v1::ImportMessagesResponse, Status> {
    let Some(first) = stream.message().await? else { return Ok(v1::ImportMessagesResponse::default()) };
    let mut run = Run::begin(context, first.options.clone()).await?;
    let mut next = Some(first);
    while let Some(message) = next {
        run.take(context, message).await?;
        next = stream.message().await?;
    }
    run.end(context).await
}

struct Run {
    channel: Channel,
    country: Option<String>,
    validate_only: bool,
    id: Option<Uuid>,
    /// Whether the request id was answered before.
    repeated: bool,
    content: Sha256,
    response: v1::ImportMessagesResponse,
}

impl Run {
    async fn begin(context: &Context, given: Option<v1::import_messages_request::Options>) -> Result<Self> {
        let mut faults = Faults::in_country(context.settings.default_country.clone());
        let given = faults.required("options", given);
        let (id, channel) = faults.inside("options", |faults| {
            faults.country("default_country", &given.default_country);
            let id = Uuid::parse_str(&given.request_id).ok();
            if id.is_none() && !given.request_id.is_empty() {
                faults.note("request_id", "must be a UUID, such as one of version 4, or empty");
            }
            (id, faults.name("channel", "channels", &given.channel))
        });
        faults.finish()?;
        let own = Some(given.default_country.clone()).filter(|country| !country.is_empty());
        let id = id.filter(|_| !given.validate_only);
        Ok(Self {
            channel: past::channel(context, &channel).await?,
            country: own.or_else(|| context.settings.default_country.clone()),
            validate_only: given.validate_only,
            id,
            repeated: match id {
                Some(id) => requests::is_known(context, id).await?,
                None => false,
            },
            content: Sha256::new().chain_update(given.encode_to_vec()),
            response: v1::ImportMessagesResponse::default(),
        })
    }

    async fn take(&mut self, context: &Context, message: v1::ImportMessagesRequest) -> std::result::Result<(), Status> {
        if message.rows.len() > MAX_ROWS {
            return Err(Error::BatchTooLarge { limit: MAX_ROWS }.into());
        }
        for row in &message.rows {
            self.content.update(row.encode_length_delimited_to_vec());
        }
        if self.repeated {
            return Ok(());
        }
        let rows = self.read(message.rows, context);
        let (context, channel, validate_only) = (context.clone(), self.channel.clone(), self.validate_only);
        let counts = uncut(async move { past::take(&context, &channel, &rows, validate_only).await }).await?;
        self.response.created_count += counts.created;
        self.response.unchanged_count += counts.unchanged;
        Ok(())
    }

    fn read(&mut self, rows: Vec<v1::import_messages_request::Row>, context: &Context) -> Vec<Row> {
        let now = context.clock.now();
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            self.response.received_count += 1;
            let (line, mut faults) = (row.line, Faults::in_country(self.country.clone()));
            let read = convert::row(row, now, &mut faults);
            match (faults.into_violations().as_slice(), read) {
                ([first, rest @ ..], _) => self.reject(line, first, rest),
                ([], read) => right.extend(read),
            }
        }
        right
    }

    /// A row is named once, by its first fault; the words tell of the others.
    fn reject(&mut self, line: i64, first: &Violation, rest: &[Violation]) {
        self.response.rejected_count += 1;
        if self.response.rejected_rows.len() >= MAX_NAMED {
            return;
        }
        let others = rest.iter().map(|v| format!("; {} {}", v.field, v.description)).collect::<String>();
        self.response.rejected_rows.push(v1::RejectedRow {
            line,
            field: first.field.clone(),
            reason: first.reason.to_owned(),
            description: format!("{}{others}", first.description),
        });
    }

    async fn end(self, context: &Context) -> std::result::Result<v1::ImportMessagesResponse, Status> {
        let Some(id) = self.id else { return Ok(self.response) };
        let (context, fingerprint, response) = (context.clone(), self.content.finalize().to_vec(), self.response);
        uncut(async move {
            let mut work = Work::begin(&context).await?;
            let key = RequestKey { id, method: METHOD, fingerprint: &fingerprint };
            if let Some(stored) = requests::begin(&mut work, key).await? {
                let decoded = v1::ImportMessagesResponse::decode(stored.as_slice());
                return Ok(decoded.map_err(|e| crate::storage::Error::Corrupt(e.to_string()))?);
            }
            requests::finish(&mut work, id, &response.encode_to_vec()).await?;
            work.commit(&context).await?;
            Ok(response)
        })
        .await
    }
}
