//! The stream of an import: each message is read row by row, what is right is taken, what is wrong is reported.

use proto::v1;
use tonic::{Status, Streaming};

use crate::{
    grpc::{
        convert::{Faults, contact},
        idempotent::uncut,
        intake::{Intake, reject, request_id},
    },
    services::{
        Context, Error, Result,
        contacts::import::{self, Counts, Options, Row, WAVE},
    },
};

const METHOD: &str = "ImportContactsRequest";

/// Takes the whole stream. With a request id that was answered before nothing is written again: the content is compared and
/// the first answer given.
pub(super) async fn import(
    context: &Context,
    mut stream: Streaming<v1::ImportContactsRequest>,
) -> std::result::Result<v1::ImportContactsResponse, Status> {
    let Some(first) = stream.message().await? else { return Ok(v1::ImportContactsResponse::default()) };
    let mut run = Run::begin(context, first.options.clone().unwrap_or_default()).await?;
    let mut next = Some(first);
    while let Some(message) = next {
        run.take(context, message).await?;
        next = stream.message().await?;
    }
    run.intake.end(context, run.response).await
}

struct Run {
    options: Options,
    country: Option<String>,
    intake: Intake,
    response: v1::ImportContactsResponse,
}

impl Run {
    async fn begin(context: &Context, given: v1::ImportOptions) -> Result<Self> {
        let mut faults = Faults::in_country(context.settings.default_country.clone());
        let (id, audience) = faults.inside("options", |faults| {
            faults.country("default_country", &given.default_country);
            let id = request_id(&given.request_id, given.validate_only, faults);
            (id, faults.optional_name("audience", "audiences", &given.audience))
        });
        faults.finish()?;
        let audience_id = match audience {
            Some(slug) => Some(import::audience(context, &slug).await?),
            None => None,
        };
        let own = Some(given.default_country.clone()).filter(|c| !c.is_empty());
        Ok(Self {
            options: Options { audience_id, validate_only: given.validate_only },
            country: own.or_else(|| context.settings.default_country.clone()),
            intake: Intake::begin(context, METHOD, id, &given).await?,
            response: v1::ImportContactsResponse::default(),
        })
    }

    async fn take(&mut self, context: &Context, message: v1::ImportContactsRequest) -> std::result::Result<(), Status> {
        if message.rows.len() > WAVE {
            return Err(Error::BatchTooLarge { limit: WAVE }.into());
        }
        if self.intake.is_repeated(&message.rows) {
            return Ok(());
        }
        let rows = self.read(message.rows, context);
        let (context, options) = (context.clone(), self.options);
        let counts = uncut(async move { import::take(&context, options, rows).await }).await?;
        self.count(counts);
        Ok(())
    }

    fn read(&mut self, rows: Vec<v1::ImportRow>, context: &Context) -> Vec<Row> {
        let now = context.clock.now();
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            self.response.received_count += 1;
            let (line, mut faults) = (row.line, Faults::in_country(self.country.clone()));
            let read = contact::row(row, now, &mut faults);
            match faults.into_violations().as_slice() {
                [] => right.push(read),
                [first, rest @ ..] => {
                    self.response.rejected_count += 1;
                    reject(&mut self.response.rejected_rows, line, first, rest);
                }
            }
        }
        right
    }

    fn count(&mut self, counts: Counts) {
        self.response.created_count += counts.created;
        self.response.updated_count += counts.updated;
        self.response.unchanged_count += counts.unchanged;
    }
}
