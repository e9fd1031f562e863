//! Campaigns: whom one would reach, how far it is, and a bar while it runs.

use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::v1::notification::State;
use proto::v1::{CampaignProgress, SkipCount, ValidateCampaignResponse};

use super::record::pair;
use super::value::{due, meaning, span, word};
use super::{checks, table};
use crate::contract::comments::first_sentence;
use crate::error::clean;
use crate::out::Out;

/// Writes whom a campaign would reach.
///
/// # Errors
/// What the system says.
pub fn validated(out: &mut Out, it: &ValidateCampaignResponse) -> io::Result<()> {
    pair(out, "recipients", &it.recipient_count.to_string())?;
    pair(out, "reachable", &it.reachable_count.to_string())?;
    for first in &it.first_channel_types {
        pair(out, &format!("first by {}", word("ChannelType", first.channel_type)), &first.count.to_string())?;
    }
    pair(out, "first steps take", &span(it.estimated_duration.as_ref()))?;
    skips(out, &it.skips)?;
    for sample in &it.samples {
        let why = word("SkipReason", sample.skip_reason);
        let fate = if why.is_empty() { word("ChannelType", sample.channel_type) } else { format!("skipped: {why}") };
        let words = clean(&sample.plain_text).replace('\n', " ");
        out.line(&format!("  {} {}  {fate}  {words}", sample.contact, clean(&sample.display_name)))?;
    }
    checks::problems(out, &it.problems)?;
    let verdict = checks::verdict(out, it.valid, "the campaign is valid", "the campaign is not valid");
    out.line(&verdict)
}

/// Writes how far a campaign is.
///
/// # Errors
/// What the system says.
pub fn progress(out: &mut Out, it: &CampaignProgress) -> io::Result<()> {
    pair(out, "campaign", &it.campaign)?;
    pair(out, "state", &word("Campaign.State", it.state))?;
    let more = if it.planned { "" } else { " so far" };
    pair(out, "recipients", &format!("{}{more}", it.recipient_count))?;
    pair(out, "ended", &share(ended(it), it.recipient_count))?;
    for count in &it.states {
        pair(out, &format!("  {}", word("Notification.State", count.state)), &share(count.count, it.recipient_count))?;
    }
    skips(out, &it.skips)?;
    let late = if it.late_count == 0 { String::new() } else { it.late_count.to_string() };
    pair(out, "came late", &late)?;
    pair(out, "deliveries/s now", &format!("{:.1}", it.current_rate_per_second))?;
    pair(out, "first steps done", &due(it.estimated_first_step_end_time.as_ref(), chrono::Utc::now()))?;
    let rows = it.deliveries.iter().map(|count| {
        let step = (count.step + 1).to_string();
        let (kind, state) = (word("ChannelType", count.channel_type), word("Delivery.State", count.state));
        vec![step, kind, state, count.count.to_string()]
    });
    if !it.deliveries.is_empty() {
        out.line("")?;
    }
    table::write_some(out, &["step", "by", "delivery", "count"], rows.collect())
}

fn skips(out: &mut Out, skips: &[SkipCount]) -> io::Result<()> {
    for skip in skips {
        let why = meaning("SkipReason", skip.reason);
        let name = format!("  {}", word("SkipReason", skip.reason));
        pair(out, &name, &format!("{}  {}", skip.count, first_sentence(&why)))?;
    }
    Ok(())
}

fn share(count: i64, all: i64) -> String {
    if all <= 0 {
        return count.to_string();
    }
    // Tenths of a per cent, in whole numbers: counts are far below where this could overflow.
    let tenths = count.saturating_mul(1000) / all;
    format!("{count} ({}.{} %)", tenths / 10, tenths % 10)
}

/// How many notifications have ended, one way or another.
fn ended(it: &CampaignProgress) -> i64 {
    let open = [State::Pending as i32, State::Waiting as i32];
    it.states.iter().filter(|count| !open.contains(&count.state)).map(|count| count.count).sum()
}

/// Shows a campaign while it runs: a bar on a terminal, a line for each change elsewhere.
pub struct Meter {
    bar: Option<ProgressBar>,
    last: Option<CampaignProgress>,
}

impl Meter {
    /// Begins.
    pub fn new(out: &Out) -> Self {
        let bar = out.bars.then(|| {
            let bar = ProgressBar::new(0);
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} ended  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, last: None }
    }

    /// Shows how far it is now.
    ///
    /// # Errors
    /// What the system says.
    pub fn show(&mut self, out: &mut Out, it: &CampaignProgress) -> io::Result<()> {
        let state = word("Campaign.State", it.state);
        match &self.bar {
            Some(bar) => {
                bar.set_length(u64::try_from(it.recipient_count).unwrap_or(0));
                bar.set_position(u64::try_from(ended(it)).unwrap_or(0));
                bar.set_prefix(state);
                bar.set_message(counts(it));
            }
            None => {
                let state = out.state(&state);
                let all = share(ended(it), it.recipient_count);
                out.line(&format!("{state}  {all} of {} ended  {}", it.recipient_count, counts(it)))?;
            }
        }
        self.last = Some(it.clone());
        Ok(())
    }

    /// Takes the bar away and writes where the campaign stands.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self, out: &mut Out) -> io::Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        match self.last {
            Some(last) if !out.json => progress(out, &last),
            _ => Ok(()),
        }
    }
}

fn counts(it: &CampaignProgress) -> String {
    let states = it.states.iter().map(|count| format!("{} {}", word("Notification.State", count.state), count.count));
    format!("{}  {:.1}/s", states.collect::<Vec<_>>().join(" "), it.current_rate_per_second)
}

#[cfg(test)]
mod tests {
    use proto::v1::{NotificationStateCount, SkipReason, campaign};

    use super::*;
    use crate::out::tests::kept;

    fn running() -> CampaignProgress {
        let count = |state: State, count| NotificationStateCount { state: state.into(), count };
        CampaignProgress {
            campaign: "campaigns/monsoon".into(),
            state: campaign::State::Running.into(),
            recipient_count: 8,
            states: vec![count(State::Waiting, 5), count(State::Replied, 2), count(State::Skipped, 1)],
            skips: vec![SkipCount { reason: SkipReason::OptedOut.into(), count: 1 }],
            ..Default::default()
        }
    }

    #[test]
    fn progress_counts_what_has_ended_and_says_why_people_were_skipped() {
        let (mut out, kept) = kept(false, false);
        progress(&mut out, &running()).unwrap();
        let text = kept.text();
        assert!(text.contains("ended                 3 (37.5 %)"), "{text}");
        assert!(text.contains("OPTED_OUT"), "{text}");
        assert!(text.contains("1  The person opted out"), "{text}");
    }

    #[test]
    fn what_is_no_terminal_gets_lines_and_no_bar() {
        let (mut out, kept) = kept(false, false);
        let mut meter = Meter::new(&out);
        meter.show(&mut out, &running()).unwrap();
        assert_eq!(kept.text(), "RUNNING  3 (37.5 %) of 8 ended  WAITING 5 REPLIED 2 SKIPPED 1  0.0/s\n");
    }
}
