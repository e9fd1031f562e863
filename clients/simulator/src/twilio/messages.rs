//! Twilio's Messages: accepting an SMS, telling of its way by status callbacks, and SMS from persons.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::errors::TwilioError;
use super::form::{Form, is_sender, query_of};
use super::{API_VERSION, authorize, new_sid, rfc2822};
use crate::answer::{fault_name, finish};
use crate::clock::later;
use crate::core::Core;
use crate::ledger::{AcceptedCall, Provider, WebhookKind};
use crate::line::Scissors;
use crate::phones::{Happening, Plan, Subject, Timeline, Verdict, answers, good_course};
use crate::script::{Failure, Fault, MessageScript, When, is_e164};
use crate::webhook::{Body, Policy, Webhook, split_overrides};

/// Twilio's own opt-out and opt-in words: the whole message, in any case.
const STOP_WORDS: &[&str] = &["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const START_WORDS: &[&str] = &["START", "YES", "UNSTOP"];

/// An SMS that was accepted, as its callbacks and answers need it.
pub(crate) struct SmsMessage {
    sid: String,
    to: String,
    from: String,
    status_callback: Option<String>,
}

/// Sends an SMS.
pub(super) async fn create(
    State(core): State<Arc<Core>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    Path(account): Path<String>,
    uri: http::Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    match accept(&core, &account, uri.path(), &headers, &body) {
        Ok((fault, answer)) => {
            finish(&core, &scissors, fault, (StatusCode::CREATED, Json(answer)).into_response()).await
        }
        Err(refusal) => {
            core.ledger.refused(refusal.code);
            refusal.into_response()
        }
    }
}

/// One message by its SID.
pub(super) async fn fetch(
    State(core): State<Arc<Core>>,
    Path((account, file)): Path<(String, String)>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&core, &account, uri.path(), &headers)?;
    let sid = file.strip_suffix(".json").unwrap_or(&file);
    let known = core.ledger.find(sid).filter(|call| call.channel == Provider::Sms);
    known.map(|call| Json(resource(&core, &call))).ok_or_else(|| TwilioError::not_found(uri.path()))
}

fn accept(
    core: &Core,
    account: &str,
    path: &str,
    headers: &HeaderMap,
    body: &str,
) -> Result<(Option<Fault>, Value), TwilioError> {
    authorize(core, account, path, headers)?;
    let form = Form::parse(body);
    let (to, from, text) = check(core, &form)?;
    let plan = core.phones.plan_message(Provider::Sms, &to);
    let (failure, fault) = match plan.verdict.clone() {
        Verdict::Throttle => return Err(TwilioError::scripted(20429)),
        Verdict::Refuse(code) => return Err(TwilioError::scripted(code)),
        Verdict::Drop => return Ok((Some(Fault::Drop), Value::Null)),
        Verdict::Accept { .. } if core.overloaded() => return Err(TwilioError::scripted(20429)),
        Verdict::Accept { failure, fault } => (failure, fault),
    };
    let by_service = form.get("From").is_none();
    let call = AcceptedCall {
        number: 0,
        channel: Provider::Sms,
        id: new_sid("SM"),
        to,
        from,
        body: text,
        reference: query_of(form.get("StatusCallback")),
        at: core.clock.now(),
        status: if by_service { "accepted" } else { "queued" }.into(),
        error_code: None,
        answer_fault: fault_name(fault),
        request: form.to_json(),
    };
    let answer = resource(core, &call);
    let status_callback = form.get("StatusCallback").map(str::to_owned);
    let subject = SmsMessage { sid: call.id.clone(), to: call.to.clone(), from: call.from.clone(), status_callback };
    let events = course(&plan, failure, &call);
    core.ledger.accept(call);
    Timeline::begin(core, Subject::Sms(subject), events, plan.script.duplicates.saturating_add(1));
    Ok((fault, answer))
}

/// The checks in Twilio's order: recipient, sender, body, callback, opt-out.
fn check(core: &Core, form: &Form) -> Result<(String, String, String), TwilioError> {
    let to = form.get("To").ok_or_else(|| TwilioError::new(21604, "A 'To' phone number is required."))?;
    let from = form.get("From").or_else(|| form.get("MessagingServiceSid"));
    let from = from.ok_or_else(|| TwilioError::new(21603, "A 'From' phone number is required."))?;
    if to.starts_with("whatsapp:") || from.starts_with("whatsapp:") {
        return Err(TwilioError::scripted(63007));
    }
    if !is_e164(to) {
        return Err(TwilioError::new(21211, format!("The 'To' number {to} is not a valid phone number.")));
    }
    if form.get("From").is_some() {
        if !is_sender(from) {
            return Err(TwilioError::new(
                21212,
                format!("The 'From' number {from} is not a valid phone number, shortcode, or alphanumeric sender ID."),
            ));
        }
        let owned = &core.config.twilio.numbers;
        if !owned.is_empty() && !owned.iter().any(|number| number == from) {
            return Err(TwilioError::new(
                21606,
                format!(
                    "The 'From' phone number {from} is not a valid, SMS-capable inbound phone number or short code for your account."
                ),
            ));
        }
    } else if !(from.len() == 34 && from.starts_with("MG") && from[2..].bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(TwilioError::new(21701, format!("The Messaging Service {from} does not exist.")));
    }
    if to == from {
        return Err(TwilioError::new(21266, "'To' and 'From' number cannot be the same."));
    }
    let has_media = form.get("MediaUrl").is_some();
    let text = form
        .get("Body")
        .or(has_media.then_some(""))
        .ok_or_else(|| TwilioError::new(21602, "Message body is required."))?;
    if text.chars().count() > 1600 {
        return Err(TwilioError::new(21617, "The concatenated message body exceeds the 1600 character limit."));
    }
    form.url("StatusCallback", 21609)?;
    if core.phones.opted_out(to, from) {
        return Err(TwilioError::scripted(21610));
    }
    Ok((to.to_owned(), from.to_owned(), text.to_owned()))
}

/// What will happen to an accepted SMS.
fn course(
    plan: &Plan<MessageScript>,
    failure: Option<Failure>,
    call: &AcceptedCall,
) -> Vec<(DateTime<Utc>, Happening)> {
    let Some(failure) = failure else {
        // Nobody is told when an SMS is read.
        let script = MessageScript { read_after: When::Never, ..plan.script.clone() };
        return good_course(&script, call.at).into_iter().chain(answers(plan, &call.body, call.at)).collect();
    };
    let at = later(call.at, failure.after.0);
    // A message that Twilio could not hand to a carrier has `failed`; one that a carrier reports on was `sent` and is `undelivered`.
    if !(30003..=30999).contains(&failure.code) {
        return vec![(at, Happening::Status("failed", Some(failure.code)))];
    }
    let sent =
        plan.script.sent_after.span().map(|span| (later(call.at, span).min(at), Happening::Status("sent", None)));
    sent.into_iter().chain([(at, Happening::Status("undelivered", Some(failure.code)))]).collect()
}

impl SmsMessage {
    /// The webhook that tells of what happened, when somebody is told.
    pub fn webhook(&self, core: &Arc<Core>, happening: &Happening) -> Option<Webhook> {
        let (status, code) = match happening {
            Happening::Status(status, code) => (*status, *code),
            Happening::Reply(reply) => {
                return inbound(core, &self.to, &self.from, reply.text.as_deref().unwrap_or_default(), &[]);
            }
        };
        core.ledger.update(&self.sid, |call| {
            call.status = status.to_owned();
            call.error_code = code;
        });
        let mut params = vec![
            ("SmsSid", self.sid.clone()),
            ("SmsStatus", status.to_owned()),
            ("MessageStatus", status.to_owned()),
            ("To", self.to.clone()),
            ("MessageSid", self.sid.clone()),
            ("AccountSid", core.config.twilio.account_sid.clone()),
            ("From", self.from.clone()),
            ("ApiVersion", API_VERSION.to_owned()),
        ];
        params.extend(code.map(|code| ("ErrorCode", code.to_string())));
        let url = self.status_callback.as_deref()?;
        Some(form_webhook(Provider::Sms, WebhookKind::Status, status, &self.sid, url, params))
    }
}

/// A picture that comes with an SMS.
pub(crate) struct Picture {
    /// Its id on the shelf.
    pub id: String,
    /// Its MIME type.
    pub mime_type: String,
    /// Where the API is.
    pub base_url: String,
}

/// The webhook of an SMS from a person; opt-out words take effect at once.
pub(crate) fn inbound(core: &Core, person: &str, to: &str, text: &str, pictures: &[Picture]) -> Option<Webhook> {
    core.ledger.count(|stats| stats.inbound += 1);
    let word = text.trim().to_uppercase();
    if core.config.twilio.stop_words && STOP_WORDS.contains(&word.as_str()) {
        core.phones.opt_out(person, to, true);
    } else if START_WORDS.contains(&word.as_str()) {
        core.phones.opt_out(person, to, false);
    }
    let sid = new_sid("SM");
    let account = &core.config.twilio.account_sid;
    let about = |(n, picture): (usize, &Picture)| {
        let path = format!("/{API_VERSION}/Accounts/{account}/Messages/{sid}/Media/{}", picture.id);
        [
            (format!("MediaUrl{n}"), format!("{}{path}", picture.base_url)),
            (format!("MediaContentType{n}"), picture.mime_type.clone()),
        ]
    };
    let media: Vec<(String, String)> = pictures.iter().enumerate().flat_map(about).collect();
    let mut params = vec![
        ("ToCountry", String::new()),
        ("SmsMessageSid", sid.clone()),
        ("NumMedia", pictures.len().to_string()),
        ("SmsSid", sid.clone()),
        ("SmsStatus", "received".to_owned()),
        ("Body", text.to_owned()),
        ("To", to.to_owned()),
        ("NumSegments", "1".to_owned()),
        ("MessageSid", sid.clone()),
        ("AccountSid", core.config.twilio.account_sid.clone()),
        ("From", person.to_owned()),
        ("ApiVersion", API_VERSION.to_owned()),
    ];
    params.extend(media.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let url = core.config.twilio.sms_webhook.as_deref()?;
    Some(form_webhook(Provider::Sms, WebhookKind::Inbound, "received", &sid, url, params))
}

/// A POST of a form to a URL that may carry connection overrides.
pub(crate) fn form_webhook(
    channel: Provider,
    kind: WebhookKind,
    event: &str,
    about: &str,
    url: &str,
    params: Vec<(&str, String)>,
) -> Webhook {
    let (url, overrides) = split_overrides(url);
    Webhook {
        channel,
        kind,
        event: event.to_owned(),
        about: about.to_owned(),
        method: Method::POST,
        url,
        body: Body::Form(params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        policy: Policy::Twilio(overrides),
        tries: 0,
        begun: None,
    }
}

/// A message as the API shows it.
pub(super) fn resource(core: &Core, call: &AcceptedCall) -> Value {
    let account = &core.config.twilio.account_sid;
    let uri = format!("/{API_VERSION}/Accounts/{account}/Messages/{}", call.id);
    let by_service = call.from.starts_with("MG") && call.from.len() == 34;
    let sent = !matches!(call.status.as_str(), "queued" | "accepted");
    json!({
        "sid": call.id,
        "account_sid": account,
        "messaging_service_sid": by_service.then_some(&call.from),
        "from": (!by_service).then_some(&call.from),
        "to": call.to,
        "body": call.body,
        "status": call.status,
        "direction": "outbound-api",
        "api_version": API_VERSION,
        "num_segments": "1",
        "num_media": "0",
        "date_created": rfc2822(call.at),
        "date_updated": rfc2822(call.at),
        "date_sent": sent.then(|| rfc2822(call.at)),
        "error_code": call.error_code,
        "error_message": Value::Null,
        "price": Value::Null,
        "price_unit": "USD",
        "uri": format!("{uri}.json"),
        "subresource_uris": { "media": format!("{uri}/Media.json") },
    })
}
