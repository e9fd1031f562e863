//! The streams of `messages`: who types, a file, an export, and history that is brought in. Nothing is held as a whole but one
//! part.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use futures::StreamExt;
use prost_reflect::prost::Message;
use proto::v1;
use tonic::Status;

use super::messages::Which;
use crate::client::normal;
use crate::error::{Error, clean};
use crate::input::{definition, names};
use crate::rpcs::Rpc;
use crate::session::{self, Answer, Session};
use crate::{contract, exit};

/// Rows in one part of an import.
const ROWS: usize = 500;

/// Opens the stream of a request, and hands each part to `each`.
async fn parts<Q: Rpc>(
    session: &mut Session,
    request: &Q,
    mut each: impl FnMut(&mut Session, Answer<Q::Response>) -> Result<(), Error>,
) -> Result<(), Error> {
    let method = contract::method_of::<Q>()?;
    let messages = futures::stream::iter([request.encode_to_vec().into()]);
    let mut stream = session.client.stream(&method, messages).await?;
    while let Some(part) = stream.next().await {
        let answer = session::answer::<Q::Response>(&method, part.map_err(normal)?)?;
        each(session, answer)?;
    }
    Ok(())
}

/// Follows who types.
pub(super) async fn typing(session: &mut Session, conversation: String) -> Result<(), Error> {
    let request = v1::WatchTypingRequest { conversation };
    let watching = parts(session, &request, |session, seen| {
        if seen.typed.conversation.is_empty() {
            return Ok(());
        }
        if session.out.json {
            return Ok(session.out.message(&seen.dynamic, false)?);
        }
        let who = if seen.typed.author.is_empty() { "somebody" } else { &seen.typed.author };
        let does = if seen.typed.typing { "types" } else { "has stopped" };
        session.out.line(&clean(&format!("{}  {who} {does}", seen.typed.conversation)))?;
        Ok(session.out.flush()?)
    });
    tokio::select! {
        ended = watching => ended,
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}

/// Saves the file of a message. What was written of a file that broke off is removed.
pub(super) async fn media(session: &mut Session, name: String, output: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: output.to_owned(), source };
    let to_stdout = output == Path::new("-");
    let mut target: Box<dyn Write + Send> =
        if to_stdout { Box::new(io::stdout()) } else { Box::new(File::create(output).map_err(failed)?) };
    let mut info = None;
    let request = v1::GetMediaRequest { name };
    let written = parts(session, &request, |_, part| {
        info = info.take().or(part.typed.info);
        target.write_all(&part.typed.data).map_err(failed)
    })
    .await;
    let written = written.and_then(|()| target.flush().map_err(failed));
    if written.is_err() && !to_stdout {
        // The error that is told is the first one.
        let _ = std::fs::remove_file(output);
    }
    written?;
    let info = info.unwrap_or_default();
    Ok(session.out.note(&format!("{} bytes of {}", info.size_bytes, clean(&info.mime_type)))?)
}

/// Writes documents as JSON lines.
pub(super) async fn export(session: &mut Session, which: Which, cursor: String) -> Result<(), Error> {
    let request = v1::ExportMessagesRequest {
        conversation: names::optional("conversations", which.conversation.as_deref()),
        contact: names::optional("contacts", which.contact.as_deref()),
        channel: names::optional("channels", which.channel.as_deref()),
        direction: which.direction.unwrap_or_default(),
        from_time: which.from,
        until_time: which.until,
        cursor,
    };
    let mut last = String::new();
    let done = parts(session, &request, |session, part| {
        for message in &part.typed.messages {
            session.out.raw(message.document_json.as_bytes())?;
            session.out.raw(b"\n")?;
        }
        session.out.flush()?;
        last.clone_from(&part.typed.cursor);
        Ok(())
    })
    .await;
    if done.is_err() && !last.is_empty() {
        session.out.note(&format!("go on with --cursor {last}"))?;
    }
    done
}

/// Brings in rows from JSON lines. A line that is no row ends the import with its number; what stood before it is taken.
pub(super) async fn import(
    session: &mut Session,
    file: &Path,
    options: v1::import_messages_request::Options,
) -> Result<(), Error> {
    let failed = |source| Error::File { path: file.to_owned(), source };
    let input: Box<dyn BufRead + Send> = match file == Path::new("-") {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(file).map_err(failed)?)),
    };
    let method = contract::method_of::<v1::ImportMessagesRequest>()?;
    let first = v1::ImportMessagesRequest { options: Some(options), rows: Vec::new() };
    let mut first = session::dynamic(&method, &first)?;
    session.client.fill_request_id(&mut first);
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let reader = tokio::task::spawn_blocking(move || {
        let mut rows = Vec::with_capacity(ROWS);
        for (index, line) in input.lines().enumerate() {
            rows.extend(row(index + 1, &line?)?);
            if rows.len() == ROWS && sender.blocking_send(std::mem::take(&mut rows)).is_err() {
                return Ok(());
            }
        }
        // The server has refused when nobody receives: its words are told.
        let _ = sender.blocking_send(rows);
        Ok::<(), Error>(())
    });
    let rows = tokio_stream::wrappers::ReceiverStream::new(receiver)
        .map(|rows| v1::ImportMessagesRequest { options: None, rows }.encode_to_vec().into());
    let messages = futures::stream::iter([first.encode_to_vec().into()]).chain(rows);
    let mut stream = session.client.stream(&method, messages).await?;
    let answer = stream.next().await.ok_or_else(|| Status::internal("the server ended without an answer"))?;
    let answer: Answer<v1::ImportMessagesResponse> = session::answer(&method, answer.map_err(normal)?)?;
    crate::view::record::show(&mut session.out, &answer.dynamic)?;
    reader.await.map_err(|error| Status::internal(format!("the reader stopped: {error}")))??;
    match answer.typed.rejected_count {
        0 => Ok(()),
        n => Err(Error::FoundWrong(format!("{n} rows were rejected"), exit::FOUND_WRONG)),
    }
}

/// The row of a line; none for an empty one. A row without a line of its own is named by the one it stands on.
fn row(number: usize, line: &str) -> Result<Option<v1::import_messages_request::Row>, Error> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let origin = format!("line {number}");
    let value = serde_json::from_str(line).map_err(|error| Error::Usage(format!("{origin}: {error}")))?;
    let missing = || Error::Usage("the contract has no row of an import".to_owned());
    let descriptor = contract::message("ImportMessagesRequest.Row").ok_or_else(missing)?;
    let read = definition::message(&descriptor, value, &origin)?;
    let mut row: v1::import_messages_request::Row = definition::to_typed(&read)?;
    if row.line == 0 {
        row.line = i64::try_from(number).unwrap_or(i64::MAX);
    }
    Ok(Some(row))
}
