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

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};
use server::channels::{
    Connector, Outbound, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest, echo,
    registry::{self, ConnectorKind},
    settings::{ProviderSettings, SettingProblem},
};

/// This provider, as the directory finds it.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "at-once",
    description: "A provider inside the measuring process, which takes everything at once.",
    channel_type: ChannelType::Sms,
    after_unknown: AfterUnknown::Nothing,
    inbound: false,
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

    fn read_webhook(&self, _: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        Err(WebhookError::NotFound)
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
