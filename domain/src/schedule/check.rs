//! Everything that can be wrong with a schedule, found before it is stored.

use chrono::{DateTime, Duration, Utc};

use super::{Expression, Rule, Schedule, Spec, When, zone};
use crate::violation::Violation;

/// The longest grace: a day.
const MAX_GRACE_SECONDS: u32 = 86_400;
/// The longest horizon: 31 days.
const MAX_HORIZON_SECONDS: u32 = 31 * 86_400;
/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 200;
/// Schedules that fire more often than this deserve a word of warning.
const FREQUENT: Duration = Duration::seconds(10);
/// How many fire times are looked at to find out how often a schedule fires.
const SAMPLE: usize = 120;

pub(super) fn compile(spec: &Spec) -> Result<Schedule, Vec<Violation>> {
    let mut found = Vec::new();
    let zone_name = match &spec.when {
        When::Cron { zone, .. } | When::Once { zone, .. } => zone,
    };
    let zone = zone::parse(zone_name).map_err(|problem| found.push(Violation::new("when.zone", problem))).ok();
    let rule = match &spec.when {
        When::Once { at, .. } => Some(Rule::Once(*at)),
        When::Cron { expression, .. } if expression.len() > MAX_EXPRESSION => {
            found.push(Violation::new("when.expression", format!("has more than {MAX_EXPRESSION} characters")));
            None
        }
        When::Cron { expression, .. } => Expression::parse(expression)
            .map_err(|problem| found.push(Violation::new("when.expression", problem)))
            .map(|expression| Rule::Cron(Box::new(expression)))
            .ok(),
    };
    let (grace, horizon) = (spec.misfire.grace_seconds, spec.misfire.horizon_seconds);
    if grace > MAX_GRACE_SECONDS {
        let text = format!("is {grace}, at most {MAX_GRACE_SECONDS} (a day) is allowed");
        found.push(Violation::new("misfire.grace_seconds", text));
    }
    if horizon > MAX_HORIZON_SECONDS || horizon < grace {
        let text = format!("is {horizon}, it must be between the grace ({grace}) and {MAX_HORIZON_SECONDS} (31 days)");
        found.push(Violation::new("misfire.horizon_seconds", text));
    }
    match (rule, zone) {
        (Some(rule), Some(zone)) if found.is_empty() => {
            Ok(Schedule { rule, zone, each_recipient_zone: spec.each_recipient_zone, misfire: spec.misfire })
        }
        _ => Err(found),
    }
}

impl Spec {
    /// Finds everything that is wrong with this schedule at a time; empty when it may be stored.
    ///
    /// A schedule that would never fire is wrong: an expression without a day (`0 9 30 2 *`), a time in the past.
    #[must_use]
    pub fn validate(&self, now: DateTime<Utc>) -> Vec<Violation> {
        match Schedule::new(self) {
            Err(found) => found,
            Ok(schedule) if schedule.next_after(now).is_some() => Vec::new(),
            Ok(_) => vec![match &self.when {
                When::Cron { expression, .. } => {
                    Violation::new("when.expression", format!("{expression:?} never fires: no day to come matches it"))
                }
                When::Once { .. } => Violation::new("when.at", "has passed: choose a time in the future"),
            }],
        }
    }

    /// What may be meant otherwise, though it is allowed: a schedule that fires more often than every ten seconds.
    #[must_use]
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<Violation> {
        let Ok(schedule) = Schedule::new(self) else { return Vec::new() };
        let times: Vec<_> =
            std::iter::successors(schedule.next_after(now), |at| schedule.next_after(*at)).take(SAMPLE).collect();
        let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).min();
        match shortest.filter(|gap| *gap < FREQUENT) {
            Some(gap) => {
                let text = format!(
                    "fires as often as every {} s; is the first of six fields meant as seconds?",
                    gap.num_seconds()
                );
                vec![Violation::new("when.expression", text)]
            }
            None => Vec::new(),
        }
    }
}
