//! What every noun does: ask and list, and show the answer as JSON or for people. Streams are in `follow`.

use std::io;

use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage, Value};
use tonic::Status;

use crate::client::Client;
use crate::contract;
use crate::error::Error;
use crate::nouns::shared::Paging;
use crate::out::Out;
use crate::rpcs::Rpc;
use crate::view;
use crate::view::table::Columns;

/// The greatest page that the server gives.
const PAGE_LIMIT: usize = 1000;

/// A client and an output.
pub struct Session {
    /// How the server is reached.
    pub client: Client,
    /// Where answers go.
    pub out: Out,
}

/// An answer as its type and as JSON needs it.
pub struct Answer<T> {
    /// The typed message.
    pub typed: T,
    /// The same by descriptor.
    pub dynamic: DynamicMessage,
}

impl Session {
    /// Asks, and returns the answer.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn ask<Q: Rpc>(&self, request: Q) -> Result<Answer<Q::Response>, Error> {
        let method = contract::method_of::<Q>()?;
        let bytes = self.client.unary(&method, dynamic(&method, &request)?).await?;
        answer(&method, bytes)
    }

    /// Asks, and shows the answer field by field.
    ///
    /// # Errors
    /// What the server refused, or that the output is closed.
    pub async fn show<Q: Rpc>(&mut self, request: Q) -> Result<(), Error> {
        let answer = self.ask(request).await?;
        if self.out.json {
            return Ok(self.out.message(&answer.dynamic, true)?);
        }
        if answer.dynamic.descriptor().full_name() == "google.protobuf.Empty" {
            return Ok(self.out.note("done")?);
        }
        Ok(view::record::show(&mut self.out, &answer.dynamic)?)
    }

    /// Asks, and shows the answer by a view of its own.
    ///
    /// # Errors
    /// As `show`.
    pub async fn show_as<Q: Rpc>(
        &mut self,
        request: Q,
        view: impl FnOnce(&mut Out, &Q::Response) -> io::Result<()>,
    ) -> Result<Q::Response, Error> {
        let answer = self.ask(request).await?;
        if self.out.json {
            self.out.message(&answer.dynamic, true)?;
        } else {
            view(&mut self.out, &answer.typed)?;
        }
        Ok(answer.typed)
    }

    /// Lists page by page, up to the limit: a table for people, JSON lines for programs.
    ///
    /// # Errors
    /// As `show`.
    pub async fn list<Q: Rpc>(&mut self, request: Q, columns: Columns, paging: &Paging) -> Result<(), Error> {
        let method = contract::method_of::<Q>()?;
        let mut page = dynamic(&method, &request)?;
        let limit = if paging.limit == 0 { usize::MAX } else { paging.limit };
        let (mut shown, mut rows) = (0, Vec::new());
        loop {
            let size = paging.page_size().unwrap_or(PAGE_LIMIT).min(limit - shown);
            set(&mut page, "page_size", Value::I32(i32::try_from(size).unwrap_or(i32::MAX)));
            let answer: Answer<Q::Response> = answer(&method, self.client.unary(&method, page.clone()).await?)?;
            let items = items(&answer.dynamic);
            shown += items.len();
            for item in items {
                if self.out.json {
                    self.out.message(&item, false)?;
                } else {
                    rows.push(item);
                }
            }
            let token = text(&answer.dynamic, "next_page_token");
            // Rows of a table are shown page by page when there are many, so that the first come at once.
            if rows.len() >= PAGE_LIMIT || token.is_empty() || shown >= limit {
                view::table::show(&mut self.out, columns, &std::mem::take(&mut rows))?;
            }
            if token.is_empty() || shown >= limit {
                if shown == 0 {
                    self.out.note("nothing found")?;
                } else if !token.is_empty() {
                    self.out.note(&format!("{shown} shown, there are more: --limit 0 shows all"))?;
                }
                return Ok(());
            }
            set(&mut page, "page_token", Value::String(token));
        }
    }
}

/// A typed request as the message of its descriptor.
///
/// # Errors
/// When both do not agree, which the test of `rpcs` rules out.
pub fn dynamic<Q: Rpc>(method: &MethodDescriptor, request: &Q) -> Result<DynamicMessage, Error> {
    let bytes = request.encode_to_vec();
    DynamicMessage::decode(method.input(), bytes.as_slice()).map_err(|error| Error::Usage(error.to_string()))
}

/// An encoded answer, decoded in both ways.
///
/// # Errors
/// INTERNAL when the server sent something else.
pub fn answer<T: Message + Default>(method: &MethodDescriptor, bytes: Bytes) -> Result<Answer<T>, Error> {
    let unreadable = |error: prost::DecodeError| Status::internal(format!("the answer cannot be read: {error}"));
    let dynamic = DynamicMessage::decode(method.output(), bytes.clone()).map_err(unreadable)?;
    Ok(Answer { typed: T::decode(bytes).map_err(unreadable)?, dynamic })
}

/// The entries of a page: its one repeated message field.
fn items(page: &DynamicMessage) -> Vec<DynamicMessage> {
    let field = page.descriptor().fields().find(|it| it.is_list() && it.kind().as_message().is_some());
    let value = field.map(|field| page.get_field(&field).into_owned());
    let Some(Value::List(values)) = value else { return Vec::new() };
    values.into_iter().filter_map(|it| if let Value::Message(message) = it { Some(message) } else { None }).collect()
}

fn set(message: &mut DynamicMessage, field: &str, value: Value) {
    // A list request without paging would loop for ever; the test below rules that out.
    let _ = message.try_set_field_by_name(field, value);
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::contract;

    #[test]
    fn every_list_has_a_page_size_a_token_and_one_repeated_message() {
        let methods = contract::services().into_iter().flat_map(|it| it.methods().collect::<Vec<_>>());
        let lists: Vec<_> = methods.filter(|it| it.name().starts_with("List")).collect();
        assert!(lists.len() > 10);
        for list in lists {
            assert!(list.input().get_field_by_name("page_size").is_some(), "{}", list.full_name());
            assert!(list.input().get_field_by_name("page_token").is_some(), "{}", list.full_name());
            assert!(list.output().get_field_by_name("next_page_token").is_some(), "{}", list.full_name());
            let repeated = list.output().fields().filter(|it| it.is_list()).count();
            assert_eq!(repeated, 1, "{}", list.full_name());
        }
    }
}
