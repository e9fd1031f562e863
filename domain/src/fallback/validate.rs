//! Whether a policy makes sense in the world that it will run in: every problem at once, each with the path of its field.

use super::policy::{Policy, Step, Success, Target};
use crate::{channel::ChannelType, violation::Violation};
use chrono::TimeDelta;

/// The most steps that a policy may have.
pub const MAX_STEPS: usize = 20;
/// The shortest wait, back-off and validity.
pub const SHORTEST: TimeDelta = TimeDelta::seconds(1);
/// The longest wait and validity.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::days(30);
/// The longest first back-off.
pub const LONGEST_EVERY: TimeDelta = TimeDelta::days(1);
/// The most attempts of a step that may fail for the moment.
pub const MAX_ATTEMPTS: u32 = 10;

/// What exists and may be named by a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyWorld {
    /// The channels that are defined, enabled or not.
    pub channels: Vec<WorldChannel>,
    /// The slugs of the call lists that are defined.
    pub call_lists: Vec<String>,
    /// The templates that are defined, each in its newest version.
    pub templates: Vec<WorldTemplate>,
}

/// A channel as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldChannel {
    /// Its slug.
    pub slug: String,
    /// Its type.
    pub channel_type: ChannelType,
}

/// A template as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldTemplate {
    /// Its slug.
    pub slug: String,
    /// The channel types that it has content for.
    pub channel_types: Vec<ChannelType>,
}

impl Policy {
    /// Checks the policy against `world`.
    ///
    /// # Errors
    /// Every problem, in the order of the fields; paths look like `steps[1].channel`.
    pub fn validate(&self, world: &PolicyWorld) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        if self.steps.is_empty() {
            found.push(Violation::new("steps", "must have at least one step"));
        }
        if self.steps.len() > MAX_STEPS {
            let text = format!("has {} steps, at most {MAX_STEPS} are allowed", self.steps.len());
            found.push(Violation::new("steps", text));
        }
        if !is_purpose(&self.purpose) {
            let text = "must be 1 to 63 characters of a-z, 0-9, '-' and '_', a letter first, such as service";
            found.push(Violation::new("purpose", text));
        }
        for (index, step) in self.steps.iter().enumerate() {
            let last = index + 1 == self.steps.len();
            StepCheck { path: format!("steps[{index}]"), step, world, last, found: &mut found }.run();
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

/// Whether a text can be a purpose that one writes for; `*` stands for all of them and is none itself.
fn is_purpose(text: &str) -> bool {
    let tail = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(tail)
}

/// One step under examination.
struct StepCheck<'a> {
    path: String,
    step: &'a Step,
    world: &'a PolicyWorld,
    last: bool,
    found: &'a mut Vec<Violation>,
}

impl StepCheck<'_> {
    fn run(mut self) {
        let channel_type = self.target();
        self.template(channel_type);
        if matches!(self.step.target, Target::CallList(_)) {
            return;
        }
        self.success(channel_type);
        self.duration("wait", self.step.wait, LONGEST_WAIT);
        if !(1..=MAX_ATTEMPTS).contains(&self.step.attempts) {
            self.report("attempts", format!("is {}, must be 1 to {MAX_ATTEMPTS}", self.step.attempts));
        }
        self.duration("every", self.step.every, LONGEST_EVERY);
        self.read_fallback(channel_type);
        if let Some(valid_for) = self.step.valid_for {
            self.duration("valid_for", valid_for, LONGEST_WAIT);
        }
    }

    /// The channel type that the step leads to, where it leads to one that exists.
    fn target(&mut self) -> Option<ChannelType> {
        match &self.step.target {
            Target::Channel(slug) => {
                let channel = self.world.channels.iter().find(|c| c.slug == *slug);
                if channel.is_none() {
                    self.report("channel", format!("there is no channel {slug:?}"));
                }
                channel.map(|c| c.channel_type)
            }
            Target::ChannelType(channel_type) => {
                if !self.world.channels.iter().any(|c| c.channel_type == *channel_type) {
                    self.report("channel_type", format!("there is no channel of type {channel_type}"));
                }
                Some(*channel_type)
            }
            Target::CallList(slug) => {
                if !self.world.call_lists.contains(slug) {
                    self.report("call_list", format!("there is no call list {slug:?}"));
                }
                if !self.last {
                    self.report("call_list", "a call list must be the last step");
                }
                None
            }
        }
    }

    fn template(&mut self, channel_type: Option<ChannelType>) {
        let Some(slug) = &self.step.template else { return };
        match (self.world.templates.iter().find(|t| t.slug == *slug), channel_type) {
            (None, _) => self.report("template", format!("there is no template {slug:?}")),
            (Some(template), Some(channel_type)) if !template.channel_types.contains(&channel_type) => {
                self.report("template", format!("template {slug:?} has no content for {channel_type}"));
            }
            (Some(_), _) => {}
        }
    }

    fn success(&mut self, channel_type: Option<ChannelType>) {
        let success = self.step.success;
        let Some(channel_type) = channel_type.filter(|t| !success.provable_by(*t)) else { return };
        let provable = Success::ALL.iter().filter(|s| s.provable_by(channel_type)).map(|s| s.as_str());
        let provable = provable.collect::<Vec<_>>().join(", ");
        self.report("success", format!("{channel_type} cannot prove {success}; it can prove {provable}"));
    }

    fn read_fallback(&mut self, channel_type: Option<ChannelType>) {
        let step = self.step;
        match step.read_fallback {
            None if channel_type.is_some_and(|t| step.success.needs_read_fallback(t)) => {
                let text = "is needed with success READ: read receipts may be off, say after how long DELIVERED counts";
                self.report("read_fallback", text);
            }
            None => {}
            Some(_) if step.success != Success::Read => {
                self.report(
                    "read_fallback",
                    format!("belongs to success READ only, this step asks for {}", step.success),
                );
            }
            Some(after) => {
                self.duration("read_fallback", after, LONGEST_WAIT);
                if after > step.wait {
                    self.report("read_fallback", "must not be longer than the wait");
                }
            }
        }
    }

    fn duration(&mut self, field: &str, value: TimeDelta, longest: TimeDelta) {
        if value < SHORTEST || value > longest {
            let text = format!(
                "is {} ms, must be {} to {} ms",
                value.num_milliseconds(),
                SHORTEST.num_milliseconds(),
                longest.num_milliseconds()
            );
            self.report(field, text);
        }
    }

    fn report(&mut self, field: &str, description: impl Into<String>) {
        self.found.push(Violation::new(format!("{}.{field}", self.path), description));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fallback::policy::OnFailure;

    fn world() -> PolicyWorld {
        let channel = |slug: &str, channel_type| WorldChannel { slug: slug.into(), channel_type };
        PolicyWorld {
            channels: vec![
                channel("wa-main", ChannelType::Whatsapp),
                channel("sms-main", ChannelType::Sms),
                channel("ivr", ChannelType::Voice),
            ],
            call_lists: vec!["office".into()],
            templates: vec![WorldTemplate { slug: "flood".into(), channel_types: vec![ChannelType::Sms] }],
        }
    }

    fn fields(policy: &Policy) -> Vec<String> {
        policy.validate(&world()).err().unwrap_or_default().into_iter().map(|v| v.field).collect()
    }

    fn policy(steps: Vec<Step>) -> Policy {
        Policy { steps, at_least_once: false, purpose: "service".into() }
    }

    fn sms(change: impl FnOnce(&mut Step)) -> Step {
        let mut step = Step::to(Target::Channel("sms-main".into()));
        change(&mut step);
        step
    }

    #[test]
    fn accepts_the_policy_of_the_readme() {
        let mut whatsapp = Step::to(Target::ChannelType(ChannelType::Whatsapp));
        whatsapp.success = Success::Read;
        whatsapp.read_fallback = Some(TimeDelta::minutes(30));
        let mut call = Step::to(Target::Channel("ivr".into()));
        call.success = Success::Read;
        call.on_failure = OnFailure::Wait;
        let text = sms(|s| s.template = Some("flood".into()));
        let steps = vec![whatsapp, text, call, Step::to(Target::CallList("office".into()))];
        assert_eq!(policy(steps).validate(&world()), Ok(()));
    }

    #[test]
    fn each_fault_is_named_by_its_field() {
        type Change = fn(&mut Step);
        let cases: [(&str, Change); 17] = [
            ("channel", |s| s.target = Target::Channel("none".into())),
            ("channel_type", |s| {
                s.target = Target::ChannelType(ChannelType::Email);
                s.success = Success::Sent;
            }),
            ("call_list", |s| s.target = Target::CallList("none".into())),
            ("template", |s| s.template = Some("none".into())),
            ("template", |s| {
                s.target = Target::Channel("wa-main".into());
                s.template = Some("flood".into());
            }),
            ("success", |s| s.success = Success::Read),
            ("success", |s| s.target = Target::Channel("ivr".into())),
            ("wait", |s| s.wait = TimeDelta::milliseconds(999)),
            ("wait", |s| s.wait = TimeDelta::days(31)),
            ("attempts", |s| s.attempts = 0),
            ("attempts", |s| s.attempts = 11),
            ("every", |s| s.every = TimeDelta::zero()),
            ("every", |s| s.every = TimeDelta::days(2)),
            ("read_fallback", |s| s.read_fallback = Some(TimeDelta::seconds(5))),
            ("read_fallback", |s| {
                s.target = Target::Channel("wa-main".into());
                s.success = Success::Read;
            }),
            ("read_fallback", |s| {
                s.target = Target::Channel("wa-main".into());
                s.success = Success::Read;
                s.read_fallback = Some(s.wait + TimeDelta::seconds(1));
            }),
            ("valid_for", |s| s.valid_for = Some(TimeDelta::zero())),
        ];
        for (index, (field, change)) in cases.into_iter().enumerate() {
            assert_eq!(fields(&policy(vec![sms(change)])), [format!("steps[0].{field}")], "case {index}");
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let list = Step::to(Target::CallList("office".into()));
        let bad = sms(|s| {
            s.target = Target::Channel("none".into());
            s.template = Some("none".into());
            s.wait = TimeDelta::zero();
        });
        let mut policy = policy(vec![list, bad]);
        policy.purpose = "*".into();
        let expected = ["purpose", "steps[0].call_list", "steps[1].channel", "steps[1].template", "steps[1].wait"];
        assert_eq!(fields(&policy), expected);
    }

    #[test]
    fn zero_steps_and_too_many_are_refused() {
        assert_eq!(fields(&policy(vec![])), ["steps"]);
        assert_eq!(fields(&policy(vec![sms(|_| ()); 21])), ["steps"]);
        assert!(policy(vec![sms(|_| ()); 20]).validate(&world()).is_ok());
    }
}
