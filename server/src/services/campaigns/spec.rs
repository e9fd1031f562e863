//! Who gets what in a campaign, as it is stored with it and with the schedules that make campaigns; and what can be wrong
//! with it.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use domain::{
    fallback::{Policy, Step, Target},
    price::Money,
    quiet_hours::Window,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    services::{
        Context, Error, Result, Violation,
        directory::{Channel, Snapshot},
        plans, policies, sending,
        sending::way::Way,
        templates::Reference,
    },
    storage::{self, Conn},
};

/// The share of a channel of a campaign that names none.
pub const DEFAULT_WEIGHT: i32 = 10;

/// Who gets what, and how fast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The slug of its audience.
    pub audience: String,
    /// Which way to take.
    pub plan: Way,
    /// Variables that are the same for all; those that the audience gives for a person win.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// What it is for; empty: as its policy says.
    #[serde(default)]
    pub purpose: String,
    /// How many deliveries a second it may begin; none: as fast as its channels allow.
    #[serde(default)]
    pub rate_per_second: Option<f64>,
    /// The same in an hour, in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_hour: Option<f64>,
    /// What it may cost by the prices of its channels; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Its share of a channel among other campaigns, 1 to 100.
    #[serde(default = "default_weight")]
    pub weight: i32,
    /// The hours of the day in which it sends; none: all.
    #[serde(default)]
    pub window: Option<SendingWindow>,
    /// How long each notification is valid, in milliseconds; none: as its policy says.
    #[serde(default)]
    pub valid_for_ms: Option<i64>,
    /// Whether the conversation with a recipient begins with the campaign's message, and not with the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_send: bool,
}

const fn default_weight() -> i32 {
    DEFAULT_WEIGHT
}

/// The hours of the day in which a campaign sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingWindow {
    /// When it begins, as `HH:MM`.
    pub start: String,
    /// When it ends, as `HH:MM`; before `start`, it goes over midnight.
    pub end: String,
    /// The IANA time zone of both.
    pub time_zone: String,
    /// Whether the campaign is spread over the window, rather than begun as fast as allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spread: bool,
}

impl SendingWindow {
    /// When the window ends that is open now; none while it is closed, and of one that is none.
    #[must_use]
    pub fn closes(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let zone: Tz = domain::schedule::zone::parse(&self.time_zone).ok()?;
        // What is open now, seen as a window of quiet, lets nothing through until it ends.
        let open = Window::parse(&format!("{}-{}", self.start, self.end)).ok()?;
        Some(open.next_allowed(now, zone)).filter(|end| *end > now)
    }

    /// The first moment from `now` on at which it allows to send; `now` itself inside of it.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn opens(&self, now: DateTime<Utc>) -> std::result::Result<DateTime<Utc>, Vec<Violation>> {
        let zone: std::result::Result<Tz, _> = domain::schedule::zone::parse(&self.time_zone)
            .map_err(|problem| Violation::new("time_zone", problem).because("TIME_ZONE_UNKNOWN"));
        // The window of quiet is what the sending window leaves of the day.
        let quiet = Window::parse(&format!("{}-{}", self.end, self.start)).map_err(|_| {
            Violation::new("start", "start and end must be different times of the day, written HH:MM such as 09:00")
        });
        match (zone, quiet) {
            (Ok(zone), Ok(quiet)) => Ok(quiet.next_allowed(now, zone)),
            (zone, quiet) => Err([zone.err(), quiet.err()].into_iter().flatten().collect()),
        }
    }
}

/// What is stored with a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Who gets what.
    pub spec: Spec,
    /// Where each recipient gets it in the own zone: when, on the wall.
    #[serde(default)]
    pub local: Option<LocalTime>,
}

/// A time on the wall, which comes in each zone at another moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// The time.
    pub at: NaiveDateTime,
    /// The IANA zone of people whose own is not known.
    pub default_zone: String,
}

impl Definition {
    /// Reads what was stored.
    ///
    /// # Errors
    /// [`Error::Storage`] when another version of ours wrote it.
    pub fn read(stored: Value) -> Result<Self> {
        Ok(serde_json::from_value(stored).map_err(storage::Error::from)?)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// None in practice: its keys are texts.
    pub fn stored(&self) -> Result<Value> {
        Ok(serde_json::to_value(self).map_err(storage::Error::from)?)
    }
}

/// What a spec refers to.
#[derive(Debug)]
pub struct Resolved {
    /// The audience.
    pub audience_id: i64,
    /// The stored policy, where it has one.
    pub policy_id: Option<i64>,
}

impl Spec {
    /// How many deliveries a second it may begin; none: as fast as its channels allow.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate_per_second.or(self.rate_per_hour.map(|rate| rate / 3600.0))
    }

    /// What is wrong with the values themselves.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if !(1..=100).contains(&self.weight) {
            found.push(Violation::new("weight", format!("is {}, must be from 1 to 100", self.weight)));
        }
        if self.rate_per_second.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0)) {
            found.push(Violation::new("rate_per_second", "must be above 0 and at most 10000"));
        }
        if self.rate_per_hour.is_some_and(|rate| !(rate > 0.0 && rate <= 36_000_000.0)) {
            found.push(Violation::new("rate_per_hour", "must be above 0 and at most 36000000"));
        }
        if self.rate_per_hour.is_some() && self.rate_per_second.is_some() {
            found.push(Violation::new("rate_per_hour", "must not be set together with rate_per_second"));
        }
        if self.budget.as_ref().is_some_and(|budget| budget.micros <= 0 || !Money::is_currency(&budget.currency)) {
            let text = "must be above 0, in a currency of three capital letters such as INR";
            found.push(Violation::new("budget", text));
        }
        if self.valid_for_ms.is_some_and(|ms| !(1000..=TimeDelta::days(90).num_milliseconds()).contains(&ms)) {
            found.push(Violation::new("valid_for", "must be from 1 second to 90 days"));
        }
        if let Some(window) = &self.window {
            let wrong = window.opens(DateTime::UNIX_EPOCH).err().into_iter().flatten();
            found.extend(wrong.map(|violation| violation.inside("sending_window")));
        }
        found
    }

    /// Finds what it refers to.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every value that is wrong, [`Error::ReferenceNotFound`] for the first that does not exist.
    pub async fn resolve(&self, conn: &mut Conn) -> Result<Resolved> {
        crate::services::error::all_right(self.check())?;
        let missing = |field: &str, name: String| Error::ReferenceNotFound { field: format!("spec.{field}"), name };
        let audience = storage::audiences::kind(conn, &self.audience).await?;
        let (audience_id, _) = audience.ok_or_else(|| missing("audience", format!("audiences/{}", self.audience)))?;
        let (definition, policy_id) = match (&self.plan.policy, &self.plan.step) {
            (Some(policy), None) => {
                let Reference { slug, number } = Reference::parse(policy);
                let found = storage::policies::find(conn, &slug, number).await?;
                let found = found.ok_or_else(|| missing("plan.policy", format!("policies/{policy}")))?;
                let definition = serde_json::from_value(found.definition).map_err(storage::Error::from)?;
                (definition, Some(found.id))
            }
            (None, Some(step)) => (self.of_step(step), None),
            (None, None) | (Some(_), Some(_)) => {
                return Err(Error::invalid("spec.plan", "must name a policy or have one step of its own, not both"));
            }
        };
        let request = plans::Request {
            definition,
            policy_version_id: None,
            template: self.plan.template.clone(),
            step_templates: self.plan.step_templates.clone(),
        };
        crate::services::error::all_right(without_template(&request))?;
        Ok(Resolved { audience_id, policy_id })
    }

    fn of_step(&self, step: &Step) -> policies::Definition {
        let purpose = if self.purpose.is_empty() { domain::consent::SERVICE } else { &self.purpose };
        Policy { steps: vec![step.clone()], at_least_once: false, purpose: purpose.to_owned() }.into()
    }

    /// Pins the plan, in the caller's transaction.
    ///
    /// # Errors
    /// As [`Spec::resolve`], and what is wrong with the way and the budget.
    pub async fn pin(&self, context: &Context, conn: &mut Conn, now: DateTime<Utc>) -> Result<(Resolved, i64)> {
        let resolved = self.resolve(conn).await?;
        let plan = match self.plan.pin(context, conn, now).await? {
            Ok(plan) => plan,
            Err(found) => return Err(sending::refused(inside(found, "spec.plan"))),
        };
        let snapshot = context.directory.snapshot(&context.side).await?;
        crate::services::error::all_right(inside(self.without_price(&plan, &snapshot), "spec"))?;
        Ok((resolved, plan.id))
    }

    /// The channels of a plan that cannot be counted against the budget.
    fn without_price(&self, plan: &plans::PinnedPlan, snapshot: &Snapshot) -> Vec<Violation> {
        let Some(budget) = &self.budget else { return Vec::new() };
        let used = |channel: &&Channel| {
            plan.policy.steps.iter().any(|step| match &step.target {
                Target::Channel(slug) => channel.row.slug == *slug,
                Target::ChannelType(channel_type) => channel.row.channel_type == *channel_type,
                Target::CallList(_) => false,
            })
        };
        let priced = |c: &&Channel| c.row.price.as_ref().is_some_and(|price| price.currency == budget.currency);
        let unpriced = snapshot.channels.iter().filter(used).filter(|channel| !priced(channel));
        let violation = |channel: &Channel| {
            let slug = &channel.row.slug;
            let text = format!("cannot be kept: channels/{slug} has no price in {}", budget.currency);
            Violation::new("budget", text).because("BUDGET_WITHOUT_PRICE").with("channel", format!("channels/{slug}"))
        };
        unpriced.map(violation).collect()
    }
}

fn inside(found: Vec<Violation>, path: &str) -> Vec<Violation> {
    found.into_iter().map(|violation| violation.inside(path)).collect()
}

/// Every step that sends something needs a template: its own, or the plan's.
fn without_template(request: &plans::Request) -> Vec<Violation> {
    let steps = request.definition.policy.steps.iter().enumerate();
    steps
        .filter(|(index, step)| {
            let sends = !matches!(step.target, Target::CallList(_));
            let own = step.template.is_some() || request.step_templates.contains_key(index);
            sends && !own && request.template.is_none()
        })
        .map(|(index, _)| {
            let text = format!("is missing, and step {index} of the policy names none");
            Violation::new("spec.plan.template", text).because("TEMPLATE_MISSING").with("step", index.to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::channel::ChannelType;

    use super::*;

    fn spec() -> Spec {
        let plan = Way { step: Some(Step::to(Target::ChannelType(ChannelType::Sms))), ..Way::default() };
        Spec {
            audience: "all".into(),
            plan,
            variables: Map::new(),
            purpose: String::new(),
            rate_per_second: None,
            rate_per_hour: None,
            budget: None,
            weight: DEFAULT_WEIGHT,
            window: None,
            valid_for_ms: None,
            at_send: false,
        }
    }

    fn window(start: &str, end: &str) -> SendingWindow {
        SendingWindow { start: start.into(), end: end.into(), time_zone: "Asia/Kolkata".into(), spread: false }
    }

    #[test]
    fn every_wrong_value_is_named() {
        let wrong = Spec {
            weight: 0,
            rate_per_second: Some(f64::NAN),
            rate_per_hour: Some(-1.0),
            budget: Some(Money { currency: "rupees".into(), micros: 5 }),
            valid_for_ms: Some(5),
            window: Some(SendingWindow { time_zone: "Nowhere".into(), ..window("9", "10:00") }),
            ..spec()
        };
        let fields: Vec<String> = wrong.check().into_iter().map(|v| v.field).collect();
        assert_eq!(
            fields,
            [
                "weight",
                "rate_per_second",
                "rate_per_hour",
                "rate_per_hour",
                "budget",
                "valid_for",
                "sending_window.time_zone",
                "sending_window.start"
            ]
        );
        assert_eq!(spec().check(), []);
    }

    #[test]
    fn a_window_opens_in_its_zone_and_may_go_over_midnight() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let day = window("09:00", "20:00");
        assert_eq!(day.opens(at("2026-11-20T03:00:00Z")).unwrap(), at("2026-11-20T03:30:00Z"));
        assert_eq!(day.opens(at("2026-11-20T10:00:00Z")).unwrap(), at("2026-11-20T10:00:00Z"));
        assert_eq!(day.opens(at("2026-11-20T14:30:00Z")).unwrap(), at("2026-11-21T03:30:00Z"));
        let night = window("22:00", "02:00");
        assert_eq!(night.opens(at("2026-11-20T20:00:00Z")).unwrap(), at("2026-11-20T20:00:00Z"));
        assert_eq!(night.opens(at("2026-11-20T20:30:00Z")).unwrap(), at("2026-11-21T16:30:00Z"));
        assert!(window("09:00", "09:00").opens(at("2026-11-20T20:30:00Z")).is_err());
    }

    #[test]
    fn a_window_closes_when_it_ends_and_never_while_it_is_closed() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let day = window("10:00", "16:00");
        assert_eq!(day.closes(at("2026-11-20T06:30:00Z")), Some(at("2026-11-20T10:30:00Z")));
        assert_eq!(day.closes(at("2026-11-20T03:30:00Z")), None);
        let night = window("22:00", "02:00");
        assert_eq!(night.closes(at("2026-11-20T18:30:00Z")), Some(at("2026-11-20T20:30:00Z")));
    }

    #[test]
    fn a_rate_may_be_said_in_an_hour() {
        assert_eq!(Spec { rate_per_hour: Some(1800.0), ..spec() }.rate(), Some(0.5));
        assert_eq!(Spec { rate_per_second: Some(3.0), ..spec() }.rate(), Some(3.0));
    }

    #[test]
    fn only_steps_that_send_need_a_template() {
        let steps = vec![Step::to(Target::ChannelType(ChannelType::Sms)), Step::to(Target::CallList("office".into()))];
        let policy = Policy { steps, at_least_once: false, purpose: "service".into() };
        let bare = plans::Request::of(policy.into(), None);
        assert_eq!(without_template(&bare).len(), 1, "the call list needs none");
        let own = plans::Request { step_templates: BTreeMap::from([(0, "hello".into())]), ..bare };
        assert_eq!(without_template(&own), []);
    }

    #[test]
    fn what_is_stored_reads_back() {
        let local = LocalTime { at: "2026-11-20T09:00:00".parse().unwrap(), default_zone: "Asia/Kolkata".into() };
        let definition =
            Definition { spec: Spec { window: Some(window("09:00", "20:00")), ..spec() }, local: Some(local) };
        assert_eq!(Definition::read(definition.stored().unwrap()).unwrap(), definition);
    }
}
