//! A campaign that a cron schedule begins, once: a mail of thanks to people whom an SQL query over the department's database finds.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use proto::v1::{self, SkipReason, campaign, notification};

use crate::{
    api::{Api, Told, request_id},
    definitions::PURPOSE,
    show::{Ink, Stage},
    values::{moment, timestamp},
};

/// The trigger that holds the schedule.
pub const SCHEDULE: &str = "triggers/thanks";
/// Who is thanked: two who answered, and one who opted out of mail.
const QUERY: &str = "select citizen_id, citizen, email, language, number from grievances \
                     where status = 'resolved' and citizen in ('Asha', 'Bilal', 'Farid')";
/// Every five seconds; the schedule's end leaves one of these times.
const CRON: &str = "*/5 * * * * *";

/// What became of the run.
#[derive(Debug, Clone)]
pub struct Run {
    /// How many runs there are.
    pub runs: usize,
    /// Where the first stands.
    pub state: campaign::State,
    /// Its recipients: name, state, reason of a skip.
    pub recipients: Vec<(String, notification::State, SkipReason)>,
}

/// Arms the schedule so that it fires once, and waits for the end of that run.
///
/// # Errors
/// What the server refused, or that nothing ran in time.
pub async fn play(api: &Api, stage: &Stage) -> anyhow::Result<Run> {
    audience(api, stage).await?;
    arm(api, stage).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let run = look(api).await?;
        if run.state == campaign::State::Completed {
            return Ok(run);
        }
        if tokio::time::Instant::now() > end {
            bail!("the scheduled campaign has not completed in 30 s: {} runs, {}", run.runs, run.state.as_str_name());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// How the runs of the schedule stand.
///
/// # Errors
/// What the server refused.
pub async fn look(api: &Api) -> anyhow::Result<Run> {
    let request = v1::ListCampaignsRequest { trigger: SCHEDULE.into(), ..v1::ListCampaignsRequest::default() };
    let runs = api.campaigns().list_campaigns(request).await.told("list the runs")?.campaigns;
    let Some(first) = runs.last() else {
        return Ok(Run { runs: 0, state: campaign::State::Unspecified, recipients: Vec::new() });
    };
    let request = v1::ListCampaignRecipientsRequest {
        parent: first.name.clone(),
        ..v1::ListCampaignRecipientsRequest::default()
    };
    let found = api.campaigns().list_campaign_recipients(request).await.told("list the recipients")?;
    let recipients = found.recipients.iter().map(|r| (r.display_name.clone(), r.state(), r.skip_reason())).collect();
    Ok(Run { runs: runs.len(), state: first.state(), recipients })
}

async fn audience(api: &Api, stage: &Stage) -> anyhow::Result<()> {
    let column = |name: &str, column: &str| v1::VariableMapping {
        name: name.into(),
        from: Some(v1::variable_mapping::From::Column(column.into())),
    };
    let mapping = v1::Mapping {
        external_id_column: "citizen_id".into(),
        display_name_column: "citizen".into(),
        addresses: vec![v1::AddressMapping { kind: v1::AddressKind::Email.into(), column: "email".into() }],
        locale_column: "language".into(),
        variables: vec![column("complaint", "number")],
        ..v1::Mapping::default()
    };
    let sql = v1::SqlAudience {
        source: "sources/demo".into(),
        query: QUERY.into(),
        mapping: Some(mapping),
        ..v1::SqlAudience::default()
    };
    let request = v1::CreateAudienceRequest {
        audience_id: "heard".into(),
        audience: Some(v1::Audience { kind: Some(v1::audience::Kind::Sql(sql)), ..v1::Audience::default() }),
        request_id: request_id(),
        ..v1::CreateAudienceRequest::default()
    };
    api.audiences().create_audience(request).await.told_or_exists("create the audience")?;
    let source = Some(v1::preview_audience_request::Source::Name("audiences/heard".into()));
    let request = v1::PreviewAudienceRequest { source, ..v1::PreviewAudienceRequest::default() };
    let preview = api.audiences().preview_audience(request).await.told("preview the audience")?;
    stage.say(&format!("audiences/heard is a query over the department's database; it finds {} people", preview.count));
    Ok(())
}

/// The schedule fires at the second of its next times, so that there is time to arm it, and ends before the third.
async fn arm(api: &Api, stage: &Stage) -> anyhow::Result<()> {
    let spec = v1::CampaignSpec {
        audience: "audiences/heard".into(),
        plan: Some(v1::Plan {
            way: Some(v1::plan::Way::Step(v1::Step {
                target: Some(v1::step::Target::ChannelType(v1::ChannelType::Email.into())),
                template: "templates/thanks".into(),
                success: v1::Success::Sent.into(),
                ..v1::Step::default()
            })),
            ..v1::Plan::default()
        }),
        purpose: PURPOSE.into(),
        ..v1::CampaignSpec::default()
    };
    let mut schedule = v1::Schedule {
        when: Some(v1::schedule::When::Cron(CRON.into())),
        time_zone: "Asia/Kolkata".into(),
        campaign: Some(spec),
        ..v1::Schedule::default()
    };
    let source = Some(v1::preview_schedule_request::Source::Schedule(schedule.clone()));
    let request = v1::PreviewScheduleRequest { source, count: 2, ..v1::PreviewScheduleRequest::default() };
    let preview = api.triggers().preview_schedule(request).await.told("preview the schedule")?;
    let fire = preview.fire_times.get(1).context("the schedule has no second fire time")?;
    let at = moment(fire.time.as_ref());
    schedule.start_time = Some(timestamp(at - TimeDelta::seconds(1)));
    schedule.end_time = Some(timestamp(at + TimeDelta::seconds(1)));
    let request = v1::CreateTriggerRequest {
        trigger_id: "thanks".into(),
        trigger: Some(v1::Trigger { kind: Some(v1::trigger::Kind::Schedule(schedule)), ..v1::Trigger::default() }),
        request_id: request_id(),
        ..v1::CreateTriggerRequest::default()
    };
    api.triggers().create_trigger(request).await.told("create the schedule")?;
    let text = format!("{SCHEDULE} is `{CRON}` in Asia/Kolkata, and ends after one of its times: {}", fire.local_time);
    stage.say(&stage.ink(Ink::Plain, &text));
    Ok(())
}
