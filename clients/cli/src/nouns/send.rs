//! `notifications send` and `notifications batch`.

use std::path::PathBuf;

use clap::Args;
use proto::v1::{self, SendNotificationRequest, send_notification_request::Recipient};
use serde_json::{Value, json};

use super::notifications;
use super::plan::PlanArgs;
use crate::contract::{self, Described};
use crate::error::Error;
use crate::exit;
use crate::input::definition::{self, Definition};
use crate::input::{names, pairs, source, time};
use crate::session::Session;
use crate::view;

/// Send one notification.
#[derive(Debug, Clone, Args)]
pub struct Send {
    /// To this contact: `42`, or `external:EMP-7` by the id in your own system.
    #[arg(long, conflicts_with = "address")]
    contact: Option<String>,
    /// To this address: +919812345678, email:a@example.org, whatsapp_user:ID,
    /// external:telegram:1093.
    #[arg(long, value_parser = pairs::address)]
    address: Option<v1::Address>,
    #[command(flatten)]
    plan: PlanArgs,
    /// The value of a variable: `name=Asha`; a value that is JSON counts as such.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pairs::parse)]
    variables: Vec<(String, String)>,
    /// Ask consent for this purpose; without it `service`.
    #[arg(long)]
    purpose: Option<String>,
    /// The lane: interactive or bulk.
    #[arg(long, value_parser = pairs::lane)]
    lane: Option<i32>,
    /// Begin at this time, such as 2026-11-20T09:00:00+05:30 or +2h.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    after: Option<prost_types::Timestamp>,
    /// Let nothing go out after this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<prost_types::Timestamp>,
    /// Attach a file to the steps that go by email; may be given more than once.
    #[arg(long = "attach", value_name = "FILE")]
    attachments: Vec<PathBuf>,
    /// Your own mark: `ticket=88`.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pairs::parse)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    definition: Definition,
    /// Follow it until it has ended.
    #[arg(long, conflicts_with = "validate_only")]
    watch: bool,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    validate_only: bool,
}

impl Send {
    /// Sends it, and follows it when that was asked.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let watch = self.watch;
        let request = self.request()?;
        if !watch {
            return session.show_as(request, view::notification::show).await.map(drop);
        }
        let sent = session.ask(request).await?;
        notifications::watch(session, sent.typed.name, false).await
    }

    fn request(self) -> Result<SendNotificationRequest, Error> {
        let mut request: SendNotificationRequest = self.definition.read()?;
        if let Some(contact) = &self.contact {
            request.recipient = Some(Recipient::Contact(names::full("contacts", contact)));
        } else if let Some(address) = self.address {
            request.recipient = Some(Recipient::Address(address));
        }
        if request.recipient.is_none() {
            return Err(Error::Usage("say whom to reach: --contact, --address, or a --file with a recipient".into()));
        }
        self.plan.over(&mut request.plan);
        if let Some(variables) = pairs::variables(&self.variables) {
            request.variables.get_or_insert_default().fields.extend(variables.fields);
        }
        request.purpose = self.purpose.unwrap_or(request.purpose);
        request.lane = self.lane.unwrap_or(request.lane);
        request.deliver_after = self.after.or(request.deliver_after);
        request.valid_until = self.until.or(request.valid_until);
        request.labels.extend(self.labels);
        request.validate_only |= self.validate_only;
        for path in self.attachments {
            request.attachments.push(attachment(path)?);
        }
        Ok(request)
    }
}

fn attachment(path: PathBuf) -> Result<v1::Attachment, Error> {
    let data = std::fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    let file_name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mime_type = match extension.as_str() {
        "pdf" => "application/pdf",
        "txt" | "log" => "text/plain",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "ics" => "text/calendar",
        "json" => "application/json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/octet-stream",
    };
    Ok(v1::Attachment { file_name, mime_type: mime_type.into(), data })
}

/// Send up to 1000 notifications.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The file holds one SendNotificationRequest in JSON on each line, or a JSON array of them, or a \
BatchSendNotificationsRequest.

Ends with 65 when entries were not taken."
)]
pub struct Batch {
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Send what is right although other entries are wrong.
    #[arg(long)]
    allow_partial: bool,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    validate_only: bool,
}

impl Batch {
    /// Sends them.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when entries were not taken.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let mut request = self.read()?;
        request.allow_partial |= self.allow_partial;
        request.validate_only |= self.validate_only;
        let answer = session.show_as(request, view::notification::batch).await?;
        let wrong = |it: &&v1::BatchSendNotificationsResult| {
            matches!(it.result, Some(v1::batch_send_notifications_result::Result::Error(_)))
        };
        match answer.results.iter().filter(wrong).count() {
            0 => Ok(()),
            count => Err(Error::FoundWrong(format!("{count} entries were not taken"), exit::FOUND_WRONG)),
        }
    }

    fn read(&self) -> Result<v1::BatchSendNotificationsRequest, Error> {
        let text = source::text(&self.file)?;
        let name = self.file.display().to_string();
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
        let values = values.map_err(|error| Error::Usage(format!("{name}: {error}")))?;
        let whole = match <[Value; 1]>::try_from(values) {
            Ok([Value::Object(fields)]) if fields.contains_key("requests") => Value::Object(fields),
            Ok([Value::Array(requests)]) => json!({"requests": requests}),
            Ok([one]) => json!({"requests": [one]}),
            Err(requests) => json!({"requests": requests}),
        };
        let Some(descriptor) = contract::message(v1::BatchSendNotificationsRequest::NAME) else {
            return Err(Error::Usage("the contract has no batches".into()));
        };
        definition::to_typed(&definition::message(&descriptor, whole, &name)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn batch(text: &str) -> Result<v1::BatchSendNotificationsRequest, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Batch { file: file.path().to_owned(), allow_partial: false, validate_only: false }.read()
    }

    #[test]
    fn a_batch_may_be_lines_an_array_or_a_request() {
        for text in [
            "{\"contact\": \"contacts/1\"}\n{\"contact\": \"contacts/2\"}\n",
            "[{\"contact\": \"contacts/1\"}, {\"contact\": \"contacts/2\"}]",
            "{\"requests\": [{\"contact\": \"contacts/1\"}, {\"contact\": \"contacts/2\"}]}",
        ] {
            assert_eq!(batch(text).unwrap().requests.len(), 2, "{text}");
        }
        assert_eq!(batch("{\"contact\": \"contacts/1\"}").unwrap().requests.len(), 1);
    }

    #[test]
    fn a_wrong_entry_is_named_by_its_index() {
        let error = batch("[{}, {\"lane\": \"fast\"}]").unwrap_err().to_string();
        assert!(error.contains("requests[1].lane: `fast` must be one of INTERACTIVE, BULK"), "{error}");
    }
}
