//! The stream of history from elsewhere: each message is read row by row, what is right is taken, what is wrong is reported.

use proto::v1;
use tonic::{Status, Streaming};

use crate::{
    grpc::{
        convert::{Faults, past as convert},
        idempotent::uncut,
        intake::{Intake, reject, request_id},
    },
    services::{
        Context, Error, Result,
        directory::Channel,
        messages::past::{self, Row},
    },
};

/// Rows in one part of the stream.
const MAX_ROWS: usize = 1000;
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
    run.intake.end(context, run.response).await
}

struct Run {
    channel: Channel,
    country: Option<String>,
    validate_only: bool,
    intake: Intake,
    response: v1::ImportMessagesResponse,
}

impl Run {
    async fn begin(context: &Context, given: Option<v1::import_messages_request::Options>) -> Result<Self> {
        let mut faults = Faults::in_country(context.settings.default_country.clone());
        let given = faults.required("options", given);
        let (id, channel) = faults.inside("options", |faults| {
            faults.country("default_country", &given.default_country);
            let id = request_id(&given.request_id, given.validate_only, faults);
            (id, faults.name("channel", "channels", &given.channel))
        });
        faults.finish()?;
        let own = Some(given.default_country.clone()).filter(|country| !country.is_empty());
        Ok(Self {
            channel: past::channel(context, &channel).await?,
            country: own.or_else(|| context.settings.default_country.clone()),
            validate_only: given.validate_only,
            intake: Intake::begin(context, METHOD, id, &given).await?,
            response: v1::ImportMessagesResponse::default(),
        })
    }

    async fn take(&mut self, context: &Context, message: v1::ImportMessagesRequest) -> std::result::Result<(), Status> {
        if message.rows.len() > MAX_ROWS {
            return Err(Error::BatchTooLarge { limit: MAX_ROWS }.into());
        }
        if self.intake.is_repeated(&message.rows) {
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
                ([first, rest @ ..], _) => {
                    self.response.rejected_count += 1;
                    reject(&mut self.response.rejected_rows, line, first, rest);
                }
                ([], read) => right.extend(read),
            }
        }
        right
    }
}
