//! One Twilio account: its settings, and the calls of its API with their outcomes. Knows neither messages nor calls.

use std::{fmt, time::Duration};

use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    super::{
        FetchError, Fetched, Refusal, Sent,
        meaning::find,
        settings::{Reader, SettingSpec},
        wire::{self, Download, Reply},
    },
    errors,
    signature::Keys,
};

pub(super) const ACCOUNT_SID: SettingSpec =
    SettingSpec::required("account_sid", "The account's SID, AC and 32 hexadecimal digits, from the console.");
pub(super) const AUTH_TOKEN: SettingSpec = SettingSpec::required(
    "auth_token",
    "The account's auth token: it authenticates our calls and signs Twilio's webhooks.",
)
.secret();
pub(super) const WEBHOOK_KEY: SettingSpec =
    SettingSpec::optional("webhook_key", "The secret of the shared key, where Twilio signs webhooks with one.")
        .secret();
pub(super) const BASE_URL: SettingSpec =
    SettingSpec::optional("base_url", "The base of the API; by default https://api.twilio.com.");
pub(super) const TIMEOUT: SettingSpec =
    SettingSpec::optional("timeout_seconds", "How long one call of the API may take, 1 to 60 s; by default 10.");

/// How often a file may lie elsewhere.
const MAX_HOPS: usize = 4;

/// An account, ready to be called.
pub(super) struct Account {
    client: Client,
    resources: String,
    sid: String,
    token: SecretString,
    webhook_key: Option<SecretString>,
    pub(super) timeout: Duration,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("resources", &self.resources).field("timeout", &self.timeout).finish()
    }
}

#[derive(Deserialize)]
struct Created {
    sid: String,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
}

#[derive(Deserialize)]
struct AccountState {
    status: String,
}

impl Account {
    /// Reads the settings that both connectors share.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let sid = reader.text(ACCOUNT_SID.name);
        if !(sid.is_empty() || is_account_sid(&sid)) {
            reader.problem(ACCOUNT_SID.name, "must be AC and 32 hexadecimal digits");
        }
        let token = reader.secret(AUTH_TOKEN.name);
        let webhook_key = Some(reader.secret(WEBHOOK_KEY.name)).filter(|key| !key.expose_secret().is_empty());
        let base = reader.base_url(BASE_URL.name, "https://api.twilio.com");
        let timeout = reader.seconds(TIMEOUT.name, 1..=60, 10);
        let client = reader.built(BASE_URL.name, wire::client(&base, timeout))?;
        Some(Self { client, resources: format!("{base}/2010-04-01/Accounts/{sid}"), sid, token, webhook_key, timeout })
    }

    /// What Twilio's webhooks may be signed with.
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys { token: &self.token, shared: self.webhook_key.as_ref() }
    }

    /// Creates a resource (`Messages.json`, `Calls.json`): one message or one call.
    pub(super) async fn create(&self, resource: &str, form: &[(&str, &str)]) -> Sent {
        let request = self.client.post(format!("{}/{resource}", self.resources)).form(form);
        match wire::call(self.authenticated(request)).await {
            Ok(reply) => outcome(&reply),
            Err(error) => error.into(),
        }
    }

    /// Lists resources; `None` when there is no readable answer.
    pub(super) async fn list<T: DeserializeOwned>(&self, resource: &str, query: &[(&str, &str)]) -> Option<T> {
        let request = self.client.get(format!("{}/{resource}", self.resources)).query(query);
        let reply = wire::call(self.authenticated(request)).await.ok()?;
        reply.status.is_success().then(|| reply.json()).flatten()
    }

    /// Fetches a file: a picture of a message, or the recording of a call. Twilio sends its caller on to where the file lies,
    /// which is a link that needs no credentials and must not be given any.
    pub(super) async fn fetch(&self, reference: &str, max_bytes: usize) -> Result<Fetched, FetchError> {
        let ours = Url::parse(&self.resources).map(|url| url.origin());
        let url = Url::parse(reference).ok().filter(|url| ours.is_ok_and(|ours| ours == url.origin()));
        let url = url.ok_or_else(|| FetchError::Never("the reference is no address of Twilio's API".to_owned()))?;
        let local = url.scheme() == "http";
        let mut request = self.authenticated(self.client.get(url));
        for _ in 0..MAX_HOPS {
            match wire::download(request, max_bytes).await? {
                Download::Whole { mime_type, bytes } => return Ok(Fetched { mime_type, bytes }),
                Download::Elsewhere(next) if next.scheme() == "https" || local => request = self.client.get(next),
                Download::Elsewhere(_) => {
                    return Err(FetchError::Later("the file lies where there is no TLS".to_owned()));
                }
            }
        }
        Err(FetchError::Later("the file is always elsewhere".to_owned()))
    }

    /// Fetches the account itself.
    pub(super) async fn check(&self) -> Result<(), String> {
        let request = self.client.get(format!("{}.json", self.resources));
        let reply = wire::call(self.authenticated(request)).await.map_err(|error| format!("Twilio: {error}"))?;
        match reply.json::<AccountState>() {
            Some(account) if account.status == "active" => Ok(()),
            Some(account) => Err(format!("Twilio says that the account is {}", account.status)),
            None => match outcome(&reply) {
                Sent::Refused(refusal) => Err(format!("Twilio: {} ({})", refusal.detail, refusal.code)),
                _ => Err(format!("Twilio: HTTP {} without a readable answer", reply.status.as_u16())),
            },
        }
    }

    fn authenticated(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(&self.sid, Some(self.token.expose_secret()))
    }
}

fn is_account_sid(text: &str) -> bool {
    text.strip_prefix("AC").is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn outcome(reply: &Reply) -> Sent {
    if reply.status.is_success() {
        return match reply.json::<Created>() {
            Some(created) if !created.sid.is_empty() => Sent::Accepted { provider_message_id: created.sid },
            _ => wire::by_status(reply),
        };
    }
    let Some(code) = reply.json::<Problem>().map(|problem| problem.code) else { return wire::by_status(reply) };
    match (find(errors::MEANINGS, code), wire::by_status(reply)) {
        (Some(meaning), _) => Sent::Refused(Refusal { retry_after: reply.retry_after, ..meaning.refusal() }),
        (None, Sent::Refused(by_status)) => {
            Sent::Refused(Refusal { retry_after: reply.retry_after, ..errors::refusal(code, by_status.class) })
        }
        // An internal error with a code that says nothing (20500): it may have happened after the message was taken.
        (None, not_known) => not_known,
    }
}
