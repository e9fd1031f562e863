//! `campaigns export`: every recipient of a campaign, as CSV or JSON lines. Nothing is held but one part; a connection that breaks
//! is made again and goes on behind the last part that was written.

use clap::ValueEnum;
use futures::StreamExt;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, Value};
use proto::v1;

use super::campaigns::RECIPIENTS;
use crate::client::normal;
use crate::client::retry::Retries;
use crate::contract;
use crate::error::Error;
use crate::out::Out;
use crate::session::{self, Answer, Session};
use crate::view::table;

/// How recipients are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with headings (RFC 4180).
    Csv,
    /// One JSON object a line.
    Json,
}

/// Writes what is exported, until the stream has ended.
///
/// # Errors
/// What the server refused, or that the output is closed. What was written stands, and the cursor to go on with is told.
pub(super) async fn export(
    session: &mut Session,
    mut request: v1::ExportCampaignRecipientsRequest,
    format: Option<Format>,
) -> Result<(), Error> {
    let format = format.unwrap_or(if session.out.json { Format::Json } else { Format::Csv });
    if format == Format::Csv && request.cursor.is_empty() {
        record(&mut session.out, RECIPIENTS.iter().map(|(heading, _)| (*heading).to_owned()))?;
    }
    let mut retries = Retries::new(session.client.retries());
    loop {
        let Err(error) = once(session, &mut request, format, &mut retries).await else { return Ok(()) };
        let pause = match &error {
            Error::Refused(status) => retries.pause(status),
            _ => None,
        };
        let Some(pause) = pause else {
            if !request.cursor.is_empty() {
                session.out.note(&format!("go on with --cursor {}", request.cursor))?;
            }
            return Err(error);
        };
        tokio::time::sleep(pause).await;
    }
}

/// One connection. The request's cursor follows what was written.
async fn once(
    session: &mut Session,
    request: &mut v1::ExportCampaignRecipientsRequest,
    format: Format,
    retries: &mut Retries,
) -> Result<(), Error> {
    let method = contract::method_of::<v1::ExportCampaignRecipientsRequest>()?;
    let messages = futures::stream::iter([request.encode_to_vec().into()]);
    let mut stream = session.client.stream(&method, messages).await?;
    while let Some(part) = stream.next().await {
        let part: Answer<v1::ExportCampaignRecipientsResponse> = session::answer(&method, part.map_err(normal)?)?;
        retries.reset();
        write(&mut session.out, &part.dynamic, format)?;
        request.cursor.clone_from(&part.typed.cursor);
    }
    Ok(())
}

/// Writes a whole part, and writes it out.
fn write(out: &mut Out, part: &DynamicMessage, format: Format) -> Result<(), Error> {
    let Some(Value::List(recipients)) = part.get_field_by_name("recipients").map(std::borrow::Cow::into_owned) else {
        return Ok(());
    };
    for recipient in recipients.iter().filter_map(Value::as_message) {
        match format {
            Format::Json => {
                out.raw(&serde_json::to_vec(recipient).map_err(std::io::Error::from)?)?;
                out.raw(b"\n")?;
            }
            Format::Csv => record(out, RECIPIENTS.iter().map(|(_, path)| harmless(table::at(recipient, path))))?,
        }
    }
    Ok(out.flush()?)
}

/// Writes one line of CSV.
fn record(out: &mut Out, cells: impl Iterator<Item = String>) -> Result<(), Error> {
    let mut line = csv::Writer::from_writer(Vec::new());
    line.write_record(cells).map_err(std::io::Error::other)?;
    let line = line.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(out.raw(&line)?)
}

/// A cell that no spreadsheet takes for a formula: names are what people say they are.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_name_is_never_a_formula() {
        assert_eq!(harmless("=1+1".into()), "'=1+1");
        assert_eq!(harmless("Asha".into()), "Asha");
    }
}
