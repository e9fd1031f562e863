//! Which way a notification takes, as arguments: a policy, or one step on its own; and what a campaign sends.

use clap::Args;
use proto::v1::{CampaignSpec, Money, Plan, SendingWindow, Step, StepTemplate, plan::Way, step::Target};

use crate::input::{duration, names, pairs};

/// The way of a notification.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct PlanArgs {
    /// Follow this policy: `urgent`, or `urgent@3` for its version 3.
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["channel", "channel_type"])]
    policy: Option<String>,
    /// Take one step on this channel.
    #[arg(long, value_name = "CHANNEL", conflicts_with = "channel_type")]
    channel: Option<String>,
    /// Take one step on any channel of this type: whatsapp, sms, voice or email.
    #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
    channel_type: Option<i32>,
    /// Say what this template says: `welcome`, or `welcome@2` for its version 2.
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Say something else in one step, counted from 1: `2=welcome-short`.
    #[arg(long = "step-template", value_name = "STEP=TEMPLATE", value_parser = step_template)]
    step_templates: Vec<StepTemplate>,
}

impl PlanArgs {
    /// Writes what was given over a plan; one that nothing was given for stays as it is.
    pub fn over(self, plan: &mut Option<Plan>) {
        let way = match (self.policy, self.channel, self.channel_type) {
            (Some(policy), ..) => Some(Way::Policy(names::version("policies", &policy))),
            (_, Some(channel), _) => Some(step(Target::Channel(names::full("channels", &channel)))),
            (.., Some(channel_type)) => Some(step(Target::ChannelType(channel_type))),
            _ => None,
        };
        if way.is_none() && self.template.is_none() && self.step_templates.is_empty() {
            return;
        }
        let plan = plan.get_or_insert_default();
        if way.is_some() {
            plan.way = way;
        }
        if let Some(template) = self.template {
            plan.template = names::version("templates", &template);
        }
        plan.step_templates.extend(self.step_templates);
    }
}

fn step(target: Target) -> Way {
    Way::Step(Step { target: Some(target), ..Default::default() })
}

fn step_template(text: &str) -> Result<StepTemplate, String> {
    let (step, template) = pairs::parse(text)?;
    match step.parse::<i32>() {
        Ok(step) if step >= 1 => Ok(StepTemplate { step: step - 1, template: names::version("templates", &template) }),
        _ => Err(format!("`{step}` is not the number of a step, which are counted from 1")),
    }
}

/// What a campaign sends to whom.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct SpecArgs {
    /// Send to this audience.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Give a variable the same value for all: `office=Pune`.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pairs::parse)]
    variables: Vec<(String, String)>,
    /// Ask consent for this purpose; without it `service`.
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// Begin at most so many deliveries a second.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Begin at most so many deliveries an hour.
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    rate_per_hour: Option<f64>,
    /// Pause when this much is spent, such as `5000 INR`.
    #[arg(long, value_name = "AMOUNT CURRENCY", value_parser = money)]
    budget: Option<Money>,
    /// Send only in these hours: `09:00-20:00`, in the zone of --window-zone.
    #[arg(long, value_name = "HH:MM-HH:MM", value_parser = window, requires = "window_zone")]
    window: Option<(String, String)>,
    /// The time zone of --window, such as Asia/Kolkata.
    #[arg(long, value_name = "ZONE", requires = "window")]
    window_zone: Option<String>,
    /// Spread the campaign evenly over --window.
    #[arg(long, requires = "window")]
    spread: bool,
    /// Let each notification expire after so long, such as 2d.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
    valid_for: Option<prost_types::Duration>,
}

impl SpecArgs {
    /// Writes what was given over a spec.
    pub fn over(self, spec: &mut Option<CampaignSpec>) {
        let spec = spec.get_or_insert_default();
        if let Some(audience) = self.audience {
            spec.audience = names::full("audiences", &audience);
        }
        self.plan.over(&mut spec.plan);
        if let Some(variables) = pairs::variables(&self.variables) {
            spec.variables.get_or_insert_default().fields.extend(variables.fields);
        }
        spec.purpose = self.purpose.unwrap_or_else(|| std::mem::take(&mut spec.purpose));
        spec.rate_per_second = self.rate.unwrap_or(spec.rate_per_second);
        if let Some(rate) = self.rate_per_hour {
            (spec.rate_per_hour, spec.rate_per_second) = (rate, 0.0);
        }
        spec.budget = self.budget.or_else(|| spec.budget.take());
        if let (Some((start, end)), Some(time_zone)) = (self.window, self.window_zone) {
            spec.sending_window = Some(SendingWindow { start, end, time_zone, spread: self.spread });
        }
        spec.valid_for = self.valid_for.or(spec.valid_for);
    }
}

/// An amount such as `5000 INR` or `12.5 EUR`.
fn money(text: &str) -> Result<Money, String> {
    let wrong = || format!("`{text}` must be an amount and a currency, like `5000 INR`");
    let (amount, currency) = text.split_once(' ').ok_or_else(wrong)?;
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let fraction: i64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    let micros = whole.checked_mul(1_000_000).and_then(|micros| micros.checked_add(fraction)).ok_or_else(wrong)?;
    Ok(Money { currency_code: currency.to_owned(), micros })
}

fn window(text: &str) -> Result<(String, String), String> {
    match text.split_once('-') {
        Some((start, end)) if start.contains(':') && end.contains(':') => Ok((start.into(), end.into())),
        _ => Err(format!("`{text}` must be like 09:00-20:00")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_last_millionth() {
        let read = |text: &str| money(text).map(|m| (m.micros, m.currency_code));
        assert_eq!(read("5000 INR"), Ok((5_000_000_000, "INR".into())));
        assert_eq!(read("0.125 EUR"), Ok((125_000, "EUR".into())));
        for wrong in ["5000", "x INR", "1.1234567 INR", "1.x INR", "99999999999999 INR"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plan_is_written_over_what_a_file_said() {
        let mut plan = Some(Plan { template: "templates/a".into(), ..Default::default() });
        let args = PlanArgs { policy: Some("urgent@3".into()), ..Default::default() };
        args.over(&mut plan);
        let plan = plan.unwrap();
        assert_eq!(plan.way, Some(Way::Policy("policies/urgent/versions/3".into())));
        assert_eq!(plan.template, "templates/a");
    }

    #[test]
    fn nothing_given_changes_nothing() {
        let mut plan = None;
        PlanArgs::default().over(&mut plan);
        assert_eq!(plan, None);
    }

    #[test]
    fn steps_are_counted_from_one() {
        assert_eq!(step_template("2=short").unwrap().step, 1);
        assert!(step_template("0=short").unwrap_err().contains("counted from 1"));
        assert!(window("9 to 5").is_err());
    }
}
