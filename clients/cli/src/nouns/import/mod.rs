//! `contacts import`: a CSV file as one stream to the server. The columns are mapped in `columns`, the file is read in
//! `rows`, and what was rejected is kept in `rejects`. The file is never held in memory.

mod columns;
mod rejects;
mod rows;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use futures::StreamExt;
use prost_reflect::prost::Message;
use proto::v1::{self, ImportContactsRequest, ImportOptions};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub use self::columns::Mapping;
use self::rejects::Rejects;
use crate::client::normal;
use crate::error::Error;
use crate::input::names;
use crate::session::{self, Session};
use crate::{contract, exit, view};

/// How many messages may wait for the server: reading stops while it is slower.
const IN_FLIGHT: usize = 4;

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// It does, unless one of its cells looks like a phone number or an email address.
    Auto,
    /// It does.
    Yes,
    /// It does not: columns are named by their numbers, from 1.
    No,
}

/// Import contacts from a CSV file.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Columns are mapped by name (case does not matter) or by number from 1. Without any mapping flags \
the usual names are recognised: external_id, name, phone, mobile, email, locale, language, time_zone and the like.

Rows that cannot be taken are written to the report with line, field, reason and description; the rest is imported.
Repeating an import changes nothing that is the same.

Examples:
  switchboard-cli contacts import people.csv --country IN
  switchboard-cli contacts import people.csv --external-id EmpNo --phone Mobile --phone Home --attribute district=District
  switchboard-cli contacts import people.csv --header no --phone 2 --name 1 --rejects bad.csv --audience staff
  switchboard-cli contacts import people.csv --others --consent sms:marketing=Agreed --consent-source web-form
  switchboard-cli contacts import - --validate-only --rejected-exit-code 0"
)]
pub struct Import {
    /// The file; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    mapping: Mapping,
    /// Whether the first row names the columns.
    #[arg(long, value_enum, default_value_t = Header::Auto)]
    header: Header,
    /// What separates the columns: one character, or `tab`.
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// The country of phone numbers without `+`, such as IN; without it they are rejected.
    #[arg(long, default_value = "", hide_default_value = true)]
    country: String,
    /// Add every contact to this audience of kind list.
    #[arg(long)]
    audience: Option<String>,
    /// Write rejected rows to this file; without it FILE.rejected.csv. Nothing is written when nothing was rejected.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// End with this code when rows were rejected.
    #[arg(long, value_name = "CODE", default_value_t = exit::FOUND_WRONG)]
    rejected_exit_code: u8,
    /// Send so many rows at once, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    validate_only: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text.eq_ignore_ascii_case("tab") => Ok(b'\t'),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(format!("`{text}` must be one character, or tab")),
    }
}

impl Import {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused; a file that cannot be read or written; `Error::FoundWrong` when rows were rejected.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let source = rows::open(&self.file)?;
        let bar = view::import::bar(&session.out, source.length);
        let table = rows::Table::read(source, &self, bar.clone())?;
        let method = contract::method_of::<ImportContactsRequest>()?;
        let mut first = session::dynamic(&method, &self.first())?;
        session.client.fill_request_id(&mut first);

        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let reader = tokio::task::spawn_blocking({
            let batch = usize::from(self.batch);
            move || table.send(batch, |rows| sender.blocking_send(rows).is_ok())
        });
        let rows = ReceiverStream::new(receiver)
            .map(|rows| ImportContactsRequest { options: None, rows }.encode_to_vec().into());
        let messages = futures::stream::iter([first.encode_to_vec().into()]).chain(rows);
        // When the server refuses, nobody waits for the reader: it may wait for standard input for ever.
        let answered = self.answer(session, &method, messages).await;
        bar.finish_and_clear();
        let answer = answered?;
        let unread = reader.await.map_err(|error| Status::internal(format!("the reader stopped: {error}")))??;
        self.conclude(session, unread, &answer)
    }

    fn first(&self) -> ImportContactsRequest {
        let options = ImportOptions {
            default_country: self.country.clone(),
            audience: names::optional("audiences", self.audience.as_deref()),
            request_id: String::new(),
            validate_only: self.validate_only,
        };
        ImportContactsRequest { options: Some(options), rows: Vec::new() }
    }

    async fn answer(
        &self,
        session: &Session,
        method: &prost_reflect::MethodDescriptor,
        messages: impl futures::Stream<Item = prost::bytes::Bytes> + Send + 'static,
    ) -> Result<session::Answer<v1::ImportContactsResponse>, Error> {
        let call = async {
            let mut stream = session.client.stream(method, messages).await?;
            match stream.next().await {
                Some(Ok(bytes)) => session::answer(method, bytes),
                Some(Err(status)) => Err(normal(status).into()),
                None => Err(Status::internal("the server ended the import without an answer").into()),
            }
        };
        match session.client.asked_timeout() {
            None => call.await,
            Some(timeout) => tokio::time::timeout(timeout, call)
                .await
                .map_err(|_| Status::deadline_exceeded("the import did not end within --timeout"))?,
        }
    }

    /// Shows the counts, keeps what was rejected, and says so by the exit code.
    fn conclude(
        &self,
        session: &mut Session,
        mut rejects: Rejects,
        answer: &session::Answer<v1::ImportContactsResponse>,
    ) -> Result<(), Error> {
        let unread = rejects.len();
        rejects.add(&answer.typed.rejected_rows);
        let total = unread + usize::try_from(answer.typed.rejected_count).unwrap_or(0);
        let report = self.report();
        if !rejects.is_empty() {
            rejects.write(&report)?;
        }
        if session.out.json {
            session.out.message(&answer.dynamic, true)?;
        } else {
            view::import::show(&mut session.out, &answer.typed, unread, self.validate_only)?;
        }
        if total == 0 {
            return Ok(());
        }
        let kept = rejects.len();
        let all = if kept < total { format!(" (the first {kept} of them)") } else { String::new() };
        session.out.note(&format!("rejected rows{all} are in {}", report.display()))?;
        match self.rejected_exit_code {
            0 => Ok(()),
            code => Err(Error::FoundWrong(format!("{total} rows were rejected"), code)),
        }
    }

    fn report(&self) -> PathBuf {
        if let Some(path) = &self.rejects {
            return path.clone();
        }
        if self.file == Path::new("-") {
            return PathBuf::from("import.rejected.csv");
        }
        let mut name = self.file.as_os_str().to_owned();
        name.push(".rejected.csv");
        PathBuf::from(name)
    }
}
