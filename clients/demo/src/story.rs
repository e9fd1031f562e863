//! The story, act by act. Each act says what it does, does it, and waits until it can be seen; the verdict comes at the end.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use proto::v1::{self, ChannelType, consent, firing, notification};
use tokio::time::{Instant, sleep};

use crate::{
    api::{Api, Told, request_id},
    campaign, cast,
    definitions::{self, PURPOSE, TRIGGER},
    follow::{Board, Follower},
    mailbox::Mailbox,
    office::{Office, insert},
    show::{Ink, Stage},
    simulator::Simulator,
    values::text,
    verdict,
};

/// How long the people may take from their rows to their ends: the longest way has 8 + 8 + 10 seconds of waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that the story is played with.
#[derive(Debug)]
pub struct World {
    /// Switchboard.
    pub api: Api,
    /// The providers and the handsets.
    pub simulator: Simulator,
    /// The department's database.
    pub office: Office,
    /// What arrives by mail.
    pub mailbox: Mailbox,
    /// Stops and starts Switchboard.
    pub server_control: PathBuf,
    /// Where it is told.
    pub stage: Arc<Stage>,
}

/// Plays everything. Says whether all went as it must.
///
/// # Errors
/// What kept the story from being played to its end.
pub async fn play(world: &World) -> anyhow::Result<bool> {
    prepare(&world.api, &world.simulator, &world.stage).await?;
    old_row(world).await?;
    let cursor =
        world.api.events().get_event_cursor(v1::GetEventCursorRequest {}).await.told("read the cursor")?.cursor;
    let mut follower = Follower::start(world.api.clone(), Arc::clone(&world.stage), cursor);
    opted_out(world).await?;
    while_stopped(world).await?;
    rows(world, &mut follower).await?;
    let waited = everybody_ends(world, &mut follower).await;
    let mut checks = verdict::Checks::default();
    if let Err(missing) = waited {
        checks.add("the event stream shows the end of each", false, format!("{missing:#}"));
    }
    world.stage.act("A campaign that a cron schedule begins");
    match campaign::play(&world.api, &world.stage).await {
        Ok(_) => {}
        Err(error) => checks.add("the scheduled campaign runs", false, format!("{error:#}")),
    }
    verdict::pronounce(world, &follower.board(), checks).await
}

/// Tells Switchboard what it must know, and the simulator what the handsets do.
///
/// # Errors
/// What was refused.
pub async fn prepare(api: &Api, simulator: &Simulator, stage: &Stage) -> anyhow::Result<()> {
    stage.act("What Switchboard is told");
    definitions::check_channels(api, stage).await?;
    simulator.verify_meta("simulated-verify-token").await?;
    definitions::words_and_ways(api).await?;
    stage.say(
        "policies/grievance: WhatsApp (answer within 8 s), SMS (8 s), call (a key), list mailed to the department",
    );
    definitions::source(api, stage).await?;
    for person in cast::everybody() {
        simulator.script(person.phone, &person.handset).await?;
    }
    Ok(())
}

/// Shows what the watch would make of the row that exists, and begins to watch.
async fn old_row(world: &World) -> anyhow::Result<()> {
    let stage = &world.stage;
    stage.act("A dry run over the rows that exist, then the table is watched");
    stage.quote(&insert(&[cast::OLD_ROW]));
    world.office.psql(&insert(&[cast::OLD_ROW])).await?;
    let source = Some(v1::dry_run_trigger_request::Source::Trigger(definitions::watch()));
    let request = v1::DryRunTriggerRequest { source, ..v1::DryRunTriggerRequest::default() };
    let run = world.api.triggers().dry_run_trigger(request).await.told("make a dry run")?;
    let problems: Vec<_> = run.problems.iter().map(|p| &p.description).collect();
    ensure!(
        problems.is_empty() && run.mapped_count == 1,
        "the dry run should map one row: {problems:?}, {:?}",
        run.results
    );
    for result in &run.results {
        let who = text(result.row.as_ref(), "citizen");
        let would = format!("{who} would get on {}:", crate::follow::channel_word(result.channel_type()));
        stage.say(&would);
        stage.quote(&result.plain_text);
    }
    definitions::begin_to_watch(&world.api).await?;
    stage.say(&format!(
        "{TRIGGER} watches grievances for inserted rows with {}",
        stage.ink(Ink::Dim, "NEW.status = 'resolved'")
    ));
    Ok(())
}

/// Farid writes STOP on WhatsApp; for the other channel types the department's form says the same.
async fn opted_out(world: &World) -> anyhow::Result<()> {
    let (stage, farid) = (&world.stage, cast::farid());
    stage.act("Before: Farid opts out");
    world.simulator.writes_on_whatsapp(farid.phone, "STOP").await?;
    let address = |kind: v1::AddressKind, value: &str| Some(v1::Address { kind: kind.into(), value: value.into() });
    let phone = || address(v1::AddressKind::Phone, farid.phone);
    let mail = address(v1::AddressKind::Email, farid.row.email);
    for (channel_type, address) in
        [(ChannelType::Sms, phone()), (ChannelType::Voice, phone()), (ChannelType::Email, mail)]
    {
        let consent = v1::Consent {
            address,
            channel_type: channel_type.into(),
            purpose: PURPOSE.into(),
            state: consent::State::OptedOut.into(),
            source: "department-form".into(),
            ..v1::Consent::default()
        };
        let request = v1::SetConsentRequest { consent: Some(consent), request_id: request_id() };
        world.api.contacts().set_consent(request).await.told("record a consent")?;
    }
    eventually(Duration::from_secs(10), async || {
        let request = v1::ListConsentsRequest { address: phone(), ..v1::ListConsentsRequest::default() };
        let found = world.api.contacts().list_consents(request).await.told("list consents")?.consents;
        let out = |c: &&v1::Consent| c.state() == consent::State::OptedOut;
        let types: Vec<_> = found.iter().filter(out).map(|c| c.channel_type()).collect();
        ensure!(types.contains(&ChannelType::Whatsapp), "Farid's STOP on WhatsApp is not recorded: {types:?}");
        Ok(())
    })
    .await?;
    stage.say("his STOP on WhatsApp is recorded; SMS, calls and mail were refused on the department's form");
    Ok(())
}

/// A row is written while nothing of Switchboard runs.
async fn while_stopped(world: &World) -> anyhow::Result<()> {
    let (stage, hari) = (&world.stage, cast::hari());
    stage.act("A row is written while Switchboard is stopped");
    control(world, "stop").await?;
    stage.say("Switchboard is stopped; psql writes Hari's row:");
    stage.quote(&insert(&[hari.row]));
    world.office.psql(&insert(&[hari.row])).await?;
    control(world, "start").await?;
    stage.say("Switchboard is started again");
    Ok(())
}

async fn control(world: &World, verb: &str) -> anyhow::Result<()> {
    let command = &world.server_control;
    let mut child = tokio::process::Command::new(command);
    let output = child.arg(verb).stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{} cannot be run", command.display()))?;
    if !output.status.success() {
        bail!("Switchboard could not be brought to {verb}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Everybody else's rows, one of them wrong; and two that must not fire.
async fn rows(world: &World, follower: &mut Follower) -> anyhow::Result<()> {
    let stage = &world.stage;
    stage.act("Rows that must not fire: one is rolled back, one is not resolved");
    let rolled_back = format!("begin;\n{}\nrollback;", insert(&[cast::ROLLED_BACK]));
    stage.quote(&rolled_back);
    world.office.psql(&rolled_back).await?;
    stage.quote(&insert(&[cast::STILL_OPEN]));
    world.office.psql(&insert(&[cast::STILL_OPEN])).await?;
    stage.act("Seven rows in one statement, and what becomes of each");
    let people = [cast::asha(), cast::bilal(), cast::chitra(), cast::dev(), cast::esha(), cast::farid(), cast::gauri()];
    let statement = insert(&people.map(|person| person.row));
    stage.quote(&statement);
    world.office.psql(&statement).await?;
    let unmappable = |board: &Board| match board.types.contains_key("trigger.unmappable") {
        true => Vec::new(),
        false => vec!["trigger.unmappable".to_owned()],
    };
    follower.until(Duration::from_secs(20), unmappable).await?;
    correct(world).await
}

/// Gauri's number cannot be mapped: it is corrected in the table, and the firing is replayed.
async fn correct(world: &World) -> anyhow::Result<()> {
    let (stage, gauri) = (&world.stage, cast::gauri());
    let unmappable = eventually(Duration::from_secs(15), async || {
        let request = v1::ListFiringsRequest {
            parent: TRIGGER.into(),
            states: vec![firing::State::Unmappable.into()],
            ..v1::ListFiringsRequest::default()
        };
        let found = world.api.triggers().list_firings(request).await.told("list firings")?.firings;
        let hers = |f: &v1::Firing| text(f.row.as_ref(), "number") == gauri.row.number;
        found.into_iter().find(hers).context("Gauri's row is not among the firings that cannot be mapped")
    })
    .await?;
    let reason = unmappable.reason();
    ensure!(reason == firing::Reason::AddressInvalid, "Gauri's firing should be ADDRESS_INVALID, it is {reason:?}");
    let update = format!("update grievances set phone = '98120 00007' where number = '{}';", gauri.row.number);
    world.office.psql(&update).await?;
    let request = v1::ReplayFiringRequest { name: unmappable.name.clone(), reread_row: true, request_id: request_id() };
    let replayed = world.api.triggers().replay_firing(request).await.told("replay Gauri's firing")?;
    eventually(Duration::from_secs(15), async || {
        let request = v1::GetFiringRequest { name: replayed.name.clone() };
        let now = world.api.triggers().get_firing(request).await.told("read the replayed firing")?;
        ensure!(now.state() == firing::State::Fired, "the replayed firing is {:?}: {}", now.state(), now.description);
        Ok(())
    })
    .await?;
    stage.say(&format!(
        "{}  {}",
        stage.ink(Ink::Good, "the number is corrected and the firing replayed:"),
        unmappable.name
    ));
    stage.quote(&update);
    Ok(())
}

/// Waits until every notification has ended, by the event stream.
async fn everybody_ends(world: &World, follower: &mut Follower) -> anyhow::Result<()> {
    let people = cast::everybody();
    let missing = |board: &Board| {
        let not_ended = people.iter().filter_map(|person| {
            let name = person.row.citizen;
            match board.states.get(name) {
                None => Some(format!("anything of {name}")),
                Some(state) if *state < notification::State::Skipped => {
                    Some(format!("the end of {name} ({})", state.as_str_name()))
                }
                Some(_) => None,
            }
        });
        let mut missing: Vec<String> = not_ended.collect();
        if !board.types.contains_key("call_list.mailed") {
            missing.push("call_list.mailed".into());
        }
        missing
    };
    follower.until(PATIENCE, missing).await?;
    world.stage.say(&world.stage.ink(Ink::Dim, "everybody's notification has ended"));
    Ok(())
}

/// Asks again and again until it is so.
async fn eventually<T>(patience: Duration, condition: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let end = Instant::now() + patience;
    loop {
        match condition().await {
            Err(missing) if Instant::now() > end => {
                return Err(missing.context(format!("not so after {} s", patience.as_secs())));
            }
            Err(_) => sleep(Duration::from_millis(200)).await,
            Ok(value) => return Ok(value),
        }
    }
}
