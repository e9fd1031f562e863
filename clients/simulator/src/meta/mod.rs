//! The server side of Meta's Cloud API: `POST /v23.0/{phone-number-id}/messages` and `GET /v23.0/{phone-number-id}`.
//!
//! Handlers only; what a request may say is in `request`, what is refused in `errors`, what is posted back in `events`.

mod errors;
mod events;
mod request;

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::answer::{fault_name, finish};
use crate::clock::later;
use crate::core::Core;
use crate::files;
use crate::ledger::{AcceptedCall, Provider};
use crate::line::Scissors;
use crate::phones::{Happening, Plan, Subject, Timeline, Verdict, answers, good_course};
use crate::script::{Failure, MessageScript, ServiceWindow, Span, is_e164};
use errors::MetaError;
use request::Checked;

pub(crate) use events::{Person, WhatsappMessage, inbound, touched};
pub(crate) use request::{TouchKind, Touchable};

/// The routes of the Cloud API.
pub(crate) fn routes() -> axum::Router<Arc<Core>> {
    axum::Router::new()
        .route("/{version}/{id}/messages", post(send))
        .route("/{version}/{id}", get(object))
        .route("/media/{link}", get(download))
}

/// Sends a message.
async fn send(
    State(core): State<Arc<Core>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match accept(&core, &version, &id, &headers, &body) {
        Ok((fault, answer)) => finish(&core, &scissors, fault, Json(answer).into_response()).await,
        Err(refusal) => {
            core.ledger.refused(refusal.code);
            refusal.into_response()
        }
    }
}

type Accepted = (Option<crate::script::Fault>, Value);

fn accept(core: &Core, version: &str, id: &str, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, MetaError> {
    authorize(core, version, id, headers, "post")?;
    let body: Value =
        serde_json::from_slice(body).map_err(|_| MetaError::field("The request body is not valid JSON."))?;
    if body["status"] == "read" {
        if !body["message_id"].is_string() {
            return Err(MetaError::field("The parameter message_id is required."));
        }
        core.files.sign(body);
        return Ok((None, json!({ "success": true })));
    }
    let message = request::check(&body, &core.config.meta.templates)?;
    let number = number_of(core, &message.recipient)?;
    let plan = core.phones.plan_message(Provider::Whatsapp, &number);
    let (failure, fault) = match plan.verdict.clone() {
        Verdict::Throttle => return Err(MetaError::scripted(130429)),
        Verdict::Refuse(code) => return Err(MetaError::scripted(code)),
        Verdict::Drop => return Ok((Some(crate::script::Fault::Drop), Value::Null)),
        Verdict::Accept { .. } if core.overloaded() => return Err(MetaError::scripted(130429)),
        Verdict::Accept { failure, fault } => (failure, fault),
    };
    let at = core.clock.now();
    let person = Person::of(core, &number);
    let wamid = events::wamid(person.wa_id());
    let answer = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": message.recipient, "wa_id": person.wa_id(), "user_id": person.user_id }],
        "messages": [{ "id": wamid }],
    });
    core.ledger.accept(AcceptedCall {
        number: 0,
        channel: Provider::Whatsapp,
        id: wamid.clone(),
        to: number,
        from: id.to_owned(),
        body: message.body.clone(),
        reference: message.reference.clone(),
        at,
        status: "accepted".into(),
        error_code: None,
        answer_fault: fault_name(fault),
        request: body,
    });
    perform(core, &plan, failure, message, person, wamid, at);
    Ok((fault, answer))
}

/// Puts the receipts and answers of an accepted message on the stage.
fn perform(
    core: &Core,
    plan: &Plan<MessageScript>,
    failure: Option<Failure>,
    message: Checked,
    person: Person,
    id: String,
    at: DateTime<Utc>,
) {
    let script = &plan.script;
    let closed = script.service_window == ServiceWindow::Enforced
        && !message.template
        && !core.phones.window_open(&person.number, at);
    let fails = |code: u32| Failure { code, sync: false, after: Span::seconds(1), times: None };
    let failure =
        failure.or_else(|| script.not_on_whatsapp.then(|| fails(131026))).or_else(|| closed.then(|| fails(131047)));
    let events = match failure {
        Some(failure) => vec![(later(at, failure.after.0), Happening::Status("failed", Some(failure.code)))],
        None => good_course(script, at).into_iter().chain(answers(plan, &message.body, at)).collect(),
    };
    let category = if message.template { "utility" } else { "service" };
    let subject = WhatsappMessage { id, person, choices: message.choices, reference: message.reference, category };
    Timeline::begin(core, Subject::Whatsapp(subject), events, script.duplicates.saturating_add(1));
}

/// What stands at an id: a file, or the business phone number.
async fn object(
    State(core): State<Arc<Core>>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(file) = core.files.get(&id) else { return phone_number(&core, &version, &id, &headers) };
    let own = core.config.meta.phone_number_id.clone();
    if let Err(refusal) = authorize(&core, &version, &own, &headers, "get") {
        core.ledger.refused(refusal.code);
        return refusal.into_response();
    }
    if core.files.fails() {
        return http::StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let url = format!("http://{host}/media/{}", core.files.link(&id, core.clock.now()));
    Json(files::described(&id, &file, &url)).into_response()
}

/// The bytes of a file, behind a link that is still good, for who has the token.
async fn download(State(core): State<Arc<Core>>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let own = core.config.meta.phone_number_id.clone();
    match authorize(&core, "v1.0", &own, &headers, "get") {
        Ok(()) => files::handed(core.files.linked(&link, core.clock.now())),
        Err(refusal) => refusal.into_response(),
    }
}

/// What the credential check asks: the business phone number itself.
fn phone_number(core: &Core, version: &str, id: &str, headers: &HeaderMap) -> Response {
    if let Err(refusal) = authorize(core, version, id, headers, "get") {
        core.ledger.refused(refusal.code);
        return refusal.into_response();
    }
    let meta = &core.config.meta;
    Json(json!({
        "verified_name": "Simulated Business",
        "code_verification_status": "VERIFIED",
        "display_phone_number": format!("+{}", meta.display_number),
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": { "level": "STANDARD" },
        "id": meta.phone_number_id,
    }))
    .into_response()
}

fn authorize(core: &Core, version: &str, id: &str, headers: &HeaderMap, method: &str) -> Result<(), MetaError> {
    let numbers = version.strip_prefix('v').and_then(|v| v.split_once('.'));
    if !numbers.is_some_and(|(major, minor)| major.parse::<u8>().is_ok() && minor.parse::<u8>().is_ok()) {
        return Err(MetaError::unknown_path(&format!("/{version}/{id}")));
    }
    let given =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    if given != Some(core.config.meta.token.as_str()) {
        return Err(MetaError::unauthorized(given.is_some()));
    }
    if id != core.config.meta.phone_number_id {
        return Err(MetaError::unknown_object(id, method));
    }
    Ok(())
}

/// The number of a recipient that was given as a number in any writing, or as a WhatsApp user id.
fn number_of(core: &Core, recipient: &str) -> Result<String, MetaError> {
    if recipient.contains(|c: char| c.is_ascii_alphabetic()) {
        let known = core.phones.number_of_user(recipient).or_else(|| events::number_of_made_user_id(recipient));
        return known
            .ok_or_else(|| MetaError::new(131009, "The recipient is not a user of WhatsApp known to this business"));
    }
    let digits: String = recipient.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '+')).collect();
    let number = format!("+{digits}");
    if is_e164(&number) { Ok(number) } else { Err(MetaError::new(131009, "Recipient phone number is not valid")) }
}
