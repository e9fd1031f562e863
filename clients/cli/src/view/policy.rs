//! A policy played through: one timeline for each way in which people behave.

use std::io;

use proto::v1::{SimulatePolicyResponse, SimulatedMoment};

use super::table;
use super::value::{meaning, span, when, word};
use crate::contract::comments::first_sentence;
use crate::out::{Out, Tone};

/// Writes every timeline.
///
/// # Errors
/// What the system says.
pub fn simulated(out: &mut Out, answer: &SimulatePolicyResponse) -> io::Result<()> {
    for (index, timeline) in answer.timelines.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        let scenario = word("SimulatedTimeline.Scenario", timeline.scenario);
        let heading = out.paint(Tone::Strong, &scenario);
        let what = meaning("SimulatedTimeline.Scenario", timeline.scenario);
        let (state, took) = (out.state(&timeline.end_state), span(timeline.duration.as_ref()));
        out.line(&format!("{heading}  {} It ends as {state} after {took}.", first_sentence(&what)))?;
        let rows = timeline.moments.iter().map(moment).collect();
        table::write_some(out, &["after", "at", "step", "what", "channel", "in words"], rows)?;
    }
    Ok(())
}

fn moment(moment: &SimulatedMoment) -> Vec<String> {
    let step = if moment.step < 0 { String::new() } else { (moment.step + 1).to_string() };
    let channel = match word("ChannelType", moment.channel_type) {
        kind if moment.channel.is_empty() => kind,
        kind => format!("{kind} {}", moment.channel),
    };
    let reason = word("SkipReason", moment.skip_reason);
    let words =
        if reason.is_empty() { moment.description.clone() } else { format!("{} ({reason})", moment.description) };
    let kind = word("SimulatedMoment.Kind", moment.kind);
    vec![format!("+{}", span(moment.after.as_ref())), when(moment.time.as_ref()), step, kind, channel, words]
}
