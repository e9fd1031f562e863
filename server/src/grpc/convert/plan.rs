//! Plans: which way a notification takes. The steps of policies, of single sends, of campaigns and of triggers are read and
//! shown here, so that all of them mean the same.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::fallback::{OnFailure, QuietHours, Step, Target};
use proto::v1::{self, step::QuietMode};

use super::{Faults, common};
use crate::services::{sending::way::Way, templates::Reference};

/// One step as a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenStep {
    /// The step.
    pub step: Step,
    /// Whether the request says what counts as success; else it follows from the channel.
    pub says_success: bool,
}

/// The attempts of a step that does not say.
const ATTEMPTS: u32 = 3;
/// The first back-off of a step that does not say.
const EVERY: TimeDelta = TimeDelta::seconds(5);
const SECOND: TimeDelta = TimeDelta::seconds(1);
const MONTH: TimeDelta = TimeDelta::days(30);

/// Which way to take, as far as a request alone can say.
pub fn way(plan: v1::Plan, faults: &mut Faults) -> Way {
    let mut way = Way::default();
    match plan.way {
        None => faults.note("policy", "is missing, and so is a step: exactly one of them must be set"),
        Some(v1::plan::Way::Policy(name)) => {
            let (slug, number) = faults.versioned_name("policy", "policies", &name);
            way.policy = Some(Reference { slug, number }.to_string());
        }
        Some(v1::plan::Way::Step(step)) => {
            let given = faults.inside("step", |f| self::step(step, true, f));
            (way.step, way.says_success) = (Some(given.step), given.says_success);
        }
    }
    let template = template("template", &plan.template, faults);
    let mut step_templates = BTreeMap::new();
    for (index, given) in plan.step_templates.into_iter().enumerate() {
        faults.inside(format!("step_templates[{index}]"), |faults| {
            let named = self::template("template", &given.template, faults);
            if named.is_none() && given.template.is_empty() {
                faults.note("template", "is missing");
            }
            let Ok(step) = usize::try_from(given.step) else {
                return faults.note("step", "is the index of a step, from 0");
            };
            if named.is_some_and(|named| step_templates.insert(step, named).is_some()) {
                faults.note("step", format!("is {step}, for which another entry has a template too"));
            }
        });
    }
    Way { template, step_templates, ..way }
}

/// A plan of the contract, as it is stored with a campaign or a trigger.
#[must_use]
pub fn message(way: Way) -> v1::Plan {
    let given = match (way.step, way.policy) {
        (Some(step), _) => Some(v1::plan::Way::Step(step_message(&step, None))),
        (None, policy) => policy.map(|policy| v1::plan::Way::Policy(format!("policies/{policy}"))),
    };
    let step_template = |(step, template)| v1::StepTemplate {
        step: i32::try_from(step).unwrap_or(i32::MAX),
        template: format!("templates/{template}"),
    };
    v1::Plan {
        way: given,
        template: way.template.map(|template| format!("templates/{template}")).unwrap_or_default(),
        step_templates: way.step_templates.into_iter().map(step_template).collect(),
    }
}

/// One step; the last one of a policy needs no wait.
pub fn step(step: v1::Step, last: bool, faults: &mut Faults) -> GivenStep {
    let target = target(step.target.clone(), faults);
    if matches!(target, Target::CallList(_)) {
        only_a_call_list(&step, faults);
        let step = Step { quiet_hours: quiet_hours(step.quiet_mode, faults), ..Step::to(target) };
        return GivenStep { step, says_success: true };
    }
    let wait = faults.duration("wait", step.wait, SECOND..=MONTH);
    if step.wait.is_none() && !last {
        faults.note("wait", "is missing: only the last step of a policy can do without one");
    }
    let (standard, f) = (Step::to(target), faults);
    let read = Step {
        template: template("template", &step.template, f),
        success: f.optional_code("success", step.success, common::success).unwrap_or(standard.success),
        wait: wait.unwrap_or(standard.wait),
        attempts: f.number("attempts", step.attempts, 1..=10).and_then(|n| u32::try_from(n).ok()).unwrap_or(ATTEMPTS),
        every: f.duration("every", step.every, SECOND..=TimeDelta::days(1)).unwrap_or(EVERY),
        on_failure: on_failure(step.on_failure, f),
        read_fallback: f.duration("read_fallback", step.read_fallback, SECOND..=MONTH),
        quiet_hours: quiet_hours(step.quiet_mode, f),
        valid_for: f.duration("valid_for", step.valid_for, SECOND..=MONTH),
        target: standard.target,
    };
    GivenStep { step: read, says_success: step.success != 0 }
}

/// A step of the contract; `template` is the version that was pinned for it, where one was.
#[must_use]
pub fn step_message(step: &Step, template: Option<String>) -> v1::Step {
    let target = match &step.target {
        Target::Channel(slug) => v1::step::Target::Channel(format!("channels/{slug}")),
        Target::ChannelType(channel_type) => {
            v1::step::Target::ChannelType(common::of_channel_type(*channel_type).into())
        }
        Target::CallList(slug) => v1::step::Target::CallList(format!("callLists/{slug}")),
    };
    let quiet_mode = match step.quiet_hours {
        QuietHours::Defer => QuietMode::Defer,
        QuietHours::Skip => QuietMode::Skip,
        QuietHours::Ignore => QuietMode::Ignore,
    };
    let list = v1::Step { target: Some(target), quiet_mode: quiet_mode.into(), ..v1::Step::default() };
    if matches!(step.target, Target::CallList(_)) {
        return list;
    }
    let on_failure = match step.on_failure {
        OnFailure::Now => v1::step::OnFailure::Now,
        OnFailure::Wait => v1::step::OnFailure::Wait,
    };
    let named = || step.template.as_ref().map(|name| format!("templates/{name}"));
    v1::Step {
        template: template.or_else(named).unwrap_or_default(),
        success: common::of_success(step.success).into(),
        wait: Some(common::span(step.wait)),
        attempts: i32::try_from(step.attempts).unwrap_or(i32::MAX),
        every: Some(common::span(step.every)),
        on_failure: on_failure.into(),
        read_fallback: step.read_fallback.map(common::span),
        valid_for: step.valid_for.map(common::span),
        ..list
    }
}

fn target(target: Option<v1::step::Target>, faults: &mut Faults) -> Target {
    match target {
        Some(v1::step::Target::Channel(name)) => Target::Channel(faults.name("channel", "channels", &name)),
        Some(v1::step::Target::CallList(name)) => Target::CallList(faults.name("call_list", "callLists", &name)),
        Some(v1::step::Target::ChannelType(code)) => match faults.code("channel_type", code, common::channel_type) {
            Some(channel_type) => Target::ChannelType(channel_type),
            None => Target::Channel(String::new()),
        },
        None => {
            faults.note("channel_type", "is missing, and so are a channel and a call list: one of them must be set");
            Target::Channel(String::new())
        }
    }
}

/// A call list takes a person as he is: nothing else of a step means anything there.
fn only_a_call_list(step: &v1::Step, faults: &mut Faults) {
    let set = [
        ("template", !step.template.is_empty()),
        ("success", step.success != 0),
        ("wait", step.wait.is_some()),
        ("attempts", step.attempts != 0),
        ("every", step.every.is_some()),
        ("on_failure", step.on_failure != 0),
        ("read_fallback", step.read_fallback.is_some()),
        ("valid_for", step.valid_for.is_some()),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        faults.note(field, "must not be set in a step that leads to a call list");
    }
}

/// A template as [`crate::services::templates::Reference`] writes it.
fn template(field: &str, name: &str, faults: &mut Faults) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    match faults.versioned_name(field, "templates", name) {
        (slug, 0) => Some(slug),
        (slug, number) => Some(format!("{slug}/versions/{number}")),
    }
}

fn on_failure(code: i32, faults: &mut Faults) -> OnFailure {
    let read = |value| match value {
        v1::step::OnFailure::Unspecified | v1::step::OnFailure::Now => Some(OnFailure::Now),
        v1::step::OnFailure::Wait => Some(OnFailure::Wait),
    };
    faults.code("on_failure", code, read).unwrap_or(OnFailure::Now)
}

fn quiet_hours(code: i32, faults: &mut Faults) -> QuietHours {
    let read = |value| match value {
        QuietMode::Unspecified | QuietMode::Defer => Some(QuietHours::Defer),
        QuietMode::Skip => Some(QuietHours::Skip),
        QuietMode::Ignore => Some(QuietHours::Ignore),
    };
    faults.code("quiet_mode", code, read).unwrap_or(QuietHours::Defer)
}

#[cfg(test)]
mod tests {
    use domain::channel::ChannelType;

    use super::*;

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn fields(read: impl FnOnce(&mut Faults)) -> Vec<String> {
        let mut faults = Faults::default();
        read(&mut faults);
        faults.into_violations().into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn a_step_comes_back_as_it_went_with_its_defaults_filled_in() {
        let given = v1::Step {
            target: Some(v1::step::Target::ChannelType(v1::ChannelType::Email.into())),
            template: "templates/welcome/versions/2".into(),
            wait: seconds(60),
            ..v1::Step::default()
        };
        let mut faults = Faults::default();
        let read = step(given, false, &mut faults);
        assert!(faults.is_empty());
        assert_eq!((&read.step.target, read.says_success), (&Target::ChannelType(ChannelType::Email), false));
        let shown = step_message(&read.step, None);
        assert_eq!(
            (shown.template.as_str(), shown.attempts, shown.every),
            ("templates/welcome/versions/2", 3, seconds(5))
        );
        assert_eq!(step(shown, false, &mut faults).step, read.step);
    }

    #[test]
    fn all_that_is_wrong_with_a_step_is_said() {
        let bad = v1::Step {
            target: Some(v1::step::Target::Channel("sms".into())),
            template: "welcome".into(),
            success: 99,
            attempts: 11,
            every: seconds(0),
            on_failure: 7,
            quiet_mode: 7,
            ..v1::Step::default()
        };
        let found = fields(|f| drop(step(bad, false, f)));
        assert_eq!(found, ["channel", "wait", "template", "success", "attempts", "every", "on_failure", "quiet_mode"]);
    }

    #[test]
    fn a_call_list_has_nothing_but_its_name() {
        let list = v1::Step {
            target: Some(v1::step::Target::CallList("callLists/office".into())),
            wait: seconds(5),
            attempts: 2,
            ..v1::Step::default()
        };
        assert_eq!(fields(|f| drop(step(list, true, f))), ["wait", "attempts"]);
    }

    #[test]
    fn a_plan_has_one_way_and_one_template_for_a_step() {
        let of = |step, template: &str| v1::StepTemplate { step, template: template.into() };
        let plan = v1::Plan {
            step_templates: vec![of(0, "templates/t1"), of(0, "templates/t2"), of(-1, "templates/t1"), of(1, "")],
            ..v1::Plan::default()
        };
        let expected = ["policy", "step_templates[1].step", "step_templates[2].step", "step_templates[3].template"];
        assert_eq!(fields(|f| drop(way(plan, f))), expected);
    }
}
