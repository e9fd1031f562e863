//! Twilio's Calls: accepting a call, showing it, and ending it on the caller's word.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::errors::TwilioError;
use super::form::{Form, query_of};
use super::{API_VERSION, authorize, new_sid, rfc2822};
use crate::answer::{fault_name, finish};
use crate::core::Core;
use crate::ledger::{AcceptedCall, Provider, WebhookKind};
use crate::line::Scissors;
use crate::phones::Verdict;
use crate::script::{Fault, is_e164};
use crate::voice::{EVENTS, Order, Walk, parse};

/// Places a call.
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

fn accept(
    core: &Core,
    account: &str,
    path: &str,
    headers: &HeaderMap,
    body: &str,
) -> Result<(Option<Fault>, Value), TwilioError> {
    authorize(core, account, path, headers)?;
    let form = Form::parse(body);
    check(core, &form)?;
    let order = Order::read(&form, &new_sid("CA"));
    let plan = core.phones.plan_call(&order.to);
    let fault = match plan.verdict {
        Verdict::Throttle => return Err(TwilioError::scripted(20429)),
        Verdict::Refuse(code) => return Err(TwilioError::scripted(code)),
        Verdict::Drop => return Ok((Some(Fault::Drop), Value::Null)),
        Verdict::Accept { .. } if core.overloaded() => return Err(TwilioError::scripted(20429)),
        Verdict::Accept { fault, .. } => fault,
    };
    let call = AcceptedCall {
        number: 0,
        channel: Provider::Voice,
        id: order.sid.clone(),
        to: order.to.clone(),
        from: order.from.clone(),
        body: form.get("Url").or(form.get("Twiml")).unwrap_or_default().to_owned(),
        reference: query_of(order.status_callback.as_deref()),
        at: core.clock.now(),
        status: "queued".into(),
        error_code: None,
        answer_fault: fault_name(fault),
        request: form.to_json(),
    };
    let (answer, at) = (resource(core, &call), call.at);
    core.ledger.accept(call);
    Walk::begin(core, order, plan.script, at);
    Ok((fault, answer))
}

/// The checks of a call's parameters.
fn check(core: &Core, form: &Form) -> Result<(), TwilioError> {
    let to = form.get("To").ok_or_else(|| TwilioError::new(21201, "No 'To' number is specified"))?;
    let from = form.get("From").ok_or_else(|| TwilioError::new(21213, "No 'From' number is specified"))?;
    if !is_e164(to) {
        return Err(TwilioError::new(
            21211,
            format!("The phone number you are attempting to call, {to}, is not valid."),
        ));
    }
    if !is_e164(from) {
        return Err(TwilioError::new(21212, format!("The 'From' number {from} is not a valid phone number.")));
    }
    let owned = &core.config.twilio.numbers;
    if !owned.is_empty() && !owned.iter().any(|number| number == from) {
        return Err(TwilioError::new(
            21210,
            format!("The source phone number provided, {from}, is not yet verified for your account."),
        ));
    }
    match (form.url("Url", 21205)?, form.get("Twiml")) {
        (None, None) => return Err(TwilioError::new(21205, "Url parameter is required.")),
        (None, Some(document)) if document.chars().count() > 4000 => {
            return Err(TwilioError::new(21218, "The 'Twiml' parameter must be at most 4000 characters long."));
        }
        (None, Some(document)) => {
            parse(document).map_err(|error| TwilioError::new(error.code(), error.to_string()))?;
        }
        (Some(_), _) => (),
    }
    form.url("FallbackUrl", 21205)?;
    form.url("StatusCallback", 21609)?;
    form.url("AsyncAmdStatusCallback", 21609)?;
    let wrong = |name: &str, value: &str, right: &str| {
        Err(TwilioError::new(21609, format!("Invalid parameter {name}={value}: it must be {right}")))
    };
    if let Some(event) = form.words("StatusCallbackEvent").into_iter().find(|event| !EVENTS.contains(event)) {
        return wrong("StatusCallbackEvent", event, "initiated, ringing, answered or completed");
    }
    if let Some(mode) = form.get("MachineDetection").filter(|mode| !matches!(*mode, "Enable" | "DetectMessageEnd")) {
        return wrong("MachineDetection", mode, "Enable or DetectMessageEnd");
    }
    if let Some(text) = form.get("Timeout").filter(|text| !text.parse::<u32>().is_ok_and(|n| n <= 600)) {
        return wrong("Timeout", text, "a number of seconds from 0 to 600");
    }
    Ok(())
}

/// One call by its SID.
pub(super) async fn fetch(
    State(core): State<Arc<Core>>,
    Path((account, file)): Path<(String, String)>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&core, &account, uri.path(), &headers)?;
    let known = find(&core, &file).ok_or_else(|| TwilioError::not_found(uri.path()))?;
    Ok(Json(resource(&core, &known)))
}

/// Ends a call: `Status=canceled` before it is answered, `Status=completed` at any time.
pub(super) async fn update(
    State(core): State<Arc<Core>>,
    Path((account, file)): Path<(String, String)>,
    uri: http::Uri,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, TwilioError> {
    authorize(&core, &account, uri.path(), &headers)?;
    let call = find(&core, &file).ok_or_else(|| TwilioError::not_found(uri.path()))?;
    let form = Form::parse(&body);
    let answered = call.status == "in-progress";
    let status = match form.get("Status") {
        Some("canceled") if !answered => "canceled",
        Some("completed") if answered => "completed",
        Some("completed") => "canceled",
        Some("canceled") => return Err(TwilioError::new(21220, "Call is in-progress. Cannot cancel.")),
        _ => {
            return Err(TwilioError::new(
                21218,
                "Invalid parameter Status: this simulator takes canceled or completed",
            ));
        }
    };
    if matches!(call.status.as_str(), "completed" | "busy" | "failed" | "no-answer" | "canceled") {
        return Err(TwilioError::new(21220, "Call is not in-progress. Cannot redirect."));
    }
    core.ledger.update(&call.id, |call| call.status = status.to_owned());
    report_end(&core, &call, status);
    let now = core.ledger.find(&call.id).unwrap_or(call);
    Ok(Json(resource(&core, &now)))
}

/// The last callback of a call that its caller ended.
fn report_end(core: &Core, call: &AcceptedCall, status: &str) {
    let form = Form::from_json(&call.request);
    let order = Order::read(&form, &call.id);
    let sequence = core.ledger.webhooks(|hook| hook.about == call.id && hook.kind == WebhookKind::Status).len();
    let more = vec![("CallDuration", "0".to_owned()), ("Duration", "0".to_owned())];
    if let Some(webhook) = order.callback(core, "completed", status, sequence, core.clock.now(), more) {
        core.stage.put(core.clock.now(), crate::stage::Play::Retry(Box::new(webhook)));
    }
}

fn find(core: &Core, file: &str) -> Option<AcceptedCall> {
    let sid = file.strip_suffix(".json").unwrap_or(file);
    core.ledger.find(sid).filter(|call| call.channel == Provider::Voice)
}

/// A call as the API shows it.
pub(super) fn resource(core: &Core, call: &AcceptedCall) -> Value {
    let account = &core.config.twilio.account_sid;
    let uri = format!("/{API_VERSION}/Accounts/{account}/Calls/{}", call.id);
    json!({
        "sid": call.id,
        "account_sid": account,
        "to": call.to,
        "to_formatted": call.to,
        "from": call.from,
        "from_formatted": call.from,
        "status": call.status,
        "direction": "outbound-api",
        "api_version": API_VERSION,
        "date_created": rfc2822(call.at),
        "date_updated": rfc2822(call.at),
        "start_time": rfc2822(call.at),
        "end_time": Value::Null,
        "duration": Value::Null,
        "answered_by": Value::Null,
        "price": Value::Null,
        "price_unit": "USD",
        "uri": format!("{uri}.json"),
        "subresource_uris": { "events": format!("{uri}/Events.json"), "recordings": format!("{uri}/Recordings.json") },
    })
}
