//! Controllers, their rules and actions, and what they did.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    controller::{Action, ControllerVersion, Hours, Rule},
    conversation::Intent,
};
use proto::v1::{self, controller_action as given};
use uuid::Uuid;

use super::{Faults, common};
use crate::{
    grpc::mask::Mask,
    services::{
        Violation,
        controllers::{Change, Frame, New, Run, Stored, Wanted, name_of, outside::Waiting},
        etag,
    },
};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const LONGEST_ANSWER: TimeDelta = TimeDelta::hours(1);
const MAX_CHANNELS: usize = 50;

/// A controller of the contract; `versioned` names the version too.
#[must_use]
pub fn message(stored: Stored, versioned: bool) -> v1::Controller {
    let (row, version) = (stored.row, stored.version);
    let name = name_of(&row.slug);
    let hours = version.hours.into_iter();
    v1::Controller {
        name: if versioned { format!("{name}/versions/{}", row.number) } else { name },
        display_name: row.display_name,
        description: row.description,
        version: row.number,
        disabled: !row.enabled,
        channels: row.channels.iter().map(|slug| format!("channels/{slug}")).collect(),
        answer_within: row.answer_secs.map(|secs| common::span(TimeDelta::seconds(secs.into()))),
        position: row.position.into(),
        hours: hours.map(|h| v1::OpeningHours { name: h.name, time_zone: h.time_zone, open: h.open }).collect(),
        rules: version.rules.into_iter().map(rule_message).collect(),
        create_time: Some(common::timestamp(row.created_at)),
        version_create_time: Some(common::timestamp(row.version_created_at)),
        etag: etag::of(row.version),
    }
}

fn rule_message(rule: Rule) -> v1::ControllerRule {
    v1::ControllerRule {
        name: rule.name,
        on: rule.on.into_iter().map(|intent| of_intent(intent).into()).collect(),
        when: rule.when.unwrap_or_default(),
        actions: rule.actions.into_iter().map(action_message).collect(),
        last: rule.last,
    }
}

/// An action of the contract.
fn action_message(action: Action) -> v1::ControllerAction {
    use given::Action as Given;
    let channel = |slug: Option<String>| slug.map(|slug| format!("channels/{slug}")).unwrap_or_default();
    let action = match action {
        Action::SendMessage { text, channel: slug } => {
            Given::SendMessage(given::SendMessage { text, channel: channel(slug) })
        }
        Action::SendTemplate { template, variables, channel: slug } => Given::SendTemplate(given::SendTemplate {
            template: format!("templates/{template}"),
            variables,
            channel: channel(slug),
        }),
        Action::EndSession { channel: slug } => Given::EndSession(given::EndSession { channel: channel(slug) }),
        Action::SetActiveChannel { channel: slug } => {
            Given::SetActiveChannel(given::SetActiveChannel { channel: channel(Some(slug)) })
        }
        Action::SetAttribute { name, value } => Given::SetAttribute(given::SetAttribute { name, value }),
        Action::AddLabel { label } => Given::AddLabel(label),
        Action::RemoveLabel { label } => Given::RemoveLabel(label),
        Action::SetPriority { priority } => Given::SetPriority(priority.into()),
        Action::Hold => Given::Hold(()),
        Action::Resume => Given::Resume(()),
        Action::StartFlow { flow, input } => Given::StartFlow(given::StartFlow { flow, input }),
        Action::OpenTicket { category, subject } => Given::OpenTicket(given::OpenTicket { category, subject }),
        Action::RequestOperator { queue } => Given::RequestOperator(queue),
        Action::Close => Given::Close(()),
        Action::CallHttp { method, url, body, timeout_secs, into } => Given::CallHttp(given::CallHttp {
            method,
            url,
            body: body.unwrap_or_default(),
            timeout: (timeout_secs > 0).then(|| common::span(TimeDelta::seconds(timeout_secs.into()))),
            into: into.unwrap_or_default(),
        }),
    };
    v1::ControllerAction { action: Some(action) }
}

/// A controller to be created.
pub fn create(request: v1::CreateControllerRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("controller_id", &request.controller_id);
    let controller = faults.required("controller", request.controller);
    let (frame, version) = faults.inside("controller", |f| parts(controller, f));
    New { slug, frame, version }
}

/// A controller to be checked: its channels and what it says.
pub fn checked(request: v1::ValidateControllerRequest, faults: &mut Faults) -> (Vec<String>, ControllerVersion) {
    let controller = faults.required("controller", request.controller);
    let (frame, version) = parts(controller, faults);
    (frame.channels, version)
}

fn parts(controller: v1::Controller, f: &mut Faults) -> (Frame, ControllerVersion) {
    let frame = Frame {
        display_name: f.text("display_name", controller.display_name, 200),
        description: f.text("description", controller.description, 2000),
        enabled: !controller.disabled,
        channels: channels(&controller.channels, f),
        answer_secs: answer_secs(controller.answer_within, f),
        position: position(controller.position, f),
    };
    (frame, ControllerVersion { hours: hours(controller.hours), rules: rules(controller.rules, f) })
}

fn channels(names: &[String], f: &mut Faults) -> Vec<String> {
    if names.len() > MAX_CHANNELS {
        f.note("channels", format!("has {} entries, at most {MAX_CHANNELS} are allowed", names.len()));
    }
    let named = names.iter().take(MAX_CHANNELS).enumerate();
    named.map(|(at, name)| f.name(&format!("channels[{at}]"), "channels", name)).collect()
}

fn answer_secs(given: Option<prost_types::Duration>, f: &mut Faults) -> Option<i32> {
    let span = f.duration("answer_within", given, SECOND..=LONGEST_ANSWER)?;
    i32::try_from(span.num_seconds()).ok()
}

fn position(given: i32, f: &mut Faults) -> i16 {
    f.number("position", given, 0..=1000).and_then(|position| i16::try_from(position).ok()).unwrap_or_default()
}

fn hours(given: Vec<v1::OpeningHours>) -> Vec<Hours> {
    given.into_iter().map(|h| Hours { name: h.name, time_zone: h.time_zone, open: h.open }).collect()
}

fn rules(given: Vec<v1::ControllerRule>, f: &mut Faults) -> Vec<Rule> {
    let rule = |(at, rule): (usize, v1::ControllerRule)| {
        f.inside(format!("rules[{at}]"), |f| Rule {
            name: rule.name,
            on: (rule.on.iter().enumerate())
                .filter_map(|(i, code)| f.code(&format!("on[{i}]"), *code, to_intent))
                .collect(),
            when: Some(rule.when).filter(|when| !when.is_empty()),
            actions: actions(rule.actions, f),
            last: rule.last,
        })
    };
    given.into_iter().enumerate().map(rule).collect()
}

fn actions(given: Vec<v1::ControllerAction>, f: &mut Faults) -> Vec<Action> {
    let read = given.into_iter().enumerate();
    read.filter_map(|(at, one)| f.inside(format!("actions[{at}]"), |f| action(one, f))).collect()
}

fn action(given: v1::ControllerAction, f: &mut Faults) -> Option<Action> {
    use given::Action as Given;
    let Some(action) = given.action else {
        f.note("", "must say what is to be done: exactly one action must be set");
        return None;
    };
    Some(match action {
        Given::SendMessage(it) => {
            Action::SendMessage { text: it.text, channel: f.optional_name("channel", "channels", &it.channel) }
        }
        Given::SendTemplate(it) => Action::SendTemplate {
            template: f.name("template", "templates", &it.template),
            variables: it.variables,
            channel: f.optional_name("channel", "channels", &it.channel),
        },
        Given::EndSession(it) => Action::EndSession { channel: f.optional_name("channel", "channels", &it.channel) },
        Given::SetActiveChannel(it) => Action::SetActiveChannel { channel: f.name("channel", "channels", &it.channel) },
        Given::SetAttribute(it) => Action::SetAttribute { name: it.name, value: it.value },
        Given::AddLabel(label) => Action::AddLabel { label },
        Given::RemoveLabel(label) => Action::RemoveLabel { label },
        Given::SetPriority(priority) => {
            let read = f.number("set_priority", priority, 0..=9).and_then(|n| u8::try_from(n).ok());
            Action::SetPriority { priority: read.unwrap_or_default() }
        }
        Given::Hold(()) => Action::Hold,
        Given::Resume(()) => Action::Resume,
        Given::StartFlow(it) => Action::StartFlow { flow: it.flow, input: it.input },
        Given::OpenTicket(it) => Action::OpenTicket { category: it.category, subject: it.subject },
        Given::RequestOperator(queue) => Action::RequestOperator { queue },
        Given::Close(()) => Action::Close,
        Given::CallHttp(it) => Action::CallHttp {
            method: if it.method.is_empty() { "POST".to_owned() } else { it.method },
            url: it.url,
            body: Some(it.body).filter(|body| !body.is_empty()),
            timeout_secs: f
                .duration("timeout", it.timeout, SECOND..=TimeDelta::seconds(10))
                .and_then(|span| u8::try_from(span.num_seconds()).ok())
                .unwrap_or_default(),
            into: Some(it.into).filter(|into| !into.is_empty()),
        },
    })
}

/// Which controller changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateControllerRequest, faults: &mut Faults) -> (String, Change, String) {
    let controller = faults.required("controller", request.controller);
    let writable = [
        ("display_name", !controller.display_name.is_empty()),
        ("description", !controller.description.is_empty()),
        ("disabled", controller.disabled),
        ("channels", !controller.channels.is_empty()),
        ("answer_within", controller.answer_within.is_some()),
        ("position", controller.position != 0),
        ("hours", !controller.hours.is_empty()),
        ("rules", !controller.rules.is_empty()),
    ];
    let mask = Mask::read(request.update_mask.as_ref(), &writable, &[], faults);
    let slug = faults.name("controller.name", "controllers", &controller.name);
    let (etag, disabled) = (controller.etag.clone(), controller.disabled);
    let (frame, version) = faults.inside("controller", |f| parts(controller, f));
    let change = Change {
        display_name: mask.take("display_name", frame.display_name),
        description: mask.take("description", frame.description),
        disabled: mask.take("disabled", disabled),
        channels: mask.take("channels", frame.channels),
        answer_secs: mask.take("answer_within", frame.answer_secs),
        position: mask.take("position", frame.position),
        hours: mask.take("hours", version.hours),
        rules: mask.take("rules", version.rules),
    };
    (slug, change, etag)
}

/// Problems of a check.
#[must_use]
pub fn problems(found: Vec<Violation>) -> v1::ValidateControllerResponse {
    let problem = |v: Violation| common::problem(&v.field, v.reason, v.description);
    v1::ValidateControllerResponse { valid: found.is_empty(), problems: found.into_iter().map(problem).collect() }
}

/// Which runs are asked for.
pub fn wanted(request: &v1::ListControllerRunsRequest, below: Option<i64>, faults: &mut Faults) -> Wanted {
    use v1::controller_run::Outcome;
    let outcome = |code: Outcome| match code {
        Outcome::Unspecified => None,
        Outcome::Done => Some("done"),
        Outcome::Partly => Some("partly"),
        Outcome::Failed => Some("failed"),
    };
    Wanted {
        controller: faults.optional_name("controller", "controllers", &request.controller),
        conversation: conversation(&request.conversation, faults),
        outcome: faults.optional_code("outcome", request.outcome, outcome).map(str::to_owned),
        below,
    }
}

fn conversation(name: &str, faults: &mut Faults) -> Option<Uuid> {
    if name.is_empty() {
        return None;
    }
    let id = name.strip_prefix("conversations/").and_then(|id| id.parse().ok());
    if id.is_none() {
        faults.note("conversation", "must be written conversations/{uuid}");
    }
    id
}

/// A run of the contract.
#[must_use]
pub fn run(run: Run) -> v1::ControllerRun {
    use v1::controller_run::Outcome;
    let name = name_of(&run.controller);
    let outcome = match run.outcome.as_str() {
        "done" => Outcome::Done,
        "partly" => Outcome::Partly,
        _ => Outcome::Failed,
    };
    v1::ControllerRun {
        controller: if run.version > 0 { format!("{name}/versions/{}", run.version) } else { name },
        conversation: format!("conversations/{}", run.conversation_id),
        intent: run.intent.parse().map(of_intent).unwrap_or(v1::Intent::Unspecified).into(),
        outcome: outcome.into(),
        rules: run.rules,
        actions: run.actions,
        faults: run.faults,
        decided_outside: run.version == 0,
        time: Some(common::timestamp(run.at)),
    }
}

/// An intent that waits, as the stream shows it.
#[must_use]
pub fn waiting(waiting: Waiting) -> v1::StreamIntentsResponse {
    let waiting = v1::WaitingIntent {
        intent_id: waiting.number.to_string(),
        intent: of_intent(waiting.intent).into(),
        conversation: format!("conversations/{}", waiting.conversation),
        scene: Some(common::of_object(&waiting.scene)),
        answer_until: Some(common::timestamp(waiting.answer_until)),
    };
    v1::StreamIntentsResponse { update: Some(v1::stream_intents_response::Update::Waiting(waiting)) }
}

/// Nothing waited.
#[must_use]
pub fn silence(now: DateTime<Utc>) -> v1::StreamIntentsResponse {
    let checkpoint = v1::Checkpoint { cursor: String::new(), time: Some(common::timestamp(now)) };
    v1::StreamIntentsResponse { update: Some(v1::stream_intents_response::Update::Checkpoint(checkpoint)) }
}

/// A decision: of which controller, about which intent, what is done.
pub fn decision(request: v1::ExecuteActionsRequest, faults: &mut Faults) -> (String, i64, Vec<Action>) {
    let slug = faults.name("controller", "controllers", &request.controller);
    let number = request.intent_id.parse().unwrap_or_else(|_| {
        faults.note("intent_id", "must be an intent_id of StreamIntents");
        0
    });
    if request.actions.len() > domain::controller::MAX_REACTION {
        let words =
            format!("has {} entries, at most {} are allowed", request.actions.len(), domain::controller::MAX_REACTION);
        faults.note("actions", words);
    }
    (slug, number, actions(request.actions, faults))
}

const fn of_intent(intent: Intent) -> v1::Intent {
    match intent {
        Intent::SessionStarted => v1::Intent::SessionStarted,
        Intent::FirstMessage => v1::Intent::FirstMessage,
        Intent::Message => v1::Intent::LaterMessage,
        Intent::InactivityWarning => v1::Intent::InactivityWarning,
        Intent::SessionEnded => v1::Intent::SessionEnded,
        Intent::AgentJoined => v1::Intent::AgentJoined,
        Intent::AgentLeft => v1::Intent::AgentLeft,
        Intent::LastAgentLeft => v1::Intent::LastAgentLeft,
        Intent::Held => v1::Intent::Held,
        Intent::Resumed => v1::Intent::Resumed,
        Intent::ConversationClosing => v1::Intent::ConversationClosing,
        Intent::ConversationClosed => v1::Intent::ConversationClosed,
    }
}

fn to_intent(code: v1::Intent) -> Option<Intent> {
    Intent::ALL.iter().copied().find(|intent| of_intent(*intent) == code)
}
