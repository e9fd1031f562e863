//! A webhook server for tests: checks the providers' signatures, keeps what arrives, answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use simulator::{Config, Simulator, signature};

/// One webhook that arrived with a right signature.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub path: String,
    pub query: String,
    pub method: Method,
    /// Form parameters (of the body, or of the query for GET).
    pub form: BTreeMap<String, String>,
    /// The JSON body, or null.
    pub json: Value,
}

#[derive(Default)]
struct Inner {
    arrived: Vec<Arrived>,
    forged: usize,
    /// Answers for the next requests; afterwards 200.
    answers: VecDeque<u16>,
    documents: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Mutex<Inner>>,
    base: String,
    app_secret: String,
    auth_token: String,
}

/// A simulator with a webhook server and a client in front of it.
pub struct Stand {
    pub simulator: Simulator,
    pub client: reqwest::Client,
    shared: Shared,
    pub base: String,
}

impl Stand {
    /// Starts both with a clock that is moved by hand.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts both with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut config = Config::default();
        config.meta.webhook = Some(format!("{base}/meta?line=1"));
        config.twilio.sms_webhook = Some(format!("{base}/inbound"));
        change(&mut config);
        let shared = Shared {
            inner: Arc::default(),
            base: base.clone(),
            app_secret: config.meta.app_secret.clone(),
            auth_token: config.twilio.auth_token.clone(),
        };
        let app = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let simulator = Simulator::start(config).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { simulator, client, shared, base }
    }

    /// What has arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        let inner = self.shared.inner.lock().unwrap();
        assert_eq!(inner.forged, 0, "a webhook had a wrong signature");
        inner.arrived.clone()
    }

    /// The Meta statuses or the Twilio form statuses that have arrived, in order.
    pub fn statuses(&self) -> Vec<String> {
        let word = |a: &Arrived| {
            let meta = a.json.pointer("/entry/0/changes/0/value/statuses/0/status").and_then(Value::as_str);
            meta.or(a.form.get("MessageStatus").map(String::as_str))
                .or(a.form.get("CallbackSource").and(a.form.get("CallStatus")).map(String::as_str))
                .map(str::to_owned)
        };
        self.arrived().iter().filter_map(word).collect()
    }

    /// The messages from persons that have arrived through Meta's webhooks.
    pub fn whatsapp_inbound(&self) -> Vec<Value> {
        let message = |a: &Arrived| a.json.pointer("/entry/0/changes/0/value/messages/0").cloned();
        self.arrived().iter().filter_map(message).collect()
    }

    /// Lets the receiver answer the next requests with these statuses.
    pub fn answer_next(&self, statuses: &[u16]) {
        self.shared.inner.lock().unwrap().answers.extend(statuses);
    }

    /// Lets the receiver answer requests to this path with this TwiML.
    pub fn document(&self, path: &str, twiml: &str) {
        self.shared.inner.lock().unwrap().documents.insert(path.to_owned(), twiml.to_owned());
    }

    /// Plays everything that is due now.
    pub async fn settle(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.simulator.settled()).await.expect("it settles");
    }

    /// Moves time.
    pub async fn advance(&self, seconds: u64) {
        let by = Duration::from_secs(seconds);
        tokio::time::timeout(Duration::from_secs(30), self.simulator.advance(by)).await.expect("time moves");
    }

    /// Posts a WhatsApp message.
    pub async fn whatsapp(&self, body: Value) -> reqwest::Response {
        let url = format!("{}/v23.0/106540352242922/messages", self.simulator.base_url);
        self.client.post(url).bearer_auth("simulated-meta-token").json(&body).send().await.unwrap()
    }

    /// Posts a form to a resource of the Twilio account.
    pub fn twilio(&self, resource: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let account = simulator::TwilioAccount::default();
        let url = format!("{}/2010-04-01/Accounts/{}/{resource}", self.simulator.base_url, account.account_sid);
        self.client.post(url).basic_auth(account.account_sid, Some(account.auth_token)).form(form)
    }

    /// Asks for a resource of the Twilio account.
    pub async fn twilio_get(&self, resource: &str) -> reqwest::Response {
        let account = simulator::TwilioAccount::default();
        let url = format!("{}/2010-04-01/Accounts/{}/{resource}", self.simulator.base_url, account.account_sid);
        self.client.get(url).basic_auth(account.account_sid, Some(account.auth_token)).send().await.unwrap()
    }
}

async fn receive(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let url = format!("{}{uri}", shared.base);
    let form_text = if method == Method::GET { uri.query().unwrap_or_default() } else { text.as_str() };
    let form = reqwest::Url::parse(&format!("http://form/?{form_text}")).unwrap();
    let params: Vec<(String, String)> = form.query_pairs().into_owned().collect();
    let given = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let right = match (given("x-hub-signature-256"), given("x-twilio-signature")) {
        (Some(meta), None) => meta == signature::meta(&shared.app_secret, text.as_bytes()),
        (None, Some(_)) if method == Method::GET => {
            given("x-twilio-signature") == Some(signature::twilio(&shared.auth_token, &url, &[]))
        }
        (None, Some(twilio)) => twilio == signature::twilio(&shared.auth_token, &url, &params),
        (None, None) => method == Method::GET && uri.query().is_some_and(|q| q.contains("hub.mode=subscribe")),
        (Some(_), Some(_)) => false,
    };
    let mut inner = shared.inner.lock().unwrap();
    inner.forged += usize::from(!right);
    let form: BTreeMap<String, String> = params.into_iter().collect();
    if form.get("hub.verify_token").is_some_and(|token| token == "right") {
        return form["hub.challenge"].clone().into_response();
    }
    let json = serde_json::from_str(&text).unwrap_or_default();
    inner.arrived.push(Arrived {
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        method,
        form,
        json,
    });
    let status = StatusCode::from_u16(inner.answers.pop_front().unwrap_or(200)).unwrap();
    let document = inner.documents.get(uri.path()).cloned().unwrap_or_default();
    (status, document).into_response()
}
