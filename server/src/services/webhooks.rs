//! What providers tell us: checked by the provider's connector, stored raw with the facts in it, and then answered. Merging
//! receipts and taking up messages is the work of others, later.
//!
//! Checking needs no database once the channels are known, so that a forged request is refused even while Postgres is away, and
//! a true one can wait on disk until it is back.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::channel::Address;

use super::{
    Context, calls,
    directory::{Channel, Provider, Snapshot},
};
use crate::{
    channels::{InboundFact, ReceiptFact, WebhookAnswer, WebhookError, WebhookFacts, WebhookRequest},
    storage::{
        self,
        inbound::{self, NewInbound},
        receipts::{self, NewReceipt},
    },
    wake::Topic,
};

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such provider.
    #[error("there is no provider of this number")]
    UnknownProvider,
    /// The provider's settings are wrong, so that its webhooks cannot be checked.
    #[error("the settings of this provider cannot be used")]
    Broken,
    /// The connector refused it.
    #[error(transparent)]
    Refused(#[from] WebhookError),
    /// It asks for a script that there is not.
    #[error(transparent)]
    NoScript(#[from] calls::NoScript),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Error {
    /// Whether the same request may be taken later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Storage(error) | Self::NoScript(calls::NoScript::Storage(error)) => error.is_transient(),
            Self::UnknownProvider | Self::Broken | Self::Refused(_) | Self::NoScript(_) => false,
        }
    }
}

/// A webhook whose signature fits.
#[derive(Debug)]
pub struct Checked {
    snapshot: Arc<Snapshot>,
    provider_id: i32,
    facts: WebhookFacts,
    body: Bytes,
}

/// Checks a webhook and reads the facts in it. Writes nothing.
///
/// # Errors
/// See [`Error`]; storage only where the channels were never read.
pub async fn check(context: &Context, provider_id: i32, request: &WebhookRequest) -> Result<Checked, Error> {
    let snapshot = match context.directory.snapshot(&context.side).await {
        Ok(snapshot) => snapshot,
        Err(super::Error::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(Error::Broken),
    };
    let (_, provider) = snapshot.provider(provider_id).ok_or(Error::UnknownProvider)?;
    let connector = provider.connector.as_ref().map_err(|_| Error::Broken)?;
    let facts = connector.read_webhook(request)?;
    Ok(Checked { snapshot, provider_id, facts, body: request.body.clone() })
}

/// Stores the facts of a webhook in one transaction, and wakes who takes them up. Stored twice, receipts prove the same twice
/// and messages are taken once.
///
/// # Errors
/// What storage says.
pub async fn store(context: &Context, checked: &Checked, arrived: DateTime<Utc>) -> storage::Result<()> {
    let Checked { facts, provider_id, .. } = checked;
    let Some((channel, _)) = checked.provider() else { return Ok(()) };
    if facts.receipts.is_empty() && facts.inbound.is_empty() {
        return Ok(());
    }
    let from = Origin { channel_id: channel.row.id, provider_id: *provider_id, body: &checked.body };
    keep(context, &from, &facts.receipts, &facts.inbound, arrived).await?;
    Ok(())
}

/// Whom facts come from, and the request that brought them, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The channel.
    pub channel_id: i32,
    /// The provider.
    pub provider_id: i32,
    /// The raw request.
    pub body: &'a [u8],
}

/// Stores facts in one transaction, and wakes who takes them up. Says for each message whether it is new.
///
/// # Errors
/// What storage says.
pub async fn keep(
    context: &Context,
    from: &Origin<'_>,
    facts: &[ReceiptFact],
    messages: &[InboundFact],
    arrived: DateTime<Utc>,
) -> storage::Result<Vec<bool>> {
    let mut tx = context.db.begin().await?;
    let body_id = receipts::store_body(&mut tx, from.provider_id, from.body).await?;
    if !facts.is_empty() {
        let new: Vec<NewReceipt> = facts.iter().map(receipt).collect();
        receipts::store(&mut tx, from.provider_id, body_id, &new).await?;
    }
    let mut are_new = Vec::with_capacity(messages.len());
    for fact in messages {
        are_new.push(match message(context, fact, from.channel_id, from.provider_id)? {
            Some(new) => inbound::store(&mut tx, &new, body_id, arrived).await?,
            None => false,
        });
    }
    tx.commit().await?;
    if !facts.is_empty() {
        context.wake.signal(Topic::Receipts);
    }
    if !messages.is_empty() {
        context.wake.signal(Topic::Inbound);
    }
    Ok(are_new)
}

/// What to answer once all is stored: the script that a call asks for, or what the provider wants to hear.
///
/// # Errors
/// [`Error::NoScript`] where a script is asked for that there is not, or that cannot be read now.
pub async fn answer(context: &Context, checked: &Checked) -> Result<WebhookAnswer, Error> {
    match (&checked.facts.call, checked.provider()) {
        (Some(step), Some((channel, provider))) => Ok(calls::script(context, channel, provider, step).await?),
        (Some(_), None) | (None, _) => Ok(checked.facts.answer.clone()),
    }
}

impl Checked {
    fn provider(&self) -> Option<(&Channel, &Provider)> {
        self.snapshot.provider(self.provider_id)
    }
}

fn receipt(fact: &ReceiptFact) -> NewReceipt {
    NewReceipt {
        provider_message_id: fact.provider_message_id.clone(),
        echo: fact.echo,
        evidence: fact.evidence,
        failure_class: fact.failure.as_ref().map(|failure| failure.class.to_string()),
        failure_code: fact.failure.as_ref().map(|failure| failure.code.clone()),
        provider_time: fact.provider_time,
    }
}

/// The message as it is stored; none without a sender, which no provider documents.
fn message(
    context: &Context,
    fact: &InboundFact,
    channel_id: i32,
    provider_id: i32,
) -> storage::Result<Option<NewInbound>> {
    let Some(first) = fact.from.first() else {
        tracing::warn!(provider.id = provider_id, "a message without a sender was left out");
        return Ok(None);
    };
    // In the form in which addresses are stored: by it evidence that could stop a step is found.
    let country = context.settings.default_country.as_deref();
    let sender = Address::parse(first.kind, &first.value, country).unwrap_or_else(|_| first.clone());
    Ok(Some(NewInbound {
        channel_id,
        provider_id,
        provider_message_id: fact.provider_message_id.clone(),
        sender: format!("{}:{}", sender.kind, sender.value),
        fact: serde_json::to_value(fact)?,
    }))
}
