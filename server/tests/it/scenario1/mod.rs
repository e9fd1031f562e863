//! The first acceptance scenario with hours where the demo has seconds: a row in a table that Switchboard does not own reaches a
//! person, on one channel after the other. One whole process over its API, providers and handsets of the simulator, a real
//! Postgres, RabbitMQ and SMTP server; business time is moved by hand, the simulator's in step.
//!
//! `people` says who does what and what must become of each, `stage` holds the process and moves time, `definitions` is what
//! Switchboard is told before.

mod definitions;
mod people;
mod stage;

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use proto::v1::{self, firing};
use simulator::Inbound;
use testkit::eventually;

use people::{NOT_TO_BE_TOLD, Person, Row, insert};
use stage::Stage;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_reaches_each_person_as_the_policy_says_and_nothing_follows_an_answer() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    farid_opts_out(&stage).await?;
    stage
        .office(
            "insert into grievances (number, citizen_id, citizen, phone, language, subject, status) \
                  values ('G-1', 'C-10', 'Jaya', '98120 00010', 'en', 'park gate', 'resolved')",
        )
        .await?;
    definitions::watch(&stage).await?;

    // Hari's row is written while nothing of Switchboard runs, for three hours.
    stage.stop().await?;
    let people = people::everybody();
    let hari = people.iter().find(|person| person.row.name == "Hari").context("there is a Hari")?;
    stage.office(&insert(&[hari.row])).await?;
    stage.let_pass(TimeDelta::hours(3)).await;
    stage.start().await?;
    fired(&stage, 1).await?;
    stage.quiet().await?;

    stage.mark_beginning();
    let rows: Vec<Row> = people.iter().map(|person| person.row).filter(|row| row.name != "Hari").collect();
    stage.office(&format!("begin; {} rollback", insert(&[people::ISHAAN]))).await?;
    stage.office(&insert(&[people::KIRAN])).await?;
    stage.office(&insert(&rows)).await?;
    fired(&stage, people.len()).await?;

    stage.until(TimeDelta::hours(9)).await?;
    gauri_is_corrected(&stage).await?;
    stage.until(TimeDelta::hours(13)).await?;
    the_list_is_mailed(&stage).await?;
    let calls = stage.simulator().calls().await.len();
    everybody_became(&stage, &people).await?;

    // Two days more: nothing is sent to anybody, and a schedule begins its campaign once.
    definitions::schedule(&stage).await?;
    stage.until_by(TimeDelta::hours(13 + 48), TimeDelta::hours(1)).await?;
    ensure!(stage.simulator().calls().await.len() == calls, "something was sent after all was over");
    everybody_became(&stage, &people).await?;
    for (name, phone) in NOT_TO_BE_TOLD {
        ensure!(stage.simulator().calls_to(phone).await.is_empty(), "{name} must not be told");
    }
    the_list_is_mailed(&stage).await?;
    one_campaign(&stage).await?;
    stage.close().await
}

async fn farid_opts_out(stage: &Stage) -> anyhow::Result<()> {
    stage.simulator().inbound(Inbound::whatsapp(people::FARIDS_PHONE, "STOP")).await?;
    for channel_type in [v1::ChannelType::Sms, v1::ChannelType::Voice] {
        definitions::opt_out(stage, people::FARIDS_PHONE, channel_type).await?;
    }
    eventually(PATIENCE, async || {
        let out = stage.count("select count(*) from consent where not opted_in").await?;
        ensure!(out == 3, "{out} opt-outs of 3 are recorded");
        Ok(())
    })
    .await
}

async fn firings(stage: &Stage) -> anyhow::Result<Vec<v1::Firing>> {
    let parent = definitions::TRIGGER.to_owned();
    let request = v1::ListFiringsRequest { parent, ..v1::ListFiringsRequest::default() };
    Ok(stage.triggers().list_firings(request).await?.into_inner().firings)
}

/// Waits until as many rows were taken and decided about.
async fn fired(stage: &Stage, expected: usize) -> anyhow::Result<()> {
    eventually(PATIENCE, async || {
        let found = firings(stage).await?;
        let decided = found.iter().filter(|firing| firing.state() != firing::State::Pending).count();
        ensure!(decided == expected, "{decided} of {expected} rows fired");
        Ok(())
    })
    .await
}

async fn gauri_is_corrected(stage: &Stage) -> anyhow::Result<()> {
    let found = firings(stage).await?;
    let hers = found.iter().find(|firing| firing.state() == firing::State::Unmappable).context("Gauri's firing")?;
    ensure!(hers.reason() == firing::Reason::AddressInvalid, "{:?}: {}", hers.reason(), hers.description);
    stage.office("update grievances set phone = '98120 00007' where citizen = 'Gauri'").await?;
    let request =
        v1::ReplayFiringRequest { name: hers.name.clone(), reread_row: true, ..v1::ReplayFiringRequest::default() };
    let replayed = stage.triggers().replay_firing(request).await?.into_inner();
    eventually(PATIENCE, async || {
        let request = v1::GetFiringRequest { name: replayed.name.clone() };
        let now = stage.triggers().get_firing(request).await?.into_inner();
        ensure!(now.state() == firing::State::Fired, "{:?}: {}", now.state(), now.description);
        Ok(())
    })
    .await
}

async fn the_list_is_mailed(stage: &Stage) -> anyhow::Result<()> {
    eventually(PATIENCE, async || {
        let mails = stage.mails(definitions::DEPARTMENT)?;
        ensure!(mails.len() == 1, "{} mails to the department, must be one", mails.len());
        ensure!(mails[0].body.contains("Esha"), "the mail does not name Esha: {}", mails[0].body);
        for person in people::everybody().iter().filter(|person| person.row.name != "Esha") {
            ensure!(!mails[0].body.contains(person.row.name), "the mail names {}", person.row.name);
        }
        Ok(())
    })
    .await
}

/// All that is not as it must be, of all people at once.
async fn everybody_became(stage: &Stage, people: &[Person]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for person in people {
        if let Err(difference) = became(stage, person).await {
            wrong.push(format!("{}: {difference:#}", person.row.name));
        }
    }
    ensure!(wrong.is_empty(), "not as it must be:\n{}", wrong.join("\n"));
    Ok(())
}

/// The timeline, every delivery with its receipts, and what the providers saw.
async fn became(stage: &Stage, person: &Person) -> anyhow::Result<()> {
    let found = stage.notification_of(person.row.number).await?.context("there is no notification")?;
    let timeline = stage.timeline(&found);
    ensure!(timeline == person.timeline, "the timeline is {timeline:#?}\nand must be {:#?}", person.timeline);
    let deliveries: Vec<String> = found.deliveries.iter().map(people::delivery_words).collect();
    ensure!(deliveries == person.deliveries, "deliveries are {deliveries:#?}\nand must be {:#?}", person.deliveries);
    let recorded = found.deliveries.iter().flat_map(|d| &d.attempts).map(|a| a.provider_message_id.clone());
    let mut recorded: Vec<String> = recorded.filter(|id| !id.is_empty()).collect();
    let calls = stage.simulator().calls_to(person.phone).await;
    // The confirmation of a STOP is part of no notification.
    let confirmations = if person.row.name == "Farid" { 1 } else { 0 };
    ensure!(calls.len() == recorded.len() + confirmations, "the providers saw {calls:#?}");
    let mut seen: Vec<String> = calls.into_iter().skip(confirmations).map(|call| call.id).collect();
    recorded.sort();
    seen.sort();
    ensure!(recorded == seen, "the providers saw {seen:?}, recorded are {recorded:?}");
    Ok(())
}

async fn one_campaign(stage: &Stage) -> anyhow::Result<()> {
    eventually(PATIENCE, async || {
        let request =
            v1::ListCampaignsRequest { trigger: definitions::SCHEDULE.into(), ..v1::ListCampaignsRequest::default() };
        let runs = stage.campaigns().list_campaigns(request).await?.into_inner().campaigns;
        let states: Vec<&str> = runs.iter().map(|run| run.state().as_str_name()).collect();
        ensure!(states == ["COMPLETED"], "the schedule made these runs: {states:?}");
        for address in ["asha@example.org", "bilal@example.org"] {
            let mails = stage.mails(address)?.len();
            ensure!(mails == 1, "{mails} mails to {address}");
        }
        Ok(())
    })
    .await
}
