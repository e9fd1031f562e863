//! A provider that lives in this process and answers at once: what is measured with it is Switchboard's own work. It notes when
//! it took the last call to each address, for measurements of delay.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use domain::{
    channel::{Address, AddressKind, ChannelType},
    delivery::{AfterUnknown, Evidence},
    message::Content,
};
use server::channels::{
    Connector, InboundFact, Outbound, ReceiptFact, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest, echo,
    registry::{self, ConnectorKind},
    settings::{ProviderSettings, SettingProblem},
};

use crate::bench::until;

/// This provider, as the directory finds it.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "at-once",
    description: "A provider inside the measuring process, which takes everything at once.",
    channel_types: &[ChannelType::Sms],
    after_unknown: AfterUnknown::Nothing,
    inbound: true,
    entered_webhook: None,
    settings: &[],
    build,
};

/// Finds this provider and all that ship.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConnectorKind> {
    if name == KIND.name { Some(&KIND) } else { registry::find(name) }
}

static CALLS: AtomicU64 = AtomicU64::new(0);
static NOTES: AtomicBool = AtomicBool::new(false);
static BY_ADDRESS: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

/// What the provider was told since this began.
#[derive(Debug)]
pub struct Taken {
    before: u64,
}

/// Counts the calls from now on; with `addresses` it also notes when the last one to each address came.
#[must_use]
pub fn taken(addresses: bool) -> Taken {
    NOTES.store(addresses, Ordering::Relaxed);
    *BY_ADDRESS.lock().unwrap_or_else(PoisonError::into_inner) = addresses.then(HashMap::new);
    Taken { before: CALLS.load(Ordering::Relaxed) }
}

impl Taken {
    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        CALLS.load(Ordering::Relaxed) - self.before
    }

    /// Waits until so many came. Asks no database: that would be measured too.
    ///
    /// # Errors
    /// When they did not come in five minutes.
    pub async fn reach(&self, wanted: usize) -> anyhow::Result<()> {
        let wanted = u64::try_from(wanted)?;
        until("all calls", Duration::from_secs(300), Duration::from_millis(2), || async { Ok(self.calls() >= wanted) })
            .await
            .with_context(|| format!("{} of {wanted} calls came", self.calls()))
    }

    /// When the last call to this address came.
    #[must_use]
    pub fn at(&self, address: &str) -> Option<Instant> {
        BY_ADDRESS.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(address).copied()
    }
}

#[derive(Debug)]
struct AtOnce;

fn build(_: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    Ok(Arc::new(AtOnce))
}

#[async_trait]
impl Connector for AtOnce {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Sms,
            after_unknown: AfterUnknown::Nothing,
            timeout: Duration::from_secs(10),
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        CALLS.fetch_add(1, Ordering::Relaxed);
        if NOTES.load(Ordering::Relaxed) {
            let mut noted = BY_ADDRESS.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(noted) = noted.as_mut() {
                noted.insert(outbound.to.value.clone(), Instant::now());
            }
        }
        Sent::Accepted { provider_message_id: echo::token(outbound.delivery_id, outbound.attempt) }
    }

    /// One fact a line: `receipt <id> delivered|read`, or `message <id> <phone> <words>`. Unsigned: checking a signature is a few
    /// microseconds of the real ones.
    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        let body = std::str::from_utf8(&request.body).map_err(|error| WebhookError::Malformed(error.to_string()))?;
        let mut facts = WebhookFacts::default();
        for line in body.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("receipt"), Some(id), Some(evidence), None) => facts.receipts.push(receipt(id, evidence)?),
                (Some("message"), Some(id), Some(phone), Some(text)) => facts.inbound.push(message(id, phone, text)),
                _ => return Err(WebhookError::Malformed(format!("{line:?} is no fact"))),
            }
        }
        Ok(facts)
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

fn receipt(id: &str, evidence: &str) -> Result<ReceiptFact, WebhookError> {
    let evidence = evidence.parse().map_err(|_| WebhookError::Malformed(format!("{evidence:?} proves nothing")))?;
    Ok(ReceiptFact { provider_message_id: id.to_owned(), echo: None, evidence, failure: None, provider_time: None })
}

fn message(id: &str, phone: &str, text: &str) -> InboundFact {
    InboundFact {
        provider_message_id: id.to_owned(),
        from: vec![Address { kind: AddressKind::Phone, value: phone.to_owned() }],
        to: "+15550001111".to_owned(),
        display_name: None,
        content: Content::Text { text: text.to_owned() },
        in_reply_to: None,
        delivery_id: None,
        provider_opt: None,
        provider_time: None,
        channel_data: std::collections::BTreeMap::new(),
    }
}
