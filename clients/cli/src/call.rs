//! `call`: any method of the contract by its name, with JSON in and JSON out. Streams are JSON lines.

use clap::Args;
use futures::StreamExt;
use prost::bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tonic::Status;

use crate::client::normal;
use crate::contract;
use crate::error::Error;
use crate::input::{definition, source};
use crate::session::Session;

/// Call any method of the contract.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Fields are named as in the contract (display_name or displayName); enum values may be short (SMS), \
durations in words (10m), times from now (+2h). Methods that take a stream read one JSON value after another. Answers are \
proto3 JSON: one indented object, or one object on each line of a stream.

Examples:
  switchboard-cli call ContactService.GetContact '{\"name\": \"contacts/42\"}'
  switchboard-cli call ContactService.ListContacts
  switchboard-cli call PolicyService.CreatePolicy @urgent.json
  switchboard-cli call ContactService.ImportContacts - < rows.jsonl
  switchboard-cli call EventService.Subscribe '{\"types\": [\"notification.*\"]}'"
)]
pub struct Call {
    /// The method, as Service.Method.
    method: String,
    /// The request in JSON, `@file`, or `-` for standard input; without it the empty request.
    request: Option<String>,
}

impl Call {
    /// Calls it.
    ///
    /// # Errors
    /// What the server refused, or a request that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let method = contract::method(&self.method)?;
        let mut messages = self.messages(&method)?;
        if !method.is_client_streaming() && !method.is_server_streaming() {
            let message = messages.remove(0);
            let bytes = session.client.unary(&method, message).await?;
            return Ok(session.out.message(&decoded(&method, bytes)?, true)?);
        }
        if let Some(first) = messages.first_mut() {
            session.client.fill_request_id(first);
        }
        let timeout = session.client.asked_timeout();
        let streamed = stream(session, &method, messages);
        match timeout {
            None => tokio::select! {
                ended = streamed => ended,
                stopped = tokio::signal::ctrl_c() => Ok(stopped?),
            },
            Some(timeout) => tokio::time::timeout(timeout, streamed)
                .await
                .map_err(|_| Status::deadline_exceeded("it did not end within --timeout"))?,
        }
    }

    /// The requests: exactly one, unless the method takes a stream.
    fn messages(&self, method: &MethodDescriptor) -> Result<Vec<DynamicMessage>, Error> {
        let (text, name) = match &self.request {
            Some(argument) => source::argument(argument)?,
            None => ("{}".into(), "the argument".into()),
        };
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
        let values = values.map_err(|error| Error::Usage(format!("{name}: {error}")))?;
        if values.len() != 1 && !method.is_client_streaming() {
            let count = values.len();
            return Err(Error::Usage(format!("{name}: {} takes one JSON object, not {count}", method.name())));
        }
        values.into_iter().map(|value| definition::message(&method.input(), value, &name)).collect()
    }
}

async fn stream(session: &mut Session, method: &MethodDescriptor, messages: Vec<DynamicMessage>) -> Result<(), Error> {
    let messages: Vec<Bytes> = messages.iter().map(|it| it.encode_to_vec().into()).collect();
    let mut answers = session.client.stream(method, futures::stream::iter(messages)).await?;
    while let Some(answer) = answers.next().await {
        let answer = decoded(method, answer.map_err(normal)?)?;
        session.out.message(&answer, !method.is_server_streaming())?;
    }
    Ok(session.out.flush()?)
}

fn decoded(method: &MethodDescriptor, bytes: Bytes) -> Result<DynamicMessage, Error> {
    DynamicMessage::decode(method.output(), bytes)
        .map_err(|error| Status::internal(format!("the answer cannot be read: {error}")).into())
}
