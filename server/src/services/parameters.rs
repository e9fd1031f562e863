//! What a channel's providers must be told besides the words, such as India's registered template ids: put together from the
//! channel and the content, and asked for before anything is sent.

use std::collections::BTreeMap;

use domain::{delivery::FailureClass, fallback::Target, message::Content};

use super::{
    Violation,
    directory::{Channel, Snapshot},
    plans::PinnedPlan,
};
use crate::channels::Refusal;

/// The reason of a violation where a parameter is missing.
pub const PARAMETER_MISSING: &str = "PARAMETER_MISSING";

/// Parameters by name.
pub type Parameters = BTreeMap<String, String>;

/// What is told with a content on a channel: the channel's own parameters, and over them the content's.
///
/// # Errors
/// A refusal of our own where one that the channel requires is missing: it would be refused, or worse, filtered silently.
pub fn of(channel: &Channel, (content, own): (Content, Parameters)) -> Result<(Content, Parameters), Refusal> {
    let mut told = of_channel(channel);
    told.extend(own);
    let missing = missing(channel, &told);
    if missing.is_empty() {
        return Ok((content, told));
    }
    Err(Refusal {
        class: FailureClass::Technical,
        code: PARAMETER_MISSING.to_owned(),
        detail: format!("the channel requires {}, which neither it nor the template gives", missing.join(", ")),
        retry_after: None,
    })
}

/// Every parameter that a channel requires and a content of a plan's templates may lack, with paths inside the plan.
#[must_use]
pub fn missing_of_plan(plan: &PinnedPlan, snapshot: &Snapshot) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, step) in plan.policy.steps.iter().enumerate() {
        let leads_to = |channel: &&Channel| match &step.target {
            Target::Channel(slug) => channel.row.slug == *slug,
            Target::ChannelType(channel_type) => channel.row.channel_type == *channel_type,
            Target::CallList(_) => false,
        };
        for channel in snapshot.channels.iter().filter(leads_to) {
            for parameter in lacking(plan, index, channel) {
                let template = step.template.as_deref().unwrap_or_default();
                let text = format!(
                    "templates/{template} lacks provider_parameters.{parameter}, which channels/{} requires, and the channel \
                     does not give it",
                    channel.row.slug
                );
                let violation = Violation::new("template", text).because(PARAMETER_MISSING);
                let violation = violation.with("step", index.to_string()).with("channel", channel.row.slug.clone());
                found.push(violation.with("parameter", parameter));
            }
        }
    }
    found
}

/// What some content of a step's template lacks on a channel, each name once.
fn lacking(plan: &PinnedPlan, step: usize, channel: &Channel) -> Vec<String> {
    let contents = plan.parameters.get(step).into_iter().flatten();
    let of_type = contents.filter(|content| content.channel_type == channel.row.channel_type);
    let mut lacking: Vec<String> = of_type
        .flat_map(|content| {
            let mut told = of_channel(channel);
            told.extend(content.parameters.clone());
            missing(channel, &told)
        })
        .collect();
    lacking.sort_unstable();
    lacking.dedup();
    lacking
}

fn missing(channel: &Channel, told: &Parameters) -> Vec<String> {
    let given = |name: &String| told.get(name).is_some_and(|value| !value.is_empty());
    channel.row.required_parameters.iter().filter(|name| !given(name)).cloned().collect()
}

fn of_channel(channel: &Channel) -> Parameters {
    let values = channel.row.provider_parameters.as_object().into_iter().flatten();
    values.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
