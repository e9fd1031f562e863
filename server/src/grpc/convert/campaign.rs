//! Campaigns: what callers write and what they are shown. How far a campaign is stands in [`super::progress`].

use chrono::TimeDelta;
use domain::{campaign::State, price::Money};
use proto::v1::{self, validate_campaign_request::Source as GivenSource};

use super::{Faults, common, plan, progress};
use crate::{
    grpc::mask::Mask,
    services::{
        campaigns::{
            Change, Filter, NewCampaign, name,
            progress::Progress,
            spec::{DEFAULT_WEIGHT, Definition, SendingWindow, Spec},
            validating::{Asked, Cost, Foreseen, Problem, Sample},
        },
        etag,
    },
};

const LONGEST_VALIDITY: TimeDelta = TimeDelta::days(90);

/// A campaign of the contract.
#[must_use]
pub fn message(shown: Progress) -> v1::Campaign {
    let campaign = shown.campaign.clone();
    let row = campaign.row;
    let version = row.policy_version.map(|(slug, number)| format!("policies/{slug}/versions/{number}"));
    v1::Campaign {
        name: name(&row.slug),
        display_name: row.display_name,
        spec: Some(spec_message(campaign.definition.spec)),
        start_time: row.start_at.map(common::timestamp),
        state: of_state(row.state).into(),
        failure: row.state_reason.clone().filter(|_| row.state == State::Failed).unwrap_or_default(),
        pause_reason: row.state_reason.filter(|_| row.state == State::Paused).unwrap_or_default(),
        trigger: row.trigger.map(|slug| format!("triggers/{slug}")).unwrap_or_default(),
        policy_version: version.unwrap_or_default(),
        progress: Some(progress::message(shown)),
        run_time: row.started_at.map(common::timestamp),
        end_time: row.ended_at.map(common::timestamp),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

/// A state of the contract.
#[must_use]
pub const fn of_state(state: State) -> v1::campaign::State {
    match state {
        State::Draft => v1::campaign::State::Draft,
        State::Scheduled => v1::campaign::State::Scheduled,
        State::Running => v1::campaign::State::Running,
        State::Paused => v1::campaign::State::Paused,
        State::Completed => v1::campaign::State::Completed,
        State::Cancelling => v1::campaign::State::Cancelling,
        State::Cancelled => v1::campaign::State::Cancelled,
        State::Failed => v1::campaign::State::Failed,
    }
}

/// A state that is said.
fn state(value: v1::campaign::State) -> Option<State> {
    State::ALL.iter().copied().find(|state| of_state(*state) == value)
}

/// A campaign to be created.
pub fn create(request: v1::CreateCampaignRequest, faults: &mut Faults) -> NewCampaign {
    let slug = faults.slug("campaign_id", &request.campaign_id);
    let campaign = faults.required("campaign", request.campaign);
    faults.inside("campaign", |f| NewCampaign {
        slug,
        display_name: f.text("display_name", campaign.display_name, 200),
        start_at: f.time("start_time", campaign.start_time),
        definition: Definition { spec: required_spec(campaign.spec, f), local: None },
    })
}

/// Which campaign changes, how, and what the caller has seen of it. The parts of a spec that may change while it runs can be
/// written one by one.
pub fn update(request: v1::UpdateCampaignRequest, faults: &mut Faults) -> (String, Edit, String) {
    let campaign = faults.required("campaign", request.campaign);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&campaign), &[], faults);
    let (slug, etag) = (faults.name("campaign.name", "campaigns", &campaign.name), campaign.etag.clone());
    let edit = faults.inside("campaign", |f| {
        let given = campaign.spec.clone().unwrap_or_default();
        let whole = mask.has("spec").then(|| required_spec(campaign.spec, f));
        let pace = f.inside("spec", |f| Pace {
            rate_per_second: mask.take("spec.rate_per_second", rate(given.rate_per_second, f)),
            rate_per_hour: mask.take("spec.rate_per_hour", rate_per_hour(given.rate_per_hour, f)),
            budget: mask.take("spec.budget", common::money("budget", given.budget, f)),
            weight: mask.take("spec.weight", weight(given.weight, f)),
            window: mask.take("spec.sending_window", given.sending_window.map(window)),
        });
        Edit {
            display_name: mask.take("display_name", f.text("display_name", campaign.display_name, 200)),
            start_at: mask.take("start_time", f.time("start_time", campaign.start_time)),
            spec: whole,
            pace,
        }
    });
    (slug, edit, etag)
}

/// What is written of a campaign, before what stands is known.
#[derive(Debug, Clone)]
pub struct Edit {
    display_name: Option<String>,
    start_at: Option<Option<chrono::DateTime<chrono::Utc>>>,
    spec: Option<Spec>,
    pace: Pace,
}

/// The parts of a spec that can be written one by one.
#[derive(Debug, Clone)]
struct Pace {
    rate_per_second: Option<Option<f64>>,
    rate_per_hour: Option<Option<f64>>,
    budget: Option<Option<Money>>,
    weight: Option<i32>,
    window: Option<Option<SendingWindow>>,
}

impl Edit {
    /// The change of a campaign whose spec stands like this.
    #[must_use]
    pub fn of(self, standing: Spec) -> Change {
        let Pace { rate_per_second, rate_per_hour, budget, weight, window } = self.pace;
        let rates = rate_per_second.is_some() || rate_per_hour.is_some();
        let single = rates || budget.is_some() || weight.is_some() || window.is_some();
        let mut spec = self.spec.clone().unwrap_or(standing);
        spec.rate_per_second = rate_per_second.unwrap_or(spec.rate_per_second);
        spec.rate_per_hour = rate_per_hour.unwrap_or(spec.rate_per_hour);
        // One of the two is meant: writing one alone takes the other away.
        match (rate_per_second.flatten(), rate_per_hour.flatten()) {
            (Some(_), None) => spec.rate_per_hour = None,
            (None, Some(_)) => spec.rate_per_second = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
        spec.budget = budget.unwrap_or(spec.budget);
        spec.weight = weight.unwrap_or(spec.weight);
        spec.window = window.unwrap_or(spec.window);
        Change {
            display_name: self.display_name,
            start_at: self.start_at,
            spec: (single || self.spec.is_some()).then_some(spec),
        }
    }
}

fn writable(campaign: &v1::Campaign) -> [(&'static str, bool); 8] {
    [
        ("display_name", !campaign.display_name.is_empty()),
        ("spec", campaign.spec.is_some()),
        ("start_time", campaign.start_time.is_some()),
        ("spec.rate_per_second", false),
        ("spec.rate_per_hour", false),
        ("spec.budget", false),
        ("spec.weight", false),
        ("spec.sending_window", false),
    ]
}

fn required_spec(given: Option<v1::CampaignSpec>, faults: &mut Faults) -> Spec {
    let given = faults.required("spec", given);
    faults.inside("spec", |f| spec(given, f))
}

/// Who gets what; also the target of a schedule.
pub fn spec(given: v1::CampaignSpec, faults: &mut Faults) -> Spec {
    let way = faults.required("plan", given.plan);
    let valid_for = faults.duration("valid_for", given.valid_for, TimeDelta::seconds(1)..=LONGEST_VALIDITY);
    Spec {
        audience: faults.name("audience", "audiences", &given.audience),
        plan: faults.inside("plan", |f| plan::way(way, f)),
        variables: given.variables.map(common::object).unwrap_or_default(),
        purpose: purpose(given.purpose, faults),
        rate_per_second: rate(given.rate_per_second, faults),
        rate_per_hour: rate_per_hour(given.rate_per_hour, faults),
        budget: common::money("budget", given.budget, faults),
        weight: weight(given.weight, faults),
        window: given.sending_window.map(window),
        valid_for_ms: valid_for.map(|d| d.num_milliseconds()),
        at_send: faults.optional_code("conversation_mode", given.conversation_mode, at_send).unwrap_or_default(),
    }
}

const fn at_send(mode: v1::campaign_spec::ConversationMode) -> Option<bool> {
    match mode {
        v1::campaign_spec::ConversationMode::Unspecified => None,
        v1::campaign_spec::ConversationMode::OnReply => Some(false),
        v1::campaign_spec::ConversationMode::AtSend => Some(true),
    }
}

fn rate(value: f64, faults: &mut Faults) -> Option<f64> {
    if value == 0.0 {
        return None;
    }
    if !(value > 0.0 && value <= 10_000.0) {
        faults.note("rate_per_second", "must be above 0 and at most 10000; 0 means as fast as its channels allow");
    }
    Some(value)
}

fn rate_per_hour(value: f64, faults: &mut Faults) -> Option<f64> {
    if value == 0.0 {
        return None;
    }
    if !(value > 0.0 && value <= 36_000_000.0) {
        faults.note("rate_per_hour", "must be above 0 and at most 36000000; 0 means as fast as its channels allow");
    }
    Some(value)
}

fn weight(value: i32, faults: &mut Faults) -> i32 {
    faults.number("weight", value, 1..=100).unwrap_or(DEFAULT_WEIGHT)
}

/// Whether it is one is asked when it is checked.
fn window(given: v1::SendingWindow) -> SendingWindow {
    SendingWindow { start: given.start, end: given.end, time_zone: given.time_zone, spread: given.spread }
}

fn purpose(value: String, faults: &mut Faults) -> String {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let right = value.len() <= 32 && value.starts_with(|c: char| c.is_ascii_lowercase()) && value.bytes().all(tail);
    if !right && !value.is_empty() {
        faults
            .note("purpose", "must be 1 to 32 characters of a-z, 0-9, '_' and '-', a letter first, such as marketing");
    }
    value
}

/// Who gets what, of the contract.
#[must_use]
pub fn spec_message(spec: Spec) -> v1::CampaignSpec {
    let window =
        |w: SendingWindow| v1::SendingWindow { start: w.start, end: w.end, time_zone: w.time_zone, spread: w.spread };
    v1::CampaignSpec {
        audience: format!("audiences/{}", spec.audience),
        plan: Some(plan::message(spec.plan)),
        variables: Some(common::of_object(&spec.variables)),
        purpose: spec.purpose,
        rate_per_second: spec.rate_per_second.unwrap_or_default(),
        rate_per_hour: spec.rate_per_hour.unwrap_or_default(),
        budget: spec.budget.map(common::of_money),
        weight: spec.weight,
        sending_window: spec.window.map(window),
        valid_for: spec.valid_for_ms.and_then(TimeDelta::try_milliseconds).map(common::span),
        conversation_mode: match spec.at_send {
            true => v1::campaign_spec::ConversationMode::AtSend.into(),
            false => v1::campaign_spec::ConversationMode::OnReply.into(),
        },
    }
}

/// Which campaigns are listed.
pub fn filter(states: &[i32], trigger: &str, faults: &mut Faults) -> Filter {
    let state = |(i, code): (usize, &i32)| faults.optional_code(&format!("states[{i}]"), *code, state);
    let states = states.iter().enumerate().filter_map(state).collect();
    Filter { id: None, states, trigger: faults.optional_name("trigger", "triggers", trigger) }
}

/// What is to be validated, and how many examples are shown; none where the request was refused.
pub fn validate(request: v1::ValidateCampaignRequest, faults: &mut Faults) -> (Option<Asked>, usize) {
    if !(0..=100).contains(&request.sample_size) {
        faults.note("sample_size", "must be from 0 to 100");
    }
    let asked = match request.source {
        Some(GivenSource::Name(name)) => Some(Asked::Stored(faults.name("name", "campaigns", &name))),
        Some(GivenSource::Spec(given)) => Some(Asked::Unstored(Box::new(faults.inside("spec", |f| spec(given, f))))),
        None => {
            faults.note("name", "exactly one of name and spec must be set");
            None
        }
    };
    (asked, usize::try_from(request.sample_size).unwrap_or(0))
}

/// What a campaign would do, of the contract.
#[must_use]
pub fn foreseen(foreseen: Foreseen) -> v1::ValidateCampaignResponse {
    let mut types: std::collections::BTreeMap<_, i64> = std::collections::BTreeMap::new();
    for ((_, channel_type), n) in &foreseen.first_channels {
        *types.entry(*channel_type).or_default() += n;
    }
    let of_type = |(channel_type, count)| v1::ChannelTypeCount {
        channel_type: common::of_channel_type(channel_type).into(),
        count,
    };
    let skips = foreseen.skips.iter().map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect();
    v1::ValidateCampaignResponse {
        valid: foreseen.valid(),
        recipient_count: foreseen.recipients,
        reachable_count: foreseen.reachable,
        skips: progress::skips(skips, 0, foreseen.unmappable),
        first_channel_types: types.into_iter().map(of_type).collect(),
        estimated_duration: foreseen.takes.map(common::span),
        costs: foreseen.costs.into_iter().map(cost).collect(),
        samples: foreseen.samples.into_iter().map(sample).collect(),
        problems: foreseen.problems.into_iter().map(problem).collect(),
    }
}

fn cost(cost: Cost) -> v1::CostEstimate {
    v1::CostEstimate {
        channel: format!("channels/{}", cost.channel),
        message_count: cost.messages,
        part_count: cost.parts,
        cost: cost.cost.map(common::of_money),
    }
}

fn problem(found: Problem) -> v1::Problem {
    let v = found.violation;
    let problem = common::problem(&v.field, v.reason, v.description);
    let warning = v1::problem::Severity::Warning;
    if found.forbids { problem } else { v1::Problem { severity: warning.into(), ..problem } }
}

fn sample(sample: Sample) -> v1::RecipientSample {
    v1::RecipientSample {
        contact: sample.contact_id.map(|id| format!("contacts/{id}")).unwrap_or_default(),
        display_name: sample.display_name,
        skip_reason: sample.skipped.map(common::of_skip_reason).unwrap_or_default().into(),
        channel_type: sample.channel_type.map(common::of_channel_type).unwrap_or_default().into(),
        plain_text: sample.plain_text,
    }
}
