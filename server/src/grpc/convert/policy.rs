//! Policies, their steps, and timelines of what would happen.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    fallback::{OnFailure, Policy, QuietHours, Step, Success, Target},
    quiet_hours::Window,
};
use proto::v1::{self, step::Target as GivenTarget};

use super::{Faults, common, contact, template};
use crate::{
    grpc::mask::Mask,
    services::{
        Violation, etag,
        policies::{
            Change, Definition, New, Stored, name_of,
            simulate::{Moment, Question, Scenario, Timeline, What},
        },
    },
};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::days(30);
const LONGEST_VALIDITY: TimeDelta = TimeDelta::days(90);
/// The back-off of a step that says none.
const DEFAULT_EVERY: TimeDelta = TimeDelta::seconds(5);

/// A policy of the contract; `versioned` names the version too.
#[must_use]
pub fn message(stored: Stored, versioned: bool) -> v1::FallbackPolicy {
    let (row, definition) = (stored.row, stored.definition);
    let name = name_of(&row.slug);
    v1::FallbackPolicy {
        name: if versioned { format!("{name}/versions/{}", row.number) } else { name },
        display_name: row.display_name,
        description: row.description,
        version: row.number,
        steps: definition.policy.steps.into_iter().map(step_message).collect(),
        quiet_hours: definition.quiet_hours.map(quiet_message),
        valid_for: definition.valid_for_ms.map(|ms| common::span(TimeDelta::milliseconds(ms))),
        at_least_once: definition.policy.at_least_once,
        create_time: Some(common::timestamp(row.created_at)),
        version_create_time: Some(common::timestamp(row.version_created_at)),
        etag: etag::of(row.version),
    }
}

/// A step of the contract.
pub fn step_message(step: Step) -> v1::Step {
    let quiet_mode = match step.quiet_hours {
        QuietHours::Defer => v1::step::QuietMode::Defer,
        QuietHours::Skip => v1::step::QuietMode::Skip,
        QuietHours::Ignore => v1::step::QuietMode::Ignore,
    };
    let target = match step.target {
        Target::CallList(slug) => {
            let target = Some(GivenTarget::CallList(format!("callLists/{slug}")));
            return v1::Step { target, quiet_mode: quiet_mode.into(), ..v1::Step::default() };
        }
        Target::Channel(slug) => GivenTarget::Channel(format!("channels/{slug}")),
        Target::ChannelType(channel_type) => GivenTarget::ChannelType(common::of_channel_type(channel_type).into()),
    };
    let on_failure = match step.on_failure {
        OnFailure::Now => v1::step::OnFailure::Now,
        OnFailure::Wait => v1::step::OnFailure::Wait,
    };
    v1::Step {
        target: Some(target),
        template: step.template.map(|t| format!("templates/{t}")).unwrap_or_default(),
        success: common::of_success(step.success).into(),
        wait: Some(common::span(step.wait)),
        attempts: i32::try_from(step.attempts).unwrap_or(i32::MAX),
        every: Some(common::span(step.every)),
        on_failure: on_failure.into(),
        read_fallback: step.read_fallback.map(common::span),
        quiet_mode: quiet_mode.into(),
        valid_for: step.valid_for.map(common::span),
    }
}

fn quiet_message(window: Window) -> v1::QuietHours {
    let text = window.to_string();
    let (start, end) = text.split_once('-').unwrap_or((&text, ""));
    v1::QuietHours { start: start.to_owned(), end: end.to_owned() }
}

/// A policy to be created.
pub fn create(request: v1::CreatePolicyRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("policy_id", &request.policy_id);
    let policy = faults.required("policy", request.policy);
    faults.inside("policy", |f| New {
        slug,
        display_name: f.text("display_name", policy.display_name.clone(), 200),
        description: f.text("description", policy.description.clone(), 2000),
        definition: definition(policy, f),
    })
}

/// Which policy changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdatePolicyRequest, faults: &mut Faults) -> (String, Change, String) {
    let policy = faults.required("policy", request.policy);
    let writable = [
        ("display_name", !policy.display_name.is_empty()),
        ("description", !policy.description.is_empty()),
        ("steps", !policy.steps.is_empty()),
        ("quiet_hours", policy.quiet_hours.is_some()),
        ("valid_for", policy.valid_for.is_some()),
        ("at_least_once", policy.at_least_once),
    ];
    let mask = Mask::read(request.update_mask.as_ref(), &writable, &[], faults);
    let (slug, etag) = (faults.name("policy.name", "policies", &policy.name), policy.etag.clone());
    let change = faults.inside("policy", |f| {
        let display_name = f.text("display_name", policy.display_name.clone(), 200);
        let description = f.text("description", policy.description.clone(), 2000);
        let all = definition(policy, f);
        Change {
            display_name: mask.take("display_name", display_name),
            description: mask.take("description", description),
            steps: mask.take("steps", (all.policy.steps, all.unsaid_success)),
            quiet_hours: mask.take("quiet_hours", all.quiet_hours),
            valid_for_ms: mask.take("valid_for", all.valid_for_ms),
            at_least_once: mask.take("at_least_once", all.policy.at_least_once),
        }
    });
    (slug, change, etag)
}

/// What a policy says, as far as it can be read on its own; the world is asked later.
pub fn definition(policy: v1::FallbackPolicy, faults: &mut Faults) -> Definition {
    let count = policy.steps.len();
    let unsaid = policy.steps.iter().enumerate().filter(|(_, step)| step.success == 0).map(|(index, _)| index);
    let unsaid_success = unsaid.collect();
    let steps =
        policy.steps.into_iter().enumerate().filter_map(|(index, given)| {
            faults.inside(format!("steps[{index}]"), |f| step(given, index + 1 == count, f))
        });
    let steps = steps.collect();
    let quiet_hours = policy.quiet_hours.and_then(|q| quiet_hours(&q, faults));
    let valid_for = faults.duration("valid_for", policy.valid_for, SECOND..=LONGEST_VALIDITY);
    Definition {
        policy: Policy { steps, at_least_once: policy.at_least_once, purpose: domain::consent::SERVICE.to_owned() },
        quiet_hours,
        valid_for_ms: valid_for.map(|d| d.num_milliseconds()),
        unsaid_success,
    }
}

fn quiet_hours(given: &v1::QuietHours, faults: &mut Faults) -> Option<Window> {
    match Window::parse(&format!("{}-{}", given.start.trim(), given.end.trim())) {
        Ok(window) => Some(window),
        Err(error) => {
            faults.note("quiet_hours", error.to_string());
            None
        }
    }
}

/// One step of a policy, or the one step of a send. The last one needs no wait.
pub fn step(given: v1::Step, last: bool, faults: &mut Faults) -> Option<Step> {
    let quiet_hours = faults.optional_code("quiet_mode", given.quiet_mode, |mode: v1::step::QuietMode| match mode {
        v1::step::QuietMode::Unspecified => None,
        v1::step::QuietMode::Defer => Some(QuietHours::Defer),
        v1::step::QuietMode::Skip => Some(QuietHours::Skip),
        v1::step::QuietMode::Ignore => Some(QuietHours::Ignore),
    });
    let target = target(given.target.clone(), faults)?;
    let defaults = Step::to(target);
    if matches!(defaults.target, Target::CallList(_)) {
        return Some(call_list_step(
            &given,
            Step { quiet_hours: quiet_hours.unwrap_or(QuietHours::Defer), ..defaults },
            faults,
        ));
    }
    if given.wait.is_none() && !last {
        faults.note("wait", "is missing: only the last step needs none");
    }
    let named = (!given.template.is_empty()).then(|| template::reference("template", &given.template, faults));
    let on_failure = faults.optional_code("on_failure", given.on_failure, |on: v1::step::OnFailure| match on {
        v1::step::OnFailure::Unspecified => None,
        v1::step::OnFailure::Now => Some(OnFailure::Now),
        v1::step::OnFailure::Wait => Some(OnFailure::Wait),
    });
    let attempts = faults.number("attempts", given.attempts, 1..=10);
    Some(Step {
        template: named.map(|t| t.to_string()),
        success: faults
            .optional_code("success", given.success, common::success)
            .unwrap_or(default_success(&defaults.target)),
        wait: faults.duration("wait", given.wait, SECOND..=LONGEST_WAIT).unwrap_or(defaults.wait),
        attempts: attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(defaults.attempts),
        every: faults.duration("every", given.every, SECOND..=TimeDelta::days(1)).unwrap_or(DEFAULT_EVERY),
        on_failure: on_failure.unwrap_or(OnFailure::Now),
        read_fallback: faults.duration("read_fallback", given.read_fallback, SECOND..=LONGEST_WAIT),
        quiet_hours: quiet_hours.unwrap_or(QuietHours::Defer),
        valid_for: faults.duration("valid_for", given.valid_for, SECOND..=LONGEST_WAIT),
        ..defaults
    })
}

fn target(given: Option<GivenTarget>, faults: &mut Faults) -> Option<Target> {
    match given {
        Some(GivenTarget::Channel(name)) => Some(Target::Channel(faults.name("channel", "channels", &name))),
        Some(GivenTarget::CallList(name)) => Some(Target::CallList(faults.name("call_list", "callLists", &name))),
        Some(GivenTarget::ChannelType(code)) => {
            faults.code("channel_type", code, common::channel_type).map(Target::ChannelType)
        }
        None => {
            faults.note("channel", "exactly one of channel, channel_type and call_list must be set");
            None
        }
    }
}

/// Whoever puts a person on a list sends nothing and waits for nothing.
fn call_list_step(given: &v1::Step, step: Step, faults: &mut Faults) -> Step {
    let set = [
        ("template", !given.template.is_empty()),
        ("success", given.success != 0),
        ("wait", given.wait.is_some()),
        ("attempts", given.attempts != 0),
        ("every", given.every.is_some()),
        ("on_failure", given.on_failure != 0),
        ("read_fallback", given.read_fallback.is_some()),
        ("valid_for", given.valid_for.is_some()),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        faults.note(field, "means nothing for a call list and must not be set");
    }
    step
}

/// What the channel type can prove; for a named channel `Definition::settle` says it.
fn default_success(target: &Target) -> Success {
    match target {
        Target::ChannelType(channel_type) => Success::standard(*channel_type),
        Target::Channel(_) | Target::CallList(_) => Success::Delivered,
    }
}

/// Problems of a check.
#[must_use]
pub fn problems(found: Vec<Violation>) -> v1::ValidatePolicyResponse {
    let problem = |v: Violation| common::problem(&v.field, v.reason, v.description);
    v1::ValidatePolicyResponse { valid: found.is_empty(), problems: found.into_iter().map(problem).collect() }
}

/// What a simulation asks besides its policy.
pub fn simulate(request: v1::SimulatePolicyRequest, definition: Definition, faults: &mut Faults) -> Question {
    let zone = faults.time_zone("time_zone", request.time_zone);
    let contact = Some(request.contact).filter(|c| !c.is_empty()).map(|c| contact::name("contact", &c, faults));
    let purpose = if request.purpose.is_empty() { domain::consent::SERVICE.to_owned() } else { request.purpose };
    Question {
        definition,
        contact,
        purpose: faults.text("purpose", purpose, 63),
        start: faults.time("start_time", request.start_time),
        time_zone: zone.parse().ok(),
    }
}

/// A timeline of the contract.
#[must_use]
pub fn timeline(timeline: Timeline) -> v1::SimulatedTimeline {
    use v1::simulated_timeline::Scenario as Code;
    let scenario = match timeline.scenario {
        Scenario::Silent => Code::Silent,
        Scenario::Delivered => Code::Delivered,
        Scenario::Read => Code::Read,
        Scenario::Replied => Code::Replied,
        Scenario::Failed => Code::Failed,
    };
    let start = timeline.moments.first().map(|m| m.at).unwrap_or_default();
    let end = timeline.moments.last().map(|m| m.at).unwrap_or_default();
    v1::SimulatedTimeline {
        scenario: scenario.into(),
        moments: timeline.moments.into_iter().map(|m| moment(m, start)).collect(),
        end_state: timeline.end.as_str().to_ascii_uppercase(),
        duration: Some(common::span(end - start)),
    }
}

fn moment(moment: Moment, start: DateTime<Utc>) -> v1::SimulatedMoment {
    use v1::simulated_moment::Kind;
    let step = moment.step.and_then(|s| i32::try_from(s).ok()).unwrap_or(-1);
    let mut message = v1::SimulatedMoment {
        time: Some(common::timestamp(moment.at)),
        after: Some(common::span(moment.at - start)),
        step,
        ..Default::default()
    };
    // People count from 1, fields of the contract from 0.
    let counted = step + 1;
    let (kind, description) = match moment.what {
        What::Sent(channel, channel_type) => {
            message.channel_type = common::of_channel_type(channel_type).into();
            message.channel = format!("channels/{channel}");
            (Kind::Sent, format!("Step {counted} sends by {channel_type} over {channel}."))
        }
        What::Skipped(channel, reason) => {
            message.skip_reason = common::of_skip_reason(reason).into();
            message.channel = channel.map(|c| format!("channels/{c}")).unwrap_or_default();
            (Kind::Skipped, format!("Step {counted} is skipped: {reason}."))
        }
        What::Deferred(reason) => (Kind::Deferred, format!("Step {counted} waits: {reason}.")),
        What::Succeeded => (Kind::Succeeded, format!("Step {counted} has its success.")),
        What::Failed(reason) => (Kind::Failed, format!("Step {counted} failed: {reason}.")),
        What::WaitOver(reason) => (Kind::WaitOver, format!("The wait of step {counted} is over: {reason}.")),
        What::Answered => (Kind::Answered, "The person answers.".to_owned()),
        What::Listed(list) => (Kind::Listed, format!("The person is put on the call list {list}.")),
        What::Ended(state) => {
            (Kind::Ended, format!("The notification ends as {}.", state.as_str().to_ascii_uppercase()))
        }
    };
    v1::SimulatedMoment { kind: kind.into(), description, ..message }
}
