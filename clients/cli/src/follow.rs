//! Streams that are followed: until they end, until Ctrl-C, until `--timeout`. A connection that breaks is made again, a
//! bounded number of times in a row.

use std::io;

use futures::StreamExt;
use prost::bytes::Bytes;
use prost_reflect::Value;
use tonic::{Code, Status};

use crate::client::normal;
use crate::client::retry::Retries;
use crate::contract;
use crate::error::Error;
use crate::out::Out;
use crate::rpcs::Rpc;
use crate::session::{Answer, Session, answer};

impl Session {
    /// Follows a stream. `key` is the field of its messages that holds what is shown; `resume` moves the request to where
    /// the stream was, for when it must be opened again.
    ///
    /// # Errors
    /// What the server refused, or that the output is closed; DEADLINE_EXCEEDED after `--timeout`, if one was given.
    pub async fn follow<Q: Rpc>(
        &mut self,
        request: Q,
        key: &str,
        resume: impl FnMut(&mut Q, &Q::Response),
        view: impl FnMut(&mut Out, &Q::Response) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.follow_up_to(request, key, None, resume, view).await
    }

    /// The same, but it stops after so many messages that hold something.
    ///
    /// # Errors
    /// As `follow`.
    pub async fn follow_up_to<Q: Rpc>(
        &mut self,
        request: Q,
        key: &str,
        count: Option<u64>,
        resume: impl FnMut(&mut Q, &Q::Response),
        view: impl FnMut(&mut Out, &Q::Response) -> io::Result<()>,
    ) -> Result<(), Error> {
        let timeout = self.client.asked_timeout();
        // Both may be dropped while they wait: what was received was written before the next wait.
        tokio::select! {
            ended = self.follow_on(request, key, count, resume, view) => ended,
            ended = ending(timeout) => ended,
        }
    }

    async fn follow_on<Q: Rpc>(
        &mut self,
        mut request: Q,
        key: &str,
        mut count: Option<u64>,
        mut resume: impl FnMut(&mut Q, &Q::Response),
        mut view: impl FnMut(&mut Out, &Q::Response) -> io::Result<()>,
    ) -> Result<(), Error> {
        let method = contract::method_of::<Q>()?;
        let mut retries = Retries::new(self.client.retries());
        loop {
            let message: Bytes = request.encode_to_vec().into();
            let broken = match self.client.stream(&method, futures::stream::iter([message])).await {
                Err(Error::Refused(status)) => *status,
                Err(error) => return Err(error),
                Ok(mut stream) => loop {
                    match stream.next().await {
                        None => return Ok(()),
                        Some(Err(status)) => break normal(status),
                        Some(Ok(bytes)) => {
                            retries.reset();
                            let answer = answer::<Q::Response>(&method, bytes)?;
                            resume(&mut request, &answer.typed);
                            let held = self.update(&answer, key, &mut view)?;
                            if held && let Some(left) = &mut count {
                                *left -= 1;
                                if *left == 0 {
                                    return Ok(());
                                }
                            }
                        }
                    }
                },
            };
            match retries.pause(&again(&broken)) {
                None => return Err(broken.into()),
                Some(pause) => {
                    self.out.note(&format!("{}; connecting again", broken.message()))?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Shows one message of a stream, and says whether it held something.
    fn update<T>(
        &mut self,
        answer: &Answer<T>,
        key: &str,
        view: &mut impl FnMut(&mut Out, &T) -> io::Result<()>,
    ) -> io::Result<bool> {
        let held = answer.dynamic.has_field_by_name(key);
        if !self.out.json {
            view(&mut self.out, &answer.typed)?;
            self.out.flush()?;
        } else if held && let Some(Value::Message(message)) = answer.dynamic.get_field_by_name(key).as_deref() {
            self.out.message(message, false)?;
        }
        Ok(held)
    }
}

/// Ends with Ctrl-C, which is as it should be, or with the timeout.
async fn ending(timeout: Option<std::time::Duration>) -> Result<(), Error> {
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        () = late => Err(Status::deadline_exceeded("it did not end within --timeout").into()),
    }
}

/// A subscriber that read too slowly loses nothing when it begins again, as the contract says.
fn again(status: &Status) -> Status {
    if status.code() == Code::ResourceExhausted {
        let details = status.details().to_vec().into();
        return Status::with_details(Code::Unavailable, status.message(), details);
    }
    status.clone()
}
