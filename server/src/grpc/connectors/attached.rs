//! An open session of a connector outside: reads what it says, sends what it is to do, until one side has gone. Runs apart from
//! the call, so that leases are renewed also while the connector does not read.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream::BoxStream};
use prost::Message;
use proto::v1::{
    self, attach_connector_request::Item as Heard, attach_connector_response::Item as Attached,
    stream_deliveries_response::Item as Streamed,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Connectors;
use crate::{
    channels::Sent,
    grpc::{
        convert::{self, Faults, connector},
        status,
        stream::{ResponseStream, apart, bounded},
    },
    services::{
        self, Context, Error,
        connectors::{
            AckKey, Hello, intake,
            session::{Session, Settles, Step},
        },
    },
};

/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(30);
/// The longest silence on a stream.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a connector may leave what is sent to it unread.
const UNREAD: Duration = Duration::from_secs(30);
/// What is read at once, so that ends that come together are stored together.
const TOGETHER: usize = 100;
/// The pause after storage failed for the moment.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What is said to a connector.
#[derive(Debug)]
pub(super) enum Said {
    Welcome(v1::ConnectorWelcome),
    Delivery(Box<v1::OutboundDelivery>),
    SettledAck(v1::SettledAck),
    ItemAck(v1::ItemAck),
    Checkpoint(v1::ConnectorCheckpoint),
}

impl Said {
    pub(super) fn attached(self) -> Option<v1::AttachConnectorResponse> {
        let item = match self {
            Self::Welcome(welcome) => Attached::Welcome(welcome),
            Self::Delivery(delivery) => Attached::Delivery(*delivery),
            Self::SettledAck(ack) => Attached::SettledAck(ack),
            Self::ItemAck(ack) => Attached::ItemAck(ack),
            Self::Checkpoint(checkpoint) => Attached::Checkpoint(checkpoint),
        };
        Some(v1::AttachConnectorResponse { item: Some(item) })
    }

    /// On a stream of deliveries nothing is heard, and so nothing acked.
    pub(super) fn streamed(self) -> Option<v1::StreamDeliveriesResponse> {
        let item = match self {
            Self::Welcome(welcome) => Streamed::Welcome(welcome),
            Self::Delivery(delivery) => Streamed::Delivery(*delivery),
            Self::Checkpoint(checkpoint) => Streamed::Checkpoint(checkpoint),
            Self::SettledAck(_) | Self::ItemAck(_) => return None,
        };
        Some(v1::StreamDeliveriesResponse { item: Some(item) })
    }
}

/// The first message, which says who comes.
pub(super) async fn first(
    context: &Context,
    incoming: &mut Streaming<v1::AttachConnectorRequest>,
) -> Result<Hello, Status> {
    let first = timeout(FIRST, incoming.message()).await.ok().transpose()?.flatten();
    let given = match first.and_then(|request| request.item) {
        Some(Heard::Hello(hello)) => Some(hello),
        _ => None,
    };
    let read = |given: Option<v1::ConnectorHello>, faults: &mut Faults| {
        let Some(given) = given else {
            faults.note("hello", "is missing: it must be the first message");
            return connector::hello(v1::ConnectorHello::default(), &mut Faults::default());
        };
        faults.inside("hello", |faults| connector::hello(given, faults))
    };
    Ok(convert::read(context, given, read)?)
}

/// Begins a session, and drives it apart.
pub(super) async fn attach<R, T: Send + 'static>(
    service: &Connectors,
    request: &Request<R>,
    hello: Hello,
    settles: Settles,
    incoming: BoxStream<'static, Result<v1::AttachConnectorRequest, Status>>,
    wrap: fn(Said) -> Option<T>,
) -> Result<Response<ResponseStream<T>>, Status> {
    let (session, unsettled) = Session::begin(&service.context, service.pulls.clone(), &hello, settles).await?;
    let (out, said) = mpsc::channel(hello.in_flight + TOGETHER);
    let welcome = Said::Welcome(connector::welcome(session.served(), unsettled));
    let mut driver = Driver { context: service.context.clone(), session, out, wrap, silent_since: Instant::now() };
    apart(async move {
        // An error means that the connector has gone, or was told why its session ends.
        let _ = driver.run(welcome, incoming).await;
        driver.session.end().await;
    });
    let items = futures::stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    Ok(Response::new(bounded(request, &service.shutdown, items)))
}

struct Driver<T> {
    context: Context,
    session: Session,
    out: mpsc::Sender<Result<T, Status>>,
    wrap: fn(Said) -> Option<T>,
    silent_since: Instant,
}

/// The session is over.
struct Over;

impl<T: Send + 'static> Driver<T> {
    async fn run(
        &mut self,
        welcome: Said,
        mut incoming: BoxStream<'static, Result<v1::AttachConnectorRequest, Status>>,
    ) -> Result<(), Over> {
        self.say(welcome).await?;
        loop {
            match self.session.step().await {
                Ok(Step::Send(ready)) => {
                    for outgoing in ready {
                        self.say(Said::Delivery(Box::new(connector::outgoing(outgoing)))).await?;
                    }
                }
                Ok(Step::TakenOver) => {
                    let words = "a newer connection of this instance took over";
                    return self.fail(status::because(Code::Aborted, "INSTANCE_TAKEN_OVER", words, [])).await;
                }
                Err(Error::Storage(error)) if error.is_transient() => {
                    tracing::debug!(error = %error, "a connector waits until storage can be used again");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
                Err(error) => return self.fail(error.into()).await,
            }
            let silent_until = self.silent_since + SILENCE;
            tokio::select! {
                next = incoming.next() => self.heard(next, &mut incoming).await?,
                () = self.session.wait() => {}
                () = self.out.closed() => return Err(Over),
                () = tokio::time::sleep_until(silent_until) => {
                    let time = Some(convert::common::timestamp(self.context.clock.now()));
                    self.say(Said::Checkpoint(v1::ConnectorCheckpoint { time })).await?;
                }
            }
        }
    }

    async fn say(&mut self, said: Said) -> Result<(), Over> {
        self.silent_since = Instant::now();
        let Some(item) = (self.wrap)(said) else { return Ok(()) };
        match timeout(UNREAD, self.out.send(Ok(item))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }

    async fn fail(&mut self, status: Status) -> Result<(), Over> {
        let _ = timeout(UNREAD, self.out.send(Err(status))).await;
        Err(Over)
    }

    /// Takes what came, and what has come with it: ends of deliveries are stored together.
    async fn heard(
        &mut self,
        mut next: Option<Result<v1::AttachConnectorRequest, Status>>,
        incoming: &mut BoxStream<'static, Result<v1::AttachConnectorRequest, Status>>,
    ) -> Result<(), Over> {
        let mut ends = Vec::new();
        for _ in 0..TOGETHER {
            let Some(Ok(request)) = next else {
                self.settle(&ends).await?;
                return Err(Over); // the connector has said all that it will
            };
            match request.item {
                Some(Heard::Settled(settled)) => {
                    let (ack_id, mut faults) = (settled.ack_id.clone(), Faults::default());
                    let end = connector::settled(settled, &mut faults);
                    match end.filter(|_| faults.is_empty()) {
                        Some(end) => ends.push(end),
                        None => self.say(Said::SettledAck(connector::invalid_ack(ack_id, faults))).await?,
                    }
                }
                _ => self.item(request).await?,
            }
            match incoming.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        self.settle(&ends).await
    }

    async fn settle(&mut self, ends: &[(AckKey, Sent)]) -> Result<(), Over> {
        if ends.is_empty() {
            return Ok(());
        }
        match self.session.settle(ends).await {
            Ok(stored) => {
                for ((key, _), stored) in ends.iter().zip(stored) {
                    self.say(Said::SettledAck(connector::settled_ack(key.encode(), stored))).await?;
                }
                Ok(())
            }
            Err(error) => self.fail(error.into()).await,
        }
    }

    /// A message, a receipt, the end of a session, or health.
    async fn item(&mut self, request: v1::AttachConnectorRequest) -> Result<(), Over> {
        let (body, mut faults) = (request.encode_to_vec(), self.faults());
        let (item_id, stored) = match request.item {
            Some(Heard::Inbound(given)) => {
                let message = required("message", given.message, &mut faults, connector::inbound);
                (given.item_id, self.take(&body, message.as_slice(), &[], faults).await)
            }
            Some(Heard::Receipt(given)) => {
                let receipt = required("receipt", given.receipt, &mut faults, connector::receipt);
                (given.item_id, self.take(&body, &[], receipt.as_slice(), faults).await)
            }
            Some(Heard::SessionEnded(given)) => {
                let (from, reason) = (faults.address("from", given.from), faults.text("reason", given.reason, 100));
                let stored = match from.filter(|_| faults.is_empty()) {
                    Some(from) => {
                        let ended = intake::session_ended(&self.context, self.session.served(), &from, &reason).await;
                        ended.map(|()| Ok(false))
                    }
                    None => Ok(Err(connector::words(faults))),
                };
                (given.item_id, stored)
            }
            Some(Heard::Health(given)) => return self.health(given).await,
            Some(Heard::Hello(_)) | Some(Heard::Settled(_)) | None => {
                faults.note("item", "must be set, and hello only be the first");
                let error = Error::Invalid(faults.into_violations());
                return self.fail(error.into()).await;
            }
        };
        let (duplicate, problem) = match stored {
            Ok(Ok(duplicate)) => (duplicate, String::new()),
            Ok(Err(problem)) => (false, problem),
            Err(error) => return self.fail(error.into()).await,
        };
        self.say(Said::ItemAck(v1::ItemAck { item_id, duplicate, problem })).await
    }

    /// Stores what was brought, if it could be read. Says whether it was brought before, or what is wrong with it.
    async fn take(
        &self,
        body: &[u8],
        messages: &[crate::channels::InboundFact],
        receipts: &[crate::channels::ReceiptFact],
        faults: Faults,
    ) -> services::Result<Result<bool, String>> {
        if !faults.is_empty() {
            return Ok(Err(connector::words(faults)));
        }
        let are_new = intake::take(&self.context, self.session.served(), body, messages, receipts).await?;
        Ok(Ok(are_new.contains(&false)))
    }

    async fn health(&mut self, given: v1::ConnectorHealth) -> Result<(), Over> {
        let detail: String = given.detail.chars().take(500).collect();
        let (served, instance) = (self.session.served(), self.session.instance());
        match intake::health(&self.context, served, instance, given.healthy, &detail).await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error.into()).await,
        }
    }

    fn faults(&self) -> Faults {
        Faults::in_country(self.context.settings.default_country.clone())
    }
}

/// A part of an item that must be there.
fn required<G: Default, F>(
    field: &str,
    given: Option<G>,
    faults: &mut Faults,
    read: impl Fn(G, &mut Faults) -> Option<F>,
) -> Option<F> {
    let given = faults.required(field, given);
    faults.inside(field, |faults| read(given, faults))
}
