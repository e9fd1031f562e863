//! `ConnectorService`: one function an RPC; what drives an open session is in `attached`.

mod attached;

use futures::{StreamExt, stream};
use prost::Message;
use proto::v1::{self, connector_service_server::ConnectorService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::attached::{Said, attach};
use super::{
    convert::{self, connector},
    page::{Page, paged},
    stream::ResponseStream,
};
use crate::services::{
    Context,
    bell::Bell,
    connectors::{self, AckKey, claiming, intake, session::Settles, settling},
};

paged! { ListConnectorInstancesRequest }

/// Entries of one request.
const MAX_BATCH: usize = 100;

/// See the module.
#[derive(Debug)]
pub struct Connectors {
    /// What use cases stand on.
    pub context: Context,
    /// What wakes the sessions.
    pub pulls: Bell,
    /// When streams end.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl ConnectorService for Connectors {
    type AttachConnectorStream = ResponseStream<v1::AttachConnectorResponse>;
    type StreamDeliveriesStream = ResponseStream<v1::StreamDeliveriesResponse>;

    async fn attach_connector(
        &self,
        request: Request<Streaming<v1::AttachConnectorRequest>>,
    ) -> Result<Response<Self::AttachConnectorStream>, Status> {
        let (metadata, extensions, mut incoming) = request.into_parts();
        let hello = attached::first(&self.context, &mut incoming).await?;
        let request = Request::from_parts(metadata, extensions, ());
        attach(self, &request, hello, Settles::Here, incoming.boxed(), Said::attached).await
    }

    async fn stream_deliveries(
        &self,
        request: Request<v1::StreamDeliveriesRequest>,
    ) -> Result<Response<Self::StreamDeliveriesStream>, Status> {
        let hello = convert::read(&self.context, request.get_ref().clone(), |r, f| {
            let given = f.required("hello", r.hello);
            f.inside("hello", |f| connector::hello(given, f))
        })?;
        attach(self, &request, hello, Settles::Elsewhere, stream::pending().boxed(), Said::streamed).await
    }

    async fn ack_delivery(
        &self,
        request: Request<v1::AckDeliveryRequest>,
    ) -> Result<Response<v1::AckDeliveryResponse>, Status> {
        let end = convert::read(&self.context, request.into_inner(), |r, f| {
            let given = f.required("settled", r.settled);
            f.inside("settled", |f| connector::settled(given, f))
        })?;
        let ack = self.settle(end.into_iter().collect()).await?.pop();
        Ok(Response::new(v1::AckDeliveryResponse { ack }))
    }

    async fn ingest_inbound(
        &self,
        request: Request<v1::IngestInboundRequest>,
    ) -> Result<Response<v1::IngestInboundResponse>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        let (channel, messages) = convert::read(&self.context, request, |r, f| {
            (
                f.name("channel", "channels", &r.channel),
                connector::all("messages", r.messages, 1..=MAX_BATCH, f, connector::inbound),
            )
        })?;
        let served = connectors::served(&self.context, &channel).await?;
        let are_new = intake::take(&self.context, &served, &body, &messages, &[]).await?;
        let duplicates = are_new.iter().filter(|is_new| !**is_new).count();
        let duplicate_count = i32::try_from(duplicates).unwrap_or(i32::MAX);
        Ok(Response::new(v1::IngestInboundResponse { duplicate_count }))
    }

    async fn report_receipt(
        &self,
        request: Request<v1::ReportReceiptRequest>,
    ) -> Result<Response<v1::ReportReceiptResponse>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        let (channel, receipts) = convert::read(&self.context, request, |r, f| {
            (
                f.name("channel", "channels", &r.channel),
                connector::all("receipts", r.receipts, 1..=MAX_BATCH, f, connector::receipt),
            )
        })?;
        let served = connectors::served(&self.context, &channel).await?;
        intake::take(&self.context, &served, &body, &[], &receipts).await?;
        Ok(Response::new(v1::ReportReceiptResponse {}))
    }

    async fn claim_deliveries(
        &self,
        request: Request<v1::ClaimDeliveriesRequest>,
    ) -> Result<Response<v1::ClaimDeliveriesResponse>, Status> {
        let (channel, instance, chunk) = convert::read(&self.context, request.into_inner(), |r, f| {
            if r.chunk < 0 {
                f.note("chunk", "must be the number of a chunk, or 0 for whichever is next");
            }
            let channel = f.name("channel", "channels", &r.channel);
            (channel, connector::instance("instance", r.instance, f), Some(r.chunk).filter(|chunk| *chunk > 0))
        })?;
        let served = connectors::served(&self.context, &channel).await?;
        connectors::ask(&self.context, &served, &instance).await?;
        let claimed = claiming::claim_rendered(&self.context, &served, &instance, chunk).await?;
        let Some((claim, deliveries)) = claimed else {
            return Ok(Response::new(v1::ClaimDeliveriesResponse::default()));
        };
        Ok(Response::new(v1::ClaimDeliveriesResponse {
            claim: claim.encode(),
            lease: connector::welcome(&served, Vec::new()).lease,
            deliveries: deliveries.into_iter().map(connector::outgoing).collect(),
        }))
    }

    async fn mark_attempts(
        &self,
        request: Request<v1::MarkAttemptsRequest>,
    ) -> Result<Response<v1::MarkAttemptsResponse>, Status> {
        let (claim, deliveries) = convert::read(&self.context, request.into_inner(), |r, f| {
            let claim = connector::claim("claim", &r.claim, f);
            let read =
                |name: String, f: &mut convert::Faults| Some(convert::sending::uuid_name("", "deliveries", &name, f));
            (claim, connector::all("deliveries", r.deliveries, 1..=MAX_BATCH, f, read))
        })?;
        let marked = claiming::mark_and_renew(&self.context, &claim, &deliveries).await?;
        let attempts = marked.into_iter().map(|(delivery_id, attempt)| v1::MarkedAttempt {
            delivery: connector::delivery_name(delivery_id),
            attempt: attempt.into(),
            ack_id: AckKey { claim, delivery_id, attempt }.encode(),
        });
        Ok(Response::new(v1::MarkAttemptsResponse { attempts: attempts.collect() }))
    }

    async fn report_outcomes(
        &self,
        request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        let (claim, outcomes, finished) = convert::read(&self.context, request.into_inner(), |r, f| {
            let claim = connector::claim("claim", &r.claim, f);
            let outcomes = connector::all("outcomes", r.outcomes, 0..=MAX_BATCH, f, connector::settled);
            if outcomes.iter().any(|(key, _)| key.claim != claim) {
                f.note("outcomes", "must belong to the claim");
            }
            (claim, outcomes, r.finished)
        })?;
        let acks = self.settle(outcomes).await?;
        if finished {
            claiming::finish(&self.context, &claim).await?;
        }
        Ok(Response::new(v1::ReportOutcomesResponse { acks }))
    }

    async fn list_connector_instances(
        &self,
        request: Request<v1::ListConnectorInstancesRequest>,
    ) -> Result<Response<v1::ListConnectorInstancesResponse>, Status> {
        let (page, channel) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<String>::open(&r, f), f.name("channel", "channels", &r.channel))
        })?;
        let page = page?;
        let after = page.after.clone().unwrap_or_default();
        let found = connectors::instances(&self.context, &channel, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.name.clone());
        let instances = found.into_iter().map(connector::of_instance).collect();
        Ok(Response::new(v1::ListConnectorInstancesResponse { instances, next_page_token }))
    }
}

impl Connectors {
    async fn settle(&self, ends: Vec<(AckKey, crate::channels::Sent)>) -> Result<Vec<v1::SettledAck>, Status> {
        let stored = settling::settle(&self.context, &ends).await?;
        let ack = |((key, _), stored): (&(AckKey, _), _)| connector::settled_ack(key.encode(), stored);
        Ok(ends.iter().zip(stored).map(ack).collect())
    }
}
