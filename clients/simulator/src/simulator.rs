//! What a test holds in its hand: start, script the handsets, move time, ask what happened, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::core::Core;
use crate::inbound::{self, Inbound, InboundError};
use crate::ledger::{AcceptedCall, Provider, Stats, WebhookKind, WebhookRecord};
use crate::line::{Line, Scissors};
use crate::script::{Defaults, Handset, ScriptError, check_number};
use crate::webhook::{Body, Ending, Policy, Webhook};
use crate::{control, meta, stage, twilio};

/// A running simulator. Many can run in one process; each has its own port, clock and memory. Dropping it stops it.
pub struct Simulator {
    /// `http://127.0.0.1:{port}`: the base URL of both providers and of the control API.
    pub base_url: String,
    core: Arc<Core>,
    server: JoinHandle<()>,
    driver: JoinHandle<()>,
}

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The simulator has no protection against strangers, so it listens on loopback only.
    #[error("{0} is not a loopback address: the simulator listens on 127.0.0.1 or ::1 only")]
    NotLoopback(SocketAddr),
    /// The address is taken or forbidden.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The default scripts make no sense.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The client that posts webhooks cannot be built.
    #[error("cannot build the client that posts webhooks: {0}")]
    Client(#[from] reqwest::Error),
}

impl Simulator {
    /// Starts a simulator.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let address = config.listen;
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        config.roster.defaults.check()?;
        for (number, handset) in &config.roster.handsets {
            check_number(number)?;
            handset.check(number)?;
        }
        let core = Arc::new(Core::new(config)?);
        let failed = |error| StartError::Listen(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let base_url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let driver = tokio::spawn(stage::drive(core.clone()));
        let server = tokio::spawn(serve(core.clone(), listener));
        Ok(Self { base_url, core, server, driver })
    }

    /// Gives a number a script, at once and for all channels; what the number has been through is forgotten.
    ///
    /// # Errors
    /// When the number is not in E.164 or the script contradicts itself.
    pub fn handset(&self, number: &str, handset: Handset) -> Result<(), ScriptError> {
        check_number(number)?;
        handset.check(number)?;
        self.core.phones.set(number, handset);
        Ok(())
    }

    /// Changes what numbers do that have no script of their own.
    ///
    /// # Errors
    /// When a script contradicts itself.
    pub fn defaults(&self, defaults: Defaults) -> Result<(), ScriptError> {
        defaults.check()?;
        self.core.phones.set_defaults(defaults);
        Ok(())
    }

    /// Every remembered request that a provider accepted, oldest first.
    pub async fn calls(&self) -> Vec<AcceptedCall> {
        self.core.ledger.calls(|_| true)
    }

    /// The remembered requests to one recipient, oldest first.
    pub async fn calls_to(&self, number: &str) -> Vec<AcceptedCall> {
        self.core.ledger.calls(|call| call.to == number)
    }

    /// Every remembered webhook request, oldest first.
    pub async fn webhooks(&self) -> Vec<WebhookRecord> {
        self.core.ledger.webhooks(|_| true)
    }

    /// The counts since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The present moment of simulated time.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.core.clock.now()
    }

    /// Sends a message from a person, now; returns the provider's id of it. The webhook is answered when [`Simulator::settled`] returns.
    ///
    /// # Errors
    /// When the message makes no sense or nobody is told of it.
    pub async fn inbound(&self, message: Inbound) -> Result<String, InboundError> {
        inbound::send(&self.core, &message)
    }

    /// Puts a file on the shelf from which people send; returns its id, for [`Inbound`] messages: `media` of an SMS, `image.id` and
    /// the like of a WhatsApp message.
    pub fn file(&self, mime_type: &str, bytes: impl Into<bytes::Bytes>) -> String {
        self.core.files.put(mime_type, bytes.into())
    }

    /// Makes the next requests for files fail with 503.
    pub fn fail_files(&self, times: u32) {
        self.core.files.fail_next(times);
    }

    /// What the business let its WhatsApp contacts see without a message: bodies of `read` and typing requests, oldest first.
    pub fn signs(&self) -> Vec<serde_json::Value> {
        self.core.files.signs()
    }

    /// Moves time forward: everything that becomes due on the way is played in order, each at its own moment, webhooks answered.
    pub async fn advance(&self, by: Duration) {
        stage::advance(self.core.clone(), by).await;
    }

    /// Waits until everything that is due by now was played and its webhooks were answered. What lies in the future may wait.
    pub async fn settled(&self) {
        stage::settled(&self.core).await;
    }

    /// Waits until nothing is scheduled any more and all webhooks were answered. With a clock that is moved by hand this ends only when
    /// somebody advances it past the last scheduled action.
    pub async fn idle(&self) {
        stage::idle(&self.core).await;
    }

    /// Does the handshake by which Meta checks a webhook's address: a GET with `hub.challenge` that must come back.
    ///
    /// # Errors
    /// What was wrong with the answer.
    pub async fn verify_meta_webhook(&self, verify_token: &str) -> Result<(), String> {
        verify(&self.core, verify_token).await
    }

    /// Forgets everything and returns to the handsets of the start; time stays where it is.
    pub fn reset(&self) {
        reset(&self.core);
    }

    /// Waits until the server ends, which it does only after [`Simulator::stop`] or when the listener breaks.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.server).await {
            tracing::error!(%error, "the simulator's server broke");
        }
    }

    /// Begins to stop: no new connections, held HTTP calls are cut.
    pub fn stop(&self) {
        self.core.ended.cancel();
    }

    /// Stops and waits, at most five seconds, until open requests are answered.
    pub async fn shutdown(mut self) {
        self.stop();
        if tokio::time::timeout(Duration::from_secs(5), self.ended()).await.is_err() {
            tracing::warn!("connections were still open after five seconds");
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.core.ended.cancel();
        self.server.abort();
        self.driver.abort();
    }
}

async fn serve(core: Arc<Core>, listener: TcpListener) {
    let app = axum::Router::new()
        .merge(twilio::routes())
        .merge(control::routes())
        .merge(meta::routes())
        .with_state(core.clone())
        .into_make_service_with_connect_info::<Scissors>();
    let ended = core.ended.clone();
    let served = axum::serve(Line(listener), app).with_graceful_shutdown(async move { ended.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "the simulator's server broke");
    }
}

/// Forgets everything and returns to the handsets of the start.
pub(crate) fn reset(core: &Core) {
    core.stage.clear();
    core.ledger.clear();
    core.phones.reset(core.config.roster.clone());
}

/// Meta's handshake with the configured webhook.
pub(crate) async fn verify(core: &Core, verify_token: &str) -> Result<(), String> {
    let base = core.config.meta.webhook.as_deref().ok_or("no Meta webhook is configured: start with --meta-webhook")?;
    let challenge = rand::random::<u32>().to_string();
    let mut url = reqwest::Url::parse(base).map_err(|error| format!("{base} is not a URL: {error}"))?;
    url.query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.challenge", &challenge)
        .append_pair("hub.verify_token", verify_token);
    let mut webhook = Webhook {
        channel: Provider::Whatsapp,
        kind: WebhookKind::Handshake,
        event: "subscribe".into(),
        about: core.config.meta.phone_number_id.clone(),
        method: Method::GET,
        url: url.into(),
        body: Body::Json(String::new()),
        policy: Policy::Once,
        tries: 0,
        begun: None,
    };
    match webhook.post(core).await {
        Ending::Answered { status, body } if status.is_success() && body == challenge => Ok(()),
        Ending::Answered { status, body } if status.is_success() => {
            Err(format!("the webhook answered {body:?} instead of the challenge {challenge:?}"))
        }
        Ending::Answered { status, .. } => Err(format!("the webhook answered {status}")),
        Ending::NoConnection(why) | Ending::NoAnswer(why) => Err(why),
    }
}
